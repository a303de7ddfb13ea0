//! stdio. A FILE over a descriptor of the program's own streams is left alone
//! from fdopen on (`descriptors.rs`), so what is at stake here is order: what
//! a FILE writes to a file, a pipe or a terminal shows outside, and when it
//! does is the buffer's affair. So all in custody goes before any call that
//! may write; where nothing is, that costs the entry and one load. A call that
//! reads may wait, and brings news.

use super::{any, leave_fd_alone, quick};
use crate::arch::trampoline::before;
use crate::real::{errno, interpose, set_errno};
use crate::thread::{enter, uninterposed};
use libc::{FILE, c_char, c_int};

before! { lean_trampoline, quick:
    fputc fputc_unlocked putc putc_unlocked putchar putchar_unlocked putw
    fputs fputs_unlocked puts fwrite fwrite_unlocked
    fputwc fputwc_unlocked putwc putwc_unlocked putwchar putwchar_unlocked
    fputws fputws_unlocked
    __overflow __woverflow
    vfprintf vprintf __vfprintf_chk __vprintf_chk
    vfwprintf vwprintf __vfwprintf_chk __vwprintf_chk
    fflush fflush_unlocked fseek fseeko fseeko64 fsetpos fsetpos64 rewind
    ftell ftello ftello64 fgetpos fgetpos64
    perror psiginfo psignal herror fmtmsg
    vwarn vwarnx
    putgrent putpwent putsgent putspent addmntent
    argp_error argp_help argp_state_help argp_usage
    _IO_do_write _IO_fflush _IO_file_close _IO_file_overflow _IO_file_seek
    _IO_file_seekoff _IO_file_sync _IO_file_write _IO_file_xsputn
    _IO_flush_all _IO_flush_all_linebuffered _flushlbf
    _IO_fputs _IO_fsetpos _IO_fsetpos64 _IO_fwrite _IO_fgetpos _IO_fgetpos64 _IO_ftell
    _IO_padn _IO_putc _IO_puts _IO_seekoff _IO_seekpos _IO_vfprintf
    _IO_default_finish _IO_default_xsputn _IO_file_close_it _IO_file_finish
    _IO_switch_to_get_mode _IO_switch_to_wget_mode _IO_wdefault_xsputn
    _IO_wdo_write _IO_wfile_overflow _IO_wfile_seekoff _IO_wfile_sync _IO_wfile_xsputn
    #[cfg(target_env = "musl")] _IO_putc_unlocked
    #[cfg(target_env = "musl")] __fputwc_unlocked
}
before! { variadic_trampoline, quick:
    printf fprintf __printf_chk __fprintf_chk _IO_printf _IO_fprintf
    wprintf fwprintf __wprintf_chk __fwprintf_chk
    warn warnx argp_failure
}

before! { lean_trampoline, any:
    fgetc fgetc_unlocked getc getc_unlocked getchar getchar_unlocked getw gets __gets_chk
    fgets fgets_unlocked __fgets_chk __fgets_unlocked_chk
    fread fread_unlocked __fread_chk __fread_unlocked_chk
    getdelim __getdelim getline
    fgetwc fgetwc_unlocked getwc getwc_unlocked getwchar getwchar_unlocked
    fgetws fgetws_unlocked __fgetws_chk __fgetws_unlocked_chk
    __uflow __underflow __wuflow __wunderflow
    vfscanf vscanf vfwscanf vwscanf
    __vfscanf __isoc99_vfscanf __isoc99_vscanf __isoc99_vfwscanf __isoc99_vwscanf
    fgetgrent fgetgrent_r fgetpwent fgetpwent_r fgetsgent fgetsgent_r fgetspent fgetspent_r
    getmntent getmntent_r __getmntent_r
    fopencookie fcloseall
    _IO_default_uflow _IO_default_xsgetn _IO_wdefault_uflow _IO_wdefault_xsgetn
    _IO_file_open _IO_file_fopen _IO_proc_close _IO_peekc_locked
    _IO_fgets _IO_file_read _IO_file_underflow _IO_fread _IO_getc _IO_getline
    _IO_getline_info _IO_gets _IO_sgetn _IO_wfile_underflow
    #[cfg(target_env = "musl")] _IO_getc_unlocked
    #[cfg(target_env = "musl")] __fgetwc_unlocked
    #[cfg(target_env = "musl")] fgetln
}
before! { variadic_trampoline, any:
    fscanf scanf fwscanf wscanf
    __isoc99_fscanf __isoc99_scanf __isoc99_fwscanf __isoc99_wscanf
    err errx error error_at_line
}
before! { lean_trampoline, any: verr verrx }

/// Before a FILE is closed: its descriptor's number is free after that.
fn closes([file, ..]: [usize; 3]) {
    let e = errno();
    let file: *mut FILE = std::ptr::with_exposed_provenance_mut(file);
    if !file.is_null() {
        // SAFETY: the program's open FILE; -1 where it has no descriptor.
        let fd = uninterposed(|| unsafe { libc::fileno(file) });
        if fd >= 0 {
            leave_fd_alone(fd);
        }
    }
    super::effect();
    set_errno(e);
}

/// Before a print on a descriptor.
fn prints([fd, ..]: [usize; 3]) {
    if let Some(i) = enter() {
        let e = errno();
        i.before_call_on(i.seg, fd as c_int);
        i.effect(i.seg);
        set_errno(e);
    }
}

before! { lean_trampoline, prints: __vdprintf_chk }
before! { lean_trampoline, closes: fclose pclose endmntent __endmntent _IO_fclose }
before! { lean_trampoline, super::leave_alone: fdopendir _IO_fdopen _IO_file_attach }

/// A FILE's descriptor is never a stream that promises.
fn opened(file: *mut FILE) -> *mut FILE {
    if !file.is_null()
        && let Some(i) = enter()
    {
        let e = errno();
        // SAFETY: just opened.
        i.made_other(unsafe { libc::fileno(file) });
        set_errno(e);
    }
    file
}

macro_rules! opens {
    ($($name:ident($($a:ident: $t:ty),*);)*) => {
        interpose! { unchecked $(fn $name($($a: $t),*) -> *mut FILE, real {
            super::effect();
            // SAFETY: the program's own arguments.
            opened(unsafe { real($($a),*) })
        })* }
    };
}

opens! {
    fopen(path: *const c_char, mode: *const c_char);
    fopen64(path: *const c_char, mode: *const c_char);
    _IO_fopen(path: *const c_char, mode: *const c_char);
    setmntent(path: *const c_char, mode: *const c_char);
    __setmntent(path: *const c_char, mode: *const c_char);
    tmpfile();
    tmpfile64();
}

macro_rules! reopens {
    ($($name:ident)*) => {
        interpose! { unchecked $(fn $name(
            path: *const c_char, mode: *const c_char, file: *mut FILE,
        ) -> *mut FILE, real {
            closes([file.expose_provenance(), 0, 0]);
            // SAFETY: the program's own arguments.
            opened(unsafe { real(path, mode, file) })
        })* }
    };
}

reopens! { freopen freopen64 }

macro_rules! temporary {
    ($($name:ident($($a:ident: $t:ty),*);)*) => {
        interpose! { unchecked $(fn $name($($a: $t),*) -> c_int, real {
            super::effect();
            // SAFETY: the program's own arguments.
            let fd = unsafe { real($($a),*) };
            if fd >= 0 && let Some(i) = enter() {
                i.made_other(fd);
            }
            fd
        })* }
    };
}

// Files with names of the C library's choice, and other new descriptors.
temporary! {
    mkstemp(name: *mut c_char);
    mkstemp64(name: *mut c_char);
    mkostemp(name: *mut c_char, flags: c_int);
    mkostemp64(name: *mut c_char, flags: c_int);
    mkstemps(name: *mut c_char, suffix: c_int);
    mkstemps64(name: *mut c_char, suffix: c_int);
    mkostemps(name: *mut c_char, suffix: c_int, flags: c_int);
    mkostemps64(name: *mut c_char, suffix: c_int, flags: c_int);
}
