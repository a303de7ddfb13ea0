//! The generator of scenes: few items each, so that one fault does not hide
//! another, with bytes in custody or left over around them.

use super::{
    Act, Bad, Before, Bulk, By, Child, Dup, Effect, End, How, Item, Leave, Limit, News, Opt,
    Policy, Scene,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Scenes.
pub fn scenes() -> impl Strategy<Value = Scene> {
    let policy = prop_oneof![
        4 => Just(Policy::Coalesce),
        3 => Just(Policy::Batch),
        1 => Just(Policy::Off),
    ];
    let before = vec(before(), 0..=2);
    let blocks = vec(block(), 1..=3);
    let end = prop_oneof![1 => Just(End::Return), 1 => select(ENDS)];
    (policy, before, blocks, end).prop_map(|(policy, before, blocks, end)| {
        let mut items: Vec<_> = before.into_iter().flatten().map(Item::Before).collect();
        items.extend(blocks.concat());
        items.push(Item::End(end));
        Scene { policy, items }
    })
}

fn before() -> impl Strategy<Value = Option<Before>> {
    prop_oneof![
        8 => Just(None),
        6 => Just(Some(Before::Stalled)),
        1 => Just(Some(Before::Corked)),
        3 => Just(Some(Before::FewNumbers)),
        3 => Just(Some(Before::Atfork)),
        2 => Just(Some(Before::Fdopen)),
        1 => Just(Some(Before::NoStdio)),
        1 => Just(Some(Before::InHandler)),
        2 => Just(Some(Before::Pid1)),
    ]
}

/// Items that are likely to meet: bytes are promised, something happens, more
/// bytes follow, and time passes.
fn block() -> impl Strategy<Value = Vec<Item>> {
    let first = prop_oneof![
        6 => write(),
        2 => Just(Item::Fill),
        1 => (select(&[1i8, 2, 0][..])).prop_map(|v| Item::Opt(Opt::Cork(v))),
    ];
    let special = prop_oneof![
        6 => vec(any_write(), 1..=2),
        3 => options(),
        5 => select(BADS).prop_map(|b| vec![Item::Bad(b)]),
        4 => select(EFFECTS).prop_map(|e| vec![Item::Effect(e)]),
        2 => select(DUPS).prop_map(|d| vec![Item::Dup(d), second(), Item::Write { to: 0, how: How::Write, n: 3 }, second()]),
        1 => select(&[By::Libc, By::Number, By::Asm][..]).prop_map(|b| vec![Item::Replace(b)]),
        3 => vec(select(BULKS), 1..=3).prop_map(|b| b.into_iter().map(Item::Bulk).collect()),
        1 => any::<bool>().prop_map(|writes| vec![Item::Holder { writes }, Item::Child(Child::Fork)]),
        4 => select(CHILDREN).prop_map(|c| vec![Item::Child(c)]),
        3 => select(LEAVES).prop_map(|l| vec![Item::Leave(l)]),
        2 => (select(&[2560u16, 4096, 8192][..]), select(ACTS)).prop_map(|(room, act)| vec![Item::Signal { room, act }]),
        1 => select(&[Limit::Timeout, Limit::Signal][..]).prop_map(|l| vec![Item::Fill, Item::Blocking(l)]),
        2 => select(NEWS).prop_map(|n| vec![Item::News(n)]),
    ];
    let after = prop_oneof![
        3 => Just(vec![]),
        2 => write().prop_map(|w| vec![w]),
        1 => (write(), Just(Item::Rest(260))).prop_map(|(w, r)| vec![w, r]),
        2 => Just(vec![Item::Rest(260)]),
        1 => Just(vec![Item::Spin(60)]),
        1 => Just(vec![Item::Wake]),
    ];
    (first, special, after).prop_map(|(first, special, after)| {
        let mut all = vec![first];
        all.extend(special);
        all.extend(after);
        all
    })
}

fn second() -> Item {
    Item::Write {
        to: 0,
        how: How::Second,
        n: 2,
    }
}

fn write() -> impl Strategy<Value = Item> {
    (prop_oneof![3 => Just(0u8), 1 => Just(1)], 1..40_u16).prop_map(|(to, n)| Item::Write {
        to,
        how: How::Write,
        n,
    })
}

fn any_write() -> impl Strategy<Value = Item> {
    (select(HOWS), 1..60_u16).prop_map(|(how, n)| Item::Write { to: 0, how, n })
}

/// Bytes that the kernel holds back, and what sends them.
fn options() -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        2 => select(&[1i8, 0, 1, 0, 2][..]).prop_map(|v| Item::Opt(Opt::Cork(v))),
        2 => select(&[1i8, 1, 0][..]).prop_map(|v| Item::Opt(Opt::Nodelay(v))),
        2 => select(&[How::Write, How::SendMore, How::SendmmsgMore, How::SpliceMore, How::Splice][..])
            .prop_map(|how| Item::Write { to: 0, how, n: 8 }),
        1 => Just(Item::Wake),
    ];
    vec(item, 2..6).prop_map(|mut items| {
        items.push(Item::Rest(300));
        items
    })
}

const ENDS: &[End] = &[
    End::Return,
    End::Quick,
    End::RawExit,
    End::Abort,
    End::PthreadExit,
    End::Term,
    End::Kill,
    End::Execve,
    End::Execveat,
    End::Fexecve,
    End::NumExecveat,
    End::Assert,
];
const DUPS: &[Dup] = &[Dup::Dup, Dup::Dup2, Dup::Fcntl, Dup::NumDup2, Dup::NumFcntl];
const BULKS: &[Bulk] = &[
    Bulk::CloseUnused,
    Bulk::CloseUnusedAsm,
    Bulk::DupHigh,
    Bulk::PipeEmpty,
    Bulk::ChildHasAll,
];
const CHILDREN: &[Child] = &[
    Child::Fork,
    Child::UnderFork,
    Child::NumFork,
    Child::NumClone,
    Child::Vfork,
    Child::CloneVm,
    Child::System,
    Child::Popen,
    Child::Spawn,
    Child::Daemon,
    Child::Lock,
    Child::Worker,
];
const LEAVES: &[Leave] = &[
    Leave::Files,
    Leave::NewUser,
    Leave::NewPid,
    Leave::Mount,
    Leave::Sighand,
    Leave::CloseRange,
    Leave::NumCloseRange,
];
const ACTS: &[Act] = &[
    Act::Write,
    Act::Select,
    Act::Fork,
    Act::Exit,
    Act::Close,
    Act::Sendmsg,
];
const NEWS: &[News] = &[News::Spin, News::Sigio, News::Worker, News::Pipe];
const HOWS: &[How] = &[
    How::Write,
    How::UnderWrite,
    How::Writev,
    How::Pwritev2,
    How::Send,
    How::SendMore,
    How::Sendto,
    How::Sendmsg,
    How::Sendmmsg,
    How::SendmmsgMore,
    How::Splice,
    How::SpliceMore,
    How::Dprintf,
    How::VdprintfChk,
    How::Stdio,
    How::Dlsym,
    How::Dlmopen,
    How::Deepbind,
    How::NumWrite,
    How::NumWritev,
    How::NumPwritev2,
    How::NumSendto,
    How::NumSendmsg,
];
const BADS: &[Bad] = &[
    Bad::SetsockoptValue,
    Bad::SetsockoptLength,
    Bad::GetsockoptValue,
    Bad::GetsockoptLength,
    Bad::ReadvPointer,
    Bad::ReadvHuge,
    Bad::ReadvNegative,
    Bad::WritevPointer,
    Bad::WritevHuge,
    Bad::WritevNegative,
    Bad::WritevBase,
    Bad::SendmsgPointer,
    Bad::SendmsgIov,
    Bad::SendmsgControl,
    Bad::SendmmsgPointer,
    Bad::SendmmsgIov,
    Bad::RecvmsgPointer,
    Bad::SendfileOffset,
    Bad::SpliceOffset,
    Bad::EpollEvents,
    Bad::PollPointer,
    Bad::SelectPointer,
    Bad::AcceptLength,
    Bad::PipePointer,
    Bad::SocketpairPointer,
    Bad::Shutdown7,
    Bad::ConnectUnspec,
    Bad::FastOpenConnect,
    Bad::FcntlLock,
    Bad::IoctlPointer,
    Bad::NanosleepPointer,
    Bad::PpollMask,
    Bad::OpenPointer,
];
const EFFECTS: &[Effect] = &[
    Effect::WritePipe,
    Effect::EventfdWrite,
    Effect::FopenW,
    Effect::Mkstemp,
    Effect::ShmOpen,
    Effect::SemOpen,
    Effect::Mknod,
    Effect::Mkfifoat,
    Effect::BindPath,
    Effect::Listen,
    Effect::Tgkill,
    Effect::Setxattr,
    Effect::MqSend,
    Effect::Semtimedop,
    Effect::Kill,
    Effect::Rename,
    Effect::Preadv2Pipe,
    Effect::RwlockTimed,
    Effect::Unlink,
    Effect::Mkdir,
    Effect::Symlink,
    Effect::Ftruncate,
];
