#!/bin/sh
# Installs the Debian packages that are missing of the named groups, each a
# list in scripts/packages/. Does nothing where all are there. Says what it
# does.   setup.sh [GROUP ...]   (demo by default)
set -eu

lists=$(dirname "$0")/packages
[ $# -gt 0 ] || set -- demo
export PATH="$PATH:/usr/sbin:/sbin"

missing=""
for group in "$@"; do
    if [ ! -e "$lists/$group" ]; then
        echo "setup: there is no group '$group'; known: $(ls "$lists" | tr '\n' ' ')" >&2
        exit 2
    fi
    # A line: a program in PATH, or a file, and the package that brings it.
    more=$(grep -v '^#' "$lists/$group" | while read -r program package; do
        case $program in
        "") ;;
        /*) [ -e "$program" ] || echo "$package" ;;
        *) command -v "$program" >/dev/null 2>&1 || echo "$package" ;;
        esac
    done)
    missing="$missing $more"
done

# shellcheck disable=SC2086
set -- $missing
if [ $# -gt 0 ]; then
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
