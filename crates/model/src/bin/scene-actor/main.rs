//! The actor of scenes: carries out one list of items.
//!
//! `scene-actor SCENE STAGE`

mod around;
mod bad;
mod child;
mod effect;
mod end;
mod news;
mod raw;
mod write;

use esca_model::scene::stage::{CLIENTS, Note, Stage, What, now};
use esca_model::scene::{Before, Dup, How, Item, Opt, Scene};
use esca_suite::shared::Shared;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::SeqCst};

/// The actor.
pub(crate) struct Actor {
    pub scene: Scene,
    pub stage: Shared<Stage>,
    pub listener: AtomicI32,
    pub fds: [AtomicI32; CLIENTS],
    /// The first client's second number.
    pub second: AtomicI32,
    pub file: AtomicPtr<libc::FILE>,
    pub pipe: [AtomicI32; 2],
    pub high: AtomicI32,
    pub item: AtomicUsize,
    pub next: AtomicUsize,
}

impl Actor {
    pub(crate) fn fd(&self, client: usize) -> i32 {
        self.fds[client].load(SeqCst)
    }

    pub(crate) fn note(&self, what: What, client: usize, value: i64) {
        let item = self.item.load(SeqCst);
        let at = now();
        self.stage.note(Note {
            item,
            what,
            client,
            value,
            at,
        });
    }

    /// A result as the kernel gives it.
    pub(crate) fn result(&self, r: i64) {
        let value = if r < 0 { -i64::from(errno()) } else { r };
        self.note(What::Result, 0, value);
    }

    pub(crate) fn stalled(&self) -> bool {
        self.scene.before(Before::Stalled)
    }

    /// Accepts the next client.
    pub(crate) fn accept(&self, client: usize) {
        let lis = self.listener.load(SeqCst);
        let mut p = libc::pollfd {
            fd: lis,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: a local, and no address is asked for.
        let fd = unsafe {
            libc::poll(&raw mut p, 1, 1000);
            libc::accept4(
                lis,
                null_mut(),
                null_mut(),
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        self.fds[client].store(fd, SeqCst);
    }
}

pub(crate) fn errno() -> i32 {
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() }
}

pub(crate) fn wake() {
    // SAFETY: no descriptors.
    unsafe { libc::poll(null_mut(), 0, 0) };
}

pub(crate) fn spin(ms: u64) {
    let end = now() + ms * 1_000_000;
    while now() < end {
        std::hint::spin_loop();
    }
}

fn main() {
    // SAFETY: what was inherited is nobody's here.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    let args: Vec<String> = std::env::args().collect();
    let [_, scene, stage] = args.as_slice() else {
        eprintln!("usage: scene-actor SCENE STAGE");
        std::process::exit(2);
    };
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let text = std::fs::read_to_string(scene).expect("the scene");
    let actor: &'static Actor = Box::leak(Box::new(Actor {
        scene: Scene::from_text(&text).expect("a scene"),
        stage: Shared::open(stage.as_ref()),
        listener: AtomicI32::new(-1),
        fds: [const { AtomicI32::new(-1) }; CLIENTS],
        second: AtomicI32::new(-1),
        file: AtomicPtr::new(null_mut()),
        pipe: [const { AtomicI32::new(-1) }; 2],
        high: AtomicI32::new(-1),
        item: AtomicUsize::new(0),
        next: AtomicUsize::new(1),
    }));
    around::before(actor);
    warm(actor, 0);
    let items = actor.scene.items.clone();
    for (k, item) in items.iter().enumerate() {
        if matches!(item, Item::End(_) | Item::Before(_)) {
            continue;
        }
        actor.item.store(k, SeqCst);
        let begin = now();
        step(actor, item);
        actor.note(What::Took, 0, (now() - begin) as i64);
    }
    actor.item.store(items.len(), SeqCst);
    child::join();
    end::end(actor);
}

/// Teaches the library that two writes follow each other.
pub(crate) fn warm(actor: &Actor, client: usize) {
    for _ in 0..6 {
        wake();
        write::write(actor, client, How::Write, 1);
        write::write(actor, client, How::Write, 1);
    }
    wake();
}

fn step(actor: &'static Actor, item: &Item) {
    match *item {
        Item::Before(_) | Item::End(_) => {}
        Item::Write { to, how, n } => {
            let to = usize::from(to).min(1);
            if actor.fd(to) < 0 {
                actor.accept(to);
                actor.next.fetch_max(to + 1, SeqCst);
            }
            write::write(actor, to, how, n.into());
        }
        Item::Opt(opt) => {
            let (name, value) = match opt {
                Opt::Cork(v) => (libc::TCP_CORK, v),
                Opt::Nodelay(v) => (libc::TCP_NODELAY, v),
            };
            actor.result(set(actor.fd(0), name, value.into()).into());
        }
        Item::Fill => fill(actor, 0),
        // SAFETY: no descriptors.
        Item::Rest(ms) => _ = unsafe { libc::poll(null_mut(), 0, ms.into()) },
        Item::Spin(ms) => spin(ms.into()),
        Item::Wake => wake(),
        Item::Bad(b) => bad::bad(actor, b),
        Item::Effect(e) => effect::effect(actor, e),
        Item::Dup(d) => dup(actor, d),
        Item::Replace(by) => around::replace(actor, by),
        Item::Bulk(b) => around::bulk(actor, b),
        Item::Holder { writes } => child::holder(actor, writes),
        Item::Child(c) => child::child(actor, c),
        Item::Leave(l) => around::leave(actor, l),
        Item::Signal { room, act } => end::signal(actor, room, act),
        Item::Blocking(l) => news::blocking(actor, l),
        Item::News(n) => news::news(actor, n),
    }
}

pub(crate) fn set(fd: i32, name: i32, value: i32) -> i32 {
    // SAFETY: a local of this size.
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, name, (&raw const value).cast(), 4) }
}

/// Writes until the kernel takes no more; only to one who stalls.
pub(crate) fn fill(actor: &Actor, client: usize) {
    if !actor.stalled() {
        return;
    }
    for _ in 0..200 {
        wake();
        for _ in 0..3 {
            if write::write(actor, client, How::Write, 3000) < 0 {
                return;
            }
        }
    }
}

fn dup(actor: &Actor, d: Dup) {
    let fd = actor.fd(0);
    let to = 900;
    // SAFETY: descriptors only.
    let r = unsafe {
        match d {
            Dup::Dup => libc::dup(fd).into(),
            Dup::Dup2 => libc::dup2(fd, to).into(),
            Dup::Fcntl => libc::fcntl(fd, libc::F_DUPFD, 800).into(),
            Dup::NumDup2 => libc::syscall(libc::SYS_dup2, fd, to),
            Dup::NumFcntl => libc::syscall(libc::SYS_fcntl, fd, libc::F_DUPFD, 800),
        }
    };
    actor.second.store(r as i32, SeqCst);
    let _ = null::<u8>();
}
