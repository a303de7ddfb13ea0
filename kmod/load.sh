#!/bin/sh
# Loads esca.ko as built for the running kernel, with the given parameters.
here=$(dirname "$0")
module=$here/../target/kmod/$(uname -r)/esca.ko

fail() {
  echo "esca: $1" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "loading a module needs root"
[ -f "$module" ] || fail "$module does not exist; build it with 'make kmod'"
if [ -d /sys/module/esca ]; then
  fail "a module esca is loaded already; 'make unload-lkm' first"
fi
getent group esca >/dev/null || groupadd --system esca || fail "cannot make the group esca"
if [ -d /etc/udev/rules.d ]; then
  cp "$here/99-esca.rules" /etc/udev/rules.d/ && udevadm control --reload
fi
insmod "$module" "$@" || fail "the kernel refused $module; dmesg says why (docs/kmod.md: signing)"
# udev sets the group; where there is none, this does.
if [ -d /run/udev ]; then
  udevadm settle
else
  chgrp esca /dev/esca && chmod 660 /dev/esca
fi
echo "esca: loaded; members of the group esca may use /dev/esca"
