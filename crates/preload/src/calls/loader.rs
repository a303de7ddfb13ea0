//! The dynamic linker's calls. An object opened with RTLD_DEEPBIND is bound to
//! the C library's functions past ours, and dlsym on a handle finds those,
//! too: both are led back here. A second C library (dlmopen) cannot be: there
//! are no promises from then on.
//!
//! dlopen and dlsym look at their return address to know who asks, so they are
//! reached by a jump wherever that counts.

use crate::arch::trampoline::lean_trampoline;
use crate::elf::{self, Object};
use crate::thread::enter;
use libc::{RTLD_DEEPBIND, RTLD_LAZY, RTLD_NOW, c_char, c_int, c_void};
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

/// Where the C library's functions stand: one object, or a few before 2.34.
const LIBC: [&[u8]; 4] = [
    b"libc.so.6",
    b"libpthread.so.0",
    b"librt.so.1",
    b"libdl.so.2",
];

fn is_libc(object: &Object<'_>) -> bool {
    let name = object.name.to_bytes();
    let file = name.rsplit(|b| *b == b'/').next().unwrap_or(name);
    LIBC.contains(&file)
}

fn is_ours(object: &Object<'_>) -> bool {
    object.contains(std::ptr::from_ref(&OURS).expose_provenance())
}

static OURS: u8 = 0;

/// A function of the linker's: the next one after ours, which no dlsym can be
/// asked for.
struct Next(&'static CStr, AtomicUsize);

impl Next {
    fn get(&self) -> usize {
        let known = self.1.load(Relaxed);
        if known != 0 {
            return known;
        }
        let mut passed = false;
        let mut found = None;
        elf::walk(|object| {
            if passed && found.is_none() {
                found = object.find(self.0);
            }
            passed |= is_ours(object);
        });
        let at = found.unwrap_or(none as *const () as usize);
        self.1.store(at, Relaxed);
        at
    }
}

extern "C" fn none() -> *mut c_void {
    std::ptr::null_mut()
}

static DLSYM: Next = Next(c"dlsym", AtomicUsize::new(0));
static DLVSYM: Next = Next(c"dlvsym", AtomicUsize::new(0));
static DLOPEN: Next = Next(c"dlopen", AtomicUsize::new(0));
static DLMOPEN: Next = Next(c"dlmopen", AtomicUsize::new(0));

/// What a lookup by handle found, or our function in its place.
fn led_back(found: *mut c_void, name: *const c_char) -> *mut c_void {
    if found.is_null() {
        return found;
    }
    // SAFETY: the linker just read it.
    let name = unsafe { CStr::from_ptr(name) };
    let mut ours = None;
    let mut libcs = false;
    elf::walk(|object| {
        if is_ours(object) {
            ours = object.find(name);
        } else if is_libc(object) {
            object.defines(name, |at| libcs |= at == found.addr());
        }
    });
    match ours {
        Some(at) if libcs => std::ptr::with_exposed_provenance_mut(at),
        _ => found,
    }
}

/// Whether the handle names an object; else the return address counts.
fn is_object(handle: usize) -> bool {
    handle != libc::RTLD_DEFAULT.addr() && handle != libc::RTLD_NEXT.addr()
}

extern "C" fn dlsym_hook(handle: usize) -> usize {
    if is_object(handle) {
        dlsym_of_object as *const () as usize
    } else {
        DLSYM.get()
    }
}

extern "C" fn dlvsym_hook(handle: usize) -> usize {
    if is_object(handle) {
        dlvsym_of_object as *const () as usize
    } else {
        DLVSYM.get()
    }
}

unsafe extern "C" fn dlsym_of_object(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    type Type = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    // SAFETY: dlsym is of that type; the program's own arguments.
    led_back(
        unsafe { std::mem::transmute::<usize, Type>(DLSYM.get())(handle, name) },
        name,
    )
}

unsafe extern "C" fn dlvsym_of_object(
    handle: *mut c_void,
    name: *const c_char,
    version: *const c_char,
) -> *mut c_void {
    type Type = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void;
    // SAFETY: dlvsym is of that type; the program's own arguments.
    let found = unsafe { std::mem::transmute::<usize, Type>(DLVSYM.get())(handle, name, version) };
    led_back(found, name)
}

/// Loading reads files, and runs what it loads.
fn before_loading() {
    if let Some(i) = enter() {
        i.effect(i.seg);
    }
}

fn retire() {
    if let Some(i) = enter() {
        i.retire_whole(i.seg.stats());
    }
    // An engine that is yet to be made promises nothing either.
    RETIRED.store(true, Release);
}

static RETIRED: AtomicBool = AtomicBool::new(false);

/// Whether something was loaded that reaches descriptors past the library.
pub(crate) fn is_retired() -> bool {
    RETIRED.load(Acquire)
}

extern "C" fn dlopen_hook(path: *const c_char, flags: c_int) -> usize {
    before_loading();
    if flags & RTLD_DEEPBIND == 0 || path.is_null() {
        return DLOPEN.get();
    }
    // SAFETY: the program's own path.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes();
    // Who asks counts for a name that is searched for, or has $ORIGIN in it.
    if bytes.contains(&b'/') && !bytes.contains(&b'$') {
        return dlopen_deep as *const () as usize;
    }
    retire();
    DLOPEN.get()
}

extern "C" fn dlmopen_hook(namespace: libc::c_long, _path: *const c_char, flags: c_int) -> usize {
    before_loading();
    if namespace != libc::LM_ID_BASE || flags & RTLD_DEEPBIND != 0 {
        retire();
    }
    DLMOPEN.get()
}

/// dlopen with RTLD_DEEPBIND. All is bound at once, because what is bound
/// later is bound past us; where that fails, it is as the program asks, and
/// there are no promises any more.
unsafe extern "C" fn dlopen_deep(path: *const c_char, flags: c_int) -> *mut c_void {
    type Type = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
    // SAFETY: dlopen is of that type.
    let open = unsafe { std::mem::transmute::<usize, Type>(DLOPEN.get()) };
    // SAFETY: the program's own path.
    let now = unsafe { open(path, flags & !RTLD_LAZY | RTLD_NOW) };
    if !now.is_null() {
        if !rebind() {
            retire();
        }
        return now;
    }
    if flags & RTLD_NOW == 0 {
        retire();
        // SAFETY: the program's own arguments.
        return unsafe { open(path, flags) };
    }
    now
}

/// Has every slot that holds a function of the C library's that is interposed
/// hold ours; false where one cannot be written.
fn rebind() -> bool {
    let mut done = true;
    elf::walk(|object| {
        if is_ours(object) || is_libc(object) {
            return;
        }
        object.slots(|name, slot| {
            // SAFETY: a slot of a loaded object; aligned, as the linker has it.
            let now = unsafe { AtomicUsize::from_ptr(slot) };
            if let Some(ours) = instead_of(now.load(Relaxed), name) {
                done &= write(object, now, ours);
            }
        });
    });
    done
}

/// Our function of that name, if the address is that of the C library's.
fn instead_of(address: usize, name: &CStr) -> Option<usize> {
    let mut libcs = false;
    let mut ours = None;
    elf::walk(|object| {
        if is_ours(object) {
            ours = object.find(name);
        } else if is_libc(object) && object.contains(address) {
            object.defines(name, |at| libcs |= at == address);
        }
    });
    ours.filter(|_| libcs)
}

/// Writes a slot, which may be read-only by now.
fn write(object: &Object<'_>, slot: &AtomicUsize, value: usize) -> bool {
    let at = slot.as_ptr().addr();
    if !object.sealed().is_some_and(|range| range.contains(&at)) {
        slot.store(value, Release);
        return true;
    }
    // SAFETY: the page of a slot that the linker wrote before; it is again as
    // it was after that.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE).max(4096) as usize;
        let from = slot.as_ptr().cast::<u8>().wrapping_sub(at % page).cast();
        if libc::mprotect(from, page, libc::PROT_READ | libc::PROT_WRITE) != 0 {
            return false;
        }
        slot.store(value, Release);
        libc::mprotect(from, page, libc::PROT_READ);
    }
    true
}

lean_trampoline!(dlsym, dlsym_hook);
lean_trampoline!(dlvsym, dlvsym_hook);
lean_trampoline!(dlopen, dlopen_hook);
lean_trampoline!(dlmopen, dlmopen_hook);
