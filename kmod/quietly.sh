#!/bin/sh
# Runs a build and fails if it warned: objtool and modpost only warn where an
# object is not fit for the kernel.
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
"$@" >"$log" 2>&1
rc=$?
# Not of ours: rustc's announcement about the target features that the kernel
# needs off, and the absence of the kernel's own image and debug data.
found=$(grep -iE 'warning' "$log" | grep -vE \
  'target feature|unstable feature specified|this was previously accepted|warnings? emitted|compiler differs|vmlinux is unavailable|unavailability of vmlinux')
if [ $rc -ne 0 ] || [ -n "$found" ]; then
  cat "$log" >&2
  [ $rc -eq 0 ] && echo "esca: the build warned; see above" >&2
  exit 1
fi
