#!/bin/sh
# Installs the Debian packages that the demo, the tests and the benchmark use.
# Does nothing where all are there. Says what it does.
set -eu

# program package
needed="nginx nginx-light
lighttpd lighttpd
redis-server redis-server
redis-benchmark redis-tools
wrk wrk
gcc gcc
curl curl
openssl openssl
ip iproute2
strace strace"

export PATH="$PATH:/usr/sbin:/sbin"
missing=$(echo "$needed" | while read -r program package; do
    command -v "$program" >/dev/null 2>&1 || echo "$package"
done)
# A linker and the C library's headers come with gcc only if asked for.
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"

if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    set -- $missing
    echo "setup: installing from Debian: $*"
    if [ "$(id -u)" = 0 ]; then
        sudo=""
    elif command -v sudo >/dev/null 2>&1; then
        sudo="sudo"
    else
        echo "setup: neither root nor sudo; install them yourself: apt-get install $*" >&2
        exit 1
    fi
    # Debian starts the servers it installs. They are wanted as programs here,
    # not as services: a policy that denies starting, for this run only.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod 755 $policy
        trap '$sudo rm -f $policy' EXIT
    fi
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@"
fi

if ! cargo --version 2>/dev/null | grep -Eq '^cargo 1\.(9[5-9]|[1-9][0-9][0-9])'; then
    echo "setup: cargo 1.95 or newer is missing; Debian's is too old for edition 2024:" >&2
    echo "setup: install Rust 1.95 or newer with rustup (https://rustup.rs)" >&2
    exit 1
fi
