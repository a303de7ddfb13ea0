#!/bin/sh
# Fails unless the Rust object (first argument) and the module (second) are
# fit for the kernel: what the compiler and modpost let through.
object=$1 module=$2 bad=0

complain() {
  echo "esca: $object: $1" >&2
  bad=1
}

# A panic path, or anything else from outside the glue. (KASAN's checks are in
# an object for a kernel that has it.)
others=$(nm -u "$object" | awk '{ print $2 }' | grep -vxE \
  'esca_glue_[a-z_]+|__x86_return_thunk|__x86_indirect_thunk_[a-z0-9]+|__asan_[a-z0-9_]+|mem(cpy|set|move|cmp)|bcmp')
[ -z "$others" ] || complain "refers to $(echo $others)"
readelf -rW "$object" | grep -qE 'panic' && complain "has a panic path"
readelf -rW "$object" | grep -qE 'GOTPCREL|R_X86_64_PLTOFF' && complain "has GOT relocations"

code=$(objdump -dr --no-show-raw-insn "$object")
# Floating point and vector registers belong to user space.
echo "$code" | grep -qE '%([xyz]mm|mm[0-7]|st)|[[:space:]]f(ld|st|ist|ild|mul|add|sub|div|wait)' &&
  complain "has floating point or vector instructions"
# Interrupts write below the stack pointer.
echo "$code" | grep -qE -- '-0x[0-9a-f]+\(%rsp' && complain "uses the red zone"
# Returns and indirect branches go through the kernel's thunks.
if nm -u "$object" | grep -q __x86_return_thunk; then
  echo "$code" | grep -qE '[[:space:]](ret|retq)([[:space:]]|$)' && complain "has a bare return"
fi
echo "$code" | grep -qE '[[:space:]](jmp|call)q? +\*' && complain "has an indirect branch"

# The module asks the kernel for exported functions only, which modpost
# checks; these would mean tricks.
nm -u "$module" | grep -qE 'kallsyms|kprobe|sys_call_table|set_memory' &&
  complain "the module looks for what is not exported"
exit $bad
