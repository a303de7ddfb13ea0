#!/bin/sh
# Loads esca.ko as built for the running kernel, with the given parameters.
here=$(dirname "$0")
release=$(uname -r)
module=$here/../target/kmod/$release/esca.ko
# Debian has insmod where only root looks; what it says is looked at below.
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C

fail() {
  echo "esca: $1" >&2
  exit 1
}

if [ -d /sys/module/esca ]; then
  fail "a module esca is loaded already; 'make unload-lkm' first"
fi
[ "$(id -u)" = 0 ] || fail "loading a module needs root"
[ -f "$module" ] || fail "$module does not exist; build it with 'make kmod'"
built=$(modinfo -F vermagic "$module" 2>/dev/null | cut -d' ' -f1)
[ -n "$built" ] || fail "$module is no kernel module; build it anew with 'make kmod'"
[ "$built" = "$release" ] ||
  fail "$module is for kernel '$built', and '$release' runs; build it anew with 'make kmod'"
getent group esca >/dev/null || groupadd --system esca || fail "cannot make the group esca"
if [ -d /etc/udev/rules.d ]; then
  cp "$here/99-esca.rules" /etc/udev/rules.d/ && udevadm control --reload
fi
if ! said=$(insmod "$module" "$@" 2>&1); then
  case $said in
  # Where signatures are enforced, and where the kernel is locked down (Secure
  # Boot of Debian).
  *"Key was rejected"* | *"Required key not available"* | *"Operation not permitted"*)
    fail "this kernel takes modules only that are signed with a key it knows (Secure Boot?);\
 sign it, or have DKMS do it: docs/kmod.md, 'Signing' ($said)" ;;
  # The release is the same, what it was built from is not.
  *"Invalid module format"*)
    fail "$module is for another build of kernel '$release'; update its headers and build it\
 anew with 'make kmod' ($said)" ;;
  *) fail "the kernel refused $module: $said; dmesg says why" ;;
  esac
fi
# udev sets the group; where there is none, this does.
if [ -d /run/udev ]; then
  udevadm settle
else
  chgrp esca /dev/esca && chmod 660 /dev/esca
fi
echo "esca: loaded; members of the group esca may use /dev/esca"
