//! Writes, by each of their names.

use crate::{Actor, errno};
use esca_model::scene::stage::What;
use esca_model::scene::{Before, How, letter};
use std::ffi::c_void;
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::SeqCst;

#[repr(C)]
struct VaList {
    gp: u32,
    fp: u32,
    overflow: *mut c_void,
    save: *mut c_void,
}

unsafe extern "C" {
    fn __write(fd: i32, at: *const c_void, n: usize) -> isize;
    fn __vdprintf_chk(fd: i32, flag: i32, format: *const i8, args: *mut VaList) -> i32;
    fn dprintf(fd: i32, format: *const i8, ...) -> i32;
    fn dlmopen(space: isize, file: *const i8, flag: i32) -> *mut c_void;
}

/// Writes `n` of the bytes that are due; notes what was promised by then.
pub(crate) fn write(actor: &Actor, client: usize, how: How, n: usize) -> i64 {
    let at = actor.stage.promised[client].load(SeqCst);
    let mut bytes = [0_u8; 3001];
    let n = n.min(3000);
    for (b, k) in bytes[..n].iter_mut().zip(at..) {
        *b = letter(client, k);
    }
    let r = call(actor, actor.fd(client), &mut bytes, n, how);
    if r > 0 {
        let sum = actor.stage.promised[client].fetch_add(r as u64, SeqCst) + r as u64;
        actor.note(What::Wrote, client, sum as i64);
    }
    if !actor.stalled() {
        actor.note(
            What::Result,
            client,
            if r < 0 { -i64::from(errno()) } else { r },
        );
    }
    r
}

fn call(actor: &Actor, fd: i32, bytes: &mut [u8; 3001], n: usize, how: How) -> i64 {
    let at: *const c_void = bytes.as_ptr().cast();
    let mut iov = libc::iovec {
        iov_base: at.cast_mut(),
        iov_len: n,
    };
    // Memory that is short may not suffice for one more object.
    let loads = matches!(how, How::Dlmopen | How::Deepbind);
    if loads && actor.scene.before(Before::NoStdio) {
        return 0;
    }
    // SAFETY: all zero is a message.
    let mut m: libc::mmsghdr = unsafe { zeroed() };
    m.msg_hdr.msg_iov = &raw mut iov;
    m.msg_hdr.msg_iovlen = 1;
    // SAFETY: bytes, vector and messages live through it, with
    // the lengths given; a zero follows the bytes for the formats.
    unsafe {
        match how {
            How::Write => libc::write(fd, at, n) as i64,
            How::UnderWrite => __write(fd, at, n) as i64,
            How::Second => {
                let second = actor.second.load(SeqCst);
                libc::write(if second < 0 { fd } else { second }, at, n) as i64
            }
            How::Writev => libc::writev(fd, &raw const iov, 1) as i64,
            How::Pwritev2 => libc::pwritev2(fd, &raw const iov, 1, -1, 0) as i64,
            How::Send => libc::send(fd, at, n, 0) as i64,
            How::SendMore => libc::send(fd, at, n, libc::MSG_MORE) as i64,
            How::Sendto => libc::sendto(fd, at, n, 0, null_mut(), 0) as i64,
            How::Sendmsg => libc::sendmsg(fd, &raw const m.msg_hdr, 0) as i64,
            How::Sendmmsg | How::SendmmsgMore => {
                let more = if how == How::SendmmsgMore {
                    libc::MSG_MORE
                } else {
                    0
                };
                let r = libc::sendmmsg(fd, &raw mut m, 1, more);
                if r < 1 { r.into() } else { m.msg_len.into() }
            }
            How::Splice | How::SpliceMore => {
                let mut p = [0; 2];
                libc::pipe2(p.as_mut_ptr(), libc::O_CLOEXEC);
                crate::raw::call(libc::SYS_write, [p[1].into(), at as i64, n as i64, 0, 0]);
                let more = if how == How::SpliceMore {
                    libc::SPLICE_F_MORE
                } else {
                    0
                };
                let r = libc::splice(
                    p[0],
                    null_mut(),
                    fd,
                    null_mut(),
                    n,
                    more | libc::SPLICE_F_NONBLOCK,
                );
                let e = errno();
                crate::raw::close(p[0]);
                crate::raw::close(p[1]);
                *libc::__errno_location() = e;
                r as i64
            }
            How::Dprintf => {
                bytes[n] = 0;
                dprintf(fd, bytes.as_ptr().cast()).into()
            }
            How::VdprintfChk => {
                bytes[n] = 0;
                let mut none = VaList {
                    gp: 48,
                    fp: 304,
                    overflow: null_mut(),
                    save: null_mut(),
                };
                __vdprintf_chk(fd, 1, bytes.as_ptr().cast(), &raw mut none).into()
            }
            How::Stdio => {
                let mut file = actor.file.load(SeqCst);
                if file.is_null() {
                    file = libc::fdopen(fd, c"w".as_ptr());
                    actor.file.store(file, SeqCst);
                }
                let r = libc::fwrite(at, 1, n, file);
                libc::fflush(file);
                r as i64
            }
            How::Dlsym | How::Dlmopen => {
                let lib = if how == How::Dlsym {
                    libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW)
                } else {
                    dlmopen(-1, c"libc.so.6".as_ptr(), libc::RTLD_NOW)
                };
                let f = if lib.is_null() {
                    null_mut()
                } else {
                    libc::dlsym(lib, c"write".as_ptr())
                };
                if f.is_null() {
                    return 0;
                }
                let f: extern "C" fn(i32, *const c_void, usize) -> isize = std::mem::transmute(f);
                f(fd, at, n) as i64
            }
            How::Deepbind => {
                let Some(path) = plugin() else { return 0 };
                let lib = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_DEEPBIND);
                let f = if lib.is_null() {
                    null_mut()
                } else {
                    libc::dlsym(lib, c"plugin_write".as_ptr())
                };
                if f.is_null() {
                    return 0;
                }
                let f: extern "C" fn(i32, *const c_void, usize) -> isize = std::mem::transmute(f);
                f(fd, at, n) as i64
            }
            How::NumWrite => libc::syscall(libc::SYS_write, fd, at, n),
            How::NumWritev => libc::syscall(libc::SYS_writev, fd, &raw const iov, 1_usize),
            How::NumPwritev2 => libc::syscall(
                libc::SYS_pwritev2,
                fd,
                &raw const iov,
                1_usize,
                -1_i64,
                -1_i64,
                0,
            ),
            How::NumSendto => libc::syscall(libc::SYS_sendto, fd, at, n, 0, 0, 0),
            How::NumSendmsg => libc::syscall(libc::SYS_sendmsg, fd, &raw const m.msg_hdr, 0),
        }
    }
}

/// The plugin that is built beside this program.
fn plugin() -> Option<std::ffi::CString> {
    let dir = std::env::current_exe().ok()?.with_file_name("examples");
    let path = dir.join("libscene_plugin.so");
    std::ffi::CString::new(path.to_str()?).ok()
}
