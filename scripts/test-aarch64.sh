#!/bin/sh
# The engine's tests, and Debian's nginx with the preload library, on aarch64:
# cross-compiled, and run on an x86-64 machine by QEMU's emulation of user
# programs. The system calls are the machine's own, so what is tested is the
# code and the ABI of aarch64, not an aarch64 kernel.
set -eu
cd "$(dirname "$0")/.."

dpkg --print-foreign-architectures | grep -qx arm64 || dpkg --add-architecture arm64
sh scripts/setup.sh aarch64

target=aarch64-unknown-linux-gnu
export RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=target/aarch64
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64

# Left out is what the emulator (QEMU 7.2) does not have: preadv2, by which
# small files are read; MADV_WIPEONFORK; a limit on the address space that
# counts the program's memory alone.
cargo test --target $target -p esca-engine --lib --tests --no-fail-fast -- \
    --skip header_and_small_file_are_one_send \
    --skip a_null_offset_moves_the_file_and_the_end_is_short \
    --skip header_and_file \
    --skip answers_that_need_more_room_than_there_is_stay_whole \
    --skip counts_what_coalesce_does \
    --skip a_forked_child_opens_its_own \
    --skip the_program_goes_on

cargo build --target $target -p esca-preload
library=$PWD/$CARGO_TARGET_DIR/$target/debug/libesca_preload.so

# Debian's nginx for arm64, unpacked and not installed.
at=$PWD/$CARGO_TARGET_DIR/nginx
mkdir -p "$at"
if [ ! -e "$at/usr/sbin/nginx" ]; then
    (cd "$at" && apt-get download -q nginx:arm64 libpcre2-8-0:arm64 libssl3:arm64 libcrypt1:arm64 &&
        for package in *.deb; do dpkg -x "$package" . && rm "$package"; done)
fi
mkdir -p "$at/www"
for n in 1 20 100 1000; do
    head -c $((n * 1024)) /dev/urandom >"$at/www/$n"
done
cat >"$at/nginx.conf" <<CONF
daemon off; master_process off; pid $at/pid; error_log $at/error.log;
events { }
http {
    access_log off; sendfile on;
    client_body_temp_path $at/t; proxy_temp_path $at/t; fastcgi_temp_path $at/t;
    uwsgi_temp_path $at/t; scgi_temp_path $at/t;
    server { listen 127.0.0.1:8560; root $at/www; }
}
CONF
libraries=$at/usr/lib/aarch64-linux-gnu:$at/lib/aarch64-linux-gnu
rm -f "$at/stats"
qemu-aarch64 -E LD_LIBRARY_PATH="$libraries" -E LD_PRELOAD="$library" -E ESCA_STATS="$at/stats" \
    "$at/usr/sbin/nginx" -p "$at" -c "$at/nginx.conf" &
nginx=$!
trap 'kill $nginx 2>/dev/null || true' EXIT
for n in 1 20 100 1000; do
    curl -sf --retry 20 --retry-connrefused --retry-delay 1 "http://127.0.0.1:8560/$n" |
        cmp - "$at/www/$n"
done
kill "$nginx"
wait "$nginx" || true
deferred=$(sed -n 's/.*"deferred": \([0-9]*\).*/\1/p' "$at/stats")
if [ "${deferred:-0}" -eq 0 ]; then
    echo "test-aarch64: nginx answered, but nothing was aggregated" >&2
    exit 1
fi
echo "test-aarch64: nginx for arm64: every byte right, $deferred operations deferred"
