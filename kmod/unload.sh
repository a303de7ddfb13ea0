#!/bin/sh
# Unloads esca.ko once no process has the device open.
export PATH="$PATH:/usr/sbin:/sbin"

if [ ! -d /sys/module/esca ]; then
  echo "esca: the module is not loaded"
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "esca: unloading a module needs root" >&2
  exit 1
fi
for i in 1 2 3 4 5 6 7 8 9 10; do
  rmmod esca 2>/dev/null && echo "esca: unloaded" && exit 0
  # A context ends with its process; say whom we wait for.
  users=$(for fd in /proc/[0-9]*/fd/*; do
    [ "$(readlink "$fd" 2>/dev/null)" = /dev/esca ] && echo "$fd" | cut -d/ -f3
  done | sort -un | tr '\n' ' ')
  users=${users% }
  [ "$i" = 1 ] && echo "esca: in use by ${users:-nobody that can be seen}; waiting"
  sleep 1
done
echo "esca: still in use by ${users:-nobody that can be seen}; stop them, or start them without --backend kmod" >&2
exit 1
