//! The loaded objects, as the dynamic linker shows them: which symbols they
//! define, and which slots of theirs hold a function's address.

use libc::{Elf64_Phdr, Elf64_Sym, c_char, c_int, c_void, dl_phdr_info, size_t};
use std::ffi::CStr;
use std::ops::Range;
use std::ptr::{null, with_exposed_provenance};

const DT_NULL: u64 = 0;
const DT_PLTRELSZ: u64 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_JMPREL: u64 = 23;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// Relocations whose slot holds a symbol's address: absolute, GLOB_DAT and
/// JUMP_SLOT.
#[cfg(target_arch = "aarch64")]
const ADDRESSES: [u32; 3] = [257, 1025, 1026];
#[cfg(target_arch = "x86_64")]
const ADDRESSES: [u32; 3] = [1, 6, 7];

#[repr(C)]
struct Rela {
    offset: u64,
    info: u64,
    addend: i64,
}

/// An object that is loaded while a walk looks at it.
pub(crate) struct Object<'a> {
    pub name: &'a CStr,
    base: usize,
    segments: &'a [Elf64_Phdr],
    symbols: *const Elf64_Sym,
    strings: *const c_char,
    hash: *const u32,
    relocations: [(usize, usize); 2],
}

impl<'a> Object<'a> {
    /// # Safety
    /// `info` is of an object that stays loaded for `'a`.
    unsafe fn new(info: &'a dl_phdr_info) -> Option<Self> {
        let base = info.dlpi_addr as usize;
        // SAFETY: the linker's own description (caller).
        let segments =
            unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize) };
        let dynamic = segments.iter().find(|s| s.p_type == libc::PT_DYNAMIC)?;
        let mut at: *const [u64; 2] = with_exposed_provenance(base + dynamic.p_vaddr as usize);
        // SAFETY: null, or a C string of the linker's.
        let name = unsafe { info.dlpi_name.as_ref().map_or(c"", |n| CStr::from_ptr(n)) };
        let mut object = Object {
            name,
            base,
            segments,
            symbols: null(),
            strings: null(),
            hash: null(),
            relocations: [(0, 0); 2],
        };
        // The linker adds the base itself, or does not (musl, the vDSO).
        let absolute = |v: u64| match v as usize {
            v if v < base => v + base,
            v => v,
        };
        for _ in 0..dynamic.p_memsz as usize / size_of::<[u64; 2]>() {
            // SAFETY: within the dynamic segment.
            let [tag, value] = unsafe { at.read() };
            match tag {
                DT_NULL => break,
                DT_STRTAB => object.strings = with_exposed_provenance(absolute(value)),
                DT_SYMTAB => object.symbols = with_exposed_provenance(absolute(value)),
                DT_GNU_HASH => object.hash = with_exposed_provenance(absolute(value)),
                DT_RELA => object.relocations[0].0 = absolute(value),
                DT_RELASZ => object.relocations[0].1 = value as usize / size_of::<Rela>(),
                DT_JMPREL => object.relocations[1].0 = absolute(value),
                DT_PLTRELSZ => object.relocations[1].1 = value as usize / size_of::<Rela>(),
                _ => {}
            }
            at = at.wrapping_add(1);
        }
        (!object.strings.is_null() && !object.symbols.is_null()).then_some(object)
    }

    /// Whether the address is in one of the object's segments.
    pub fn contains(&self, address: usize) -> bool {
        self.segments
            .iter()
            .filter(|s| s.p_type == libc::PT_LOAD)
            .any(|s| self.range(s).contains(&address))
    }

    fn range(&self, segment: &Elf64_Phdr) -> Range<usize> {
        let from = self.base + segment.p_vaddr as usize;
        from..from + segment.p_memsz as usize
    }

    /// The range that is read-only since the object was relocated.
    pub fn sealed(&self) -> Option<Range<usize>> {
        let relro = self
            .segments
            .iter()
            .find(|s| s.p_type == libc::PT_GNU_RELRO)?;
        let range = self.range(relro);
        // The linker leaves a last page out that has other data in it.
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as usize;
        Some(range.start..range.end / page * page)
    }

    /// # Safety
    /// `symbol` is one of the object's.
    unsafe fn name_of(&self, symbol: &Elf64_Sym) -> &CStr {
        // SAFETY: the linker follows the same offset.
        unsafe { CStr::from_ptr(self.strings.add(symbol.st_name as usize)) }
    }

    /// The addresses of what the object defines as `name`: one for each
    /// version. By the GNU hash table, as the linker does.
    pub fn defines(&self, name: &CStr, mut each: impl FnMut(usize)) {
        if self.hash.is_null() {
            return;
        }
        let hash = name.to_bytes().iter().fold(5381_u32, |h, b| {
            h.wrapping_mul(33).wrapping_add(u32::from(*b))
        });
        // SAFETY: the table's layout: four words, the Bloom filter of
        // `filter` 64-bit words, `buckets` words, and a chain of hashes that
        // ends with an odd one.
        unsafe {
            let [buckets, first, filter] = [0, 1, 2].map(|k| *self.hash.add(k));
            if buckets == 0 {
                return;
            }
            let heads = self.hash.add(4 + 2 * filter as usize);
            let chain = heads.add(buckets as usize);
            let mut index = *heads.add((hash % buckets) as usize);
            if index < first {
                return;
            }
            loop {
                let other = *chain.add((index - first) as usize);
                let symbol = &*self.symbols.add(index as usize);
                if other | 1 == hash | 1 && symbol.st_shndx != 0 && self.name_of(symbol) == name {
                    each(self.base + symbol.st_value as usize);
                }
                if other & 1 != 0 {
                    return;
                }
                index += 1;
            }
        }
    }

    /// The address of what the object defines as `name`.
    pub fn find(&self, name: &CStr) -> Option<usize> {
        let mut found = None;
        self.defines(name, |at| found = found.or(Some(at)));
        found
    }

    /// Every slot that holds the address of a symbol that the object does not
    /// define itself.
    pub fn slots(&self, mut each: impl FnMut(&CStr, *mut usize)) {
        for (at, n) in self.relocations {
            for k in 0..n {
                // SAFETY: the linker walks the same table.
                let rela = unsafe { &*with_exposed_provenance::<Rela>(at).add(k) };
                let slot = self.base + rela.offset as usize;
                if !ADDRESSES.contains(&(rela.info as u32)) || !self.contains(slot) {
                    continue;
                }
                // SAFETY: as above.
                let symbol = unsafe { &*self.symbols.add((rela.info >> 32) as usize) };
                if symbol.st_shndx == 0 {
                    // SAFETY: as above.
                    let name = unsafe { self.name_of(symbol) };
                    each(name, std::ptr::with_exposed_provenance_mut(slot));
                }
            }
        }
    }
}

/// Shows every loaded object to `each`, in the linker's order. `each` must not
/// call the linker, which holds its lock.
pub(crate) fn walk(mut each: impl FnMut(&Object<'_>)) {
    unsafe extern "C" fn show<F: FnMut(&Object<'_>)>(
        info: *mut dl_phdr_info,
        _: size_t,
        each: *mut c_void,
    ) -> c_int {
        // SAFETY: what walk passed, and an object that is loaded meanwhile.
        unsafe {
            if let Some(object) = Object::new(&*info) {
                (*each.cast::<F>())(&object);
            }
        }
        0
    }
    fn shower<F: FnMut(&Object<'_>)>(
        _: &F,
    ) -> unsafe extern "C" fn(*mut dl_phdr_info, size_t, *mut c_void) -> c_int {
        show::<F>
    }
    // SAFETY: the callback gets the closure that it is made for.
    unsafe { libc::dl_iterate_phdr(Some(shower(&each)), (&raw mut each).cast()) };
}
