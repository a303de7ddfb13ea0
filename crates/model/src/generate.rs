//! The generator: random programs, with weights on what is likely to go
//! wrong. proptest shrinks what it makes.

use crate::program::{
    Dup, End, GENERATIONS, How, Op, Opt, Owner, Peer, Program, Round, STREAMS, Step, Stream, Take,
    Waits, Way,
};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

/// Programs.
pub fn programs() -> impl Strategy<Value = Program> {
    // One thread in three programs of four, so that results can be compared
    // call by call.
    prop_oneof![3 => Just(1_usize), 1 => Just(2)].prop_flat_map(|threads| {
        let ops = vec(burst(), 0..7).prop_map(|b| b.concat());
        let rounds = vec(vec(ops, threads).prop_map(Round), 1..=3);
        (
            any::<u64>(),
            vec(
                (stream(threads), weighted(0.4, 1024..9000_u32)),
                1..=STREAMS,
            ),
            rounds,
            end(),
            prop::bool::weighted(0.1),
        )
            .prop_map(|(seed, streams, rounds, end, leave_input)| {
                let mut program = Program {
                    seed,
                    streams: Vec::new(),
                    rounds,
                    end,
                    leave_input,
                };
                for (s, (stream, sndbuf)) in streams.into_iter().enumerate() {
                    tighten(&mut program, s as u8, &stream, sndbuf);
                    program.streams.push(stream);
                }
                program
            })
    })
}

/// A small send buffer from the start.
fn tighten(program: &mut Program, s: u8, stream: &Stream, sndbuf: Option<u32>) {
    let thread = match stream.owner {
        Owner::Thread(t) => usize::from(t),
        Owner::Shared => 0,
    };
    let first = program.rounds.first_mut().and_then(|r| r.0.get_mut(thread));
    if let (Some(n), Some(ops)) = (sndbuf, first) {
        let opt = Opt::Sndbuf(n);
        ops.insert(0, Op::Opt { s, a: 0, opt });
    }
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Return),
        2 => Just(End::Exit),
        2 => Just(End::Quick),
        1 => Just(End::Exec),
        1 => Just(End::Abort),
    ]
}

fn stream(threads: usize) -> impl Strategy<Value = Stream> {
    let owner = if threads == 1 {
        Just(Owner::Thread(0)).boxed()
    } else {
        prop_oneof![
            Just(Owner::Thread(0)),
            Just(Owner::Thread(1)),
            Just(Owner::Shared)
        ]
        .boxed()
    };
    let waits = prop_oneof![
        3 => Just(Waits::Edge),
        2 => Just(Waits::Level),
        1 => Just(Waits::PlainEdge),
        1 => Just(Waits::Poll),
        1 => Just(Waits::Select),
    ];
    (owner, waits, any::<bool>(), vec(peer(), 1..=GENERATIONS)).prop_map(
        |(owner, waits, accept4, peers)| Stream {
            owner,
            waits,
            accept4,
            peers,
        },
    )
}

fn peer() -> impl Strategy<Value = Peer> {
    let step = prop_oneof![
        3 => (1..6000_u32).prop_map(Step::Send),
        2 => (1..20_000_u32).prop_map(Step::Read),
        2 => (1..20_000_u32).prop_map(Step::Slow),
        3 => (1..20_u32).prop_map(Step::Await),
    ];
    let last = prop_oneof![
        3 => Just(None),
        2 => Just(Some(Step::HalfClose)),
        2 => Just(Some(Step::Stop)),
        1 => Just(Some(Step::Reset)),
        1 => Just(Some(Step::Close)),
    ];
    (weighted(0.4, 2000..16_000_u32), vec(step, 0..5), last).prop_map(
        |(rcvbuf, mut steps, last)| {
            steps.extend(last);
            Peer { rcvbuf, steps }
        },
    )
}

/// Several operations that belong together, or one.
fn burst() -> impl Strategy<Value = Vec<Op>> {
    prop_oneof![
        5 => train(),
        4 => single().prop_map(|op| vec![op]),
        1 => reopen(),
        1 => (vec(prop_oneof![write(), write(), single()], 1..5), any::<bool>())
            .prop_map(|(ops, wait)| vec![Op::Fork { ops, wait }]),
    ]
}

/// Neighbouring writes on one stream, and what may follow them.
fn train() -> impl Strategy<Value = Vec<Op>> {
    let pieces = vec((small(), how(), prop::bool::weighted(0.15)), 2..7);
    let after = prop_oneof![
        4 => Just(None),
        1 => way().prop_map(|way| Some(Op::Shutdown { s: 0, a: 0, way })),
        1 => any::<bool>().prop_map(|all| Some(Op::Close { s: 0, all, leave: false })),
        1 => dup().prop_map(|dup| Some(Op::Dup { s: 0, a: 0, dup })),
        1 => opt().prop_map(|opt| Some(Op::Opt { s: 0, a: 0, opt })),
        1 => Just(Some(Op::Wait(Waits::Poll))),
        1 => size().prop_map(|n| Some(Op::WriteAll { s: 0, a: 0, n, how: How::Write })),
    ];
    (0..STREAMS as u8, pieces, after).prop_map(|(to, pieces, after)| {
        let write = |(n, how, all)| {
            if all {
                Op::WriteAll {
                    s: to,
                    a: 0,
                    n,
                    how,
                }
            } else {
                Op::Write {
                    s: to,
                    a: 0,
                    n,
                    how,
                }
            }
        };
        let mut ops: Vec<Op> = pieces.into_iter().map(write).collect();
        ops.extend(after.map(|mut op| {
            match &mut op {
                Op::Shutdown { s, .. }
                | Op::Close { s, .. }
                | Op::Dup { s, .. }
                | Op::Opt { s, .. }
                | Op::WriteAll { s, .. } => *s = to,
                _ => {}
            }
            op
        }));
        ops
    })
}

/// A connection's end and the next one's beginning.
fn reopen() -> impl Strategy<Value = Vec<Op>> {
    let s = 0..STREAMS as u8;
    (s, any::<bool>(), vec((small(), how()), 1..4)).prop_map(|(s, leave, pieces)| {
        let mut ops = vec![
            Op::Close {
                s,
                all: true,
                leave,
            },
            Op::Open { s },
        ];
        let write = |(n, how)| Op::Write { s, a: 0, n, how };
        ops.extend(pieces.into_iter().map(write));
        ops
    })
}

fn single() -> impl Strategy<Value = Op> {
    let s = || 0..STREAMS as u8;
    let a = || 0..3_u8;
    prop_oneof![
        6 => write(),
        3 => (s(), a(), size(), how()).prop_map(|(s, a, n, how)| Op::WriteAll { s, a, n, how }),
        2 => (s(), a(), room(), take())
            .prop_map(|(s, a, n, take)| Op::Read { s, a, n, take }),
        2 => (s(), 1..5000_u32, take()).prop_map(|(s, n, take)| Op::ReadAll { s, n, take }),
        2 => (s(), 100..5000_u32, take()).prop_map(|(s, n, take)| Op::Input { s, n, take }),
        4 => waits().prop_map(Op::Wait),
        1 => (s(), a(), way()).prop_map(|(s, a, way)| Op::Shutdown { s, a, way }),
        2 => (s(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(s, all, leave)| Op::Close { s, all, leave }),
        2 => s().prop_map(|s| Op::Open { s }),
        2 => (s(), a(), dup()).prop_map(|(s, a, dup)| Op::Dup { s, a, dup }),
        3 => (s(), a(), opt()).prop_map(|(s, a, opt)| Op::Opt { s, a, opt }),
        1 => Just(Op::File),
        1 => (1..1500_u32).prop_map(Op::Compute),
    ]
}

fn write() -> impl Strategy<Value = Op> {
    (0..STREAMS as u8, 0..3_u8, size(), how()).prop_map(|(s, a, n, how)| Op::Write { s, a, n, how })
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 8 => 1..100_u32, 8 => 100..4000_u32, 2 => 4000..20_000_u32]
}

fn size() -> impl Strategy<Value = u32> {
    prop_oneof![
        12 => small(),
        3 => 16_000..70_000_u32,
        1 => 70_000..=1_048_576_u32,
    ]
}

fn room() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(0), 16 => 1..5000_u32, 1 => 5000..=1_048_576_u32]
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => Just(How::Write),
        3 => Just(How::Writev),
        2 => Just(How::Send),
        2 => Just(How::More),
        1 => Just(How::Quiet),
        2 => Just(How::Sendmsg),
        1 => Just(How::Control),
        1 => Just(How::Sendmmsg),
        2 => Just(How::File),
        1 => Just(How::FileHere),
        1 => Just(How::ShortFile),
        1 => Just(How::PipeFile),
        1 => Just(How::Splice),
        1 => Just(How::Number),
    ]
}

fn take() -> impl Strategy<Value = Take> {
    prop_oneof![
        3 => Just(Take::Read),
        2 => Just(Take::Recv),
        1 => Just(Take::Readv),
        1 => Just(Take::Recvmsg),
        1 => Just(Take::Peek),
    ]
}

fn waits() -> impl Strategy<Value = Waits> {
    prop_oneof![
        3 => Just(Waits::Level),
        2 => Just(Waits::Poll),
        1 => Just(Waits::Select),
    ]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![1 => Just(Way::Read), 4 => Just(Way::Write), 2 => Just(Way::Both)]
}

fn dup() -> impl Strategy<Value = Dup> {
    let other = 0..STREAMS as u8;
    prop_oneof![
        3 => Just(Dup::Dup),
        1 => Just(Dup::Fcntl),
        1 => Just(Dup::Dup2),
        1 => Just(Dup::Dup3),
        2 => other.clone().prop_map(Dup::Over),
        1 => other.prop_map(Dup::Refused),
    ]
}

fn opt() -> impl Strategy<Value = Opt> {
    prop_oneof![
        4 => any::<bool>().prop_map(Opt::Cork),
        1 => Just(Opt::IsCorked),
        1 => any::<bool>().prop_map(Opt::Nodelay),
        2 => (1024..30_000_u32).prop_map(Opt::Sndbuf),
        1 => (1..30_000_u32).prop_map(Opt::Lowat),
        1 => prop_oneof![Just(None), Just(Some(0)), Just(Some(1))].prop_map(Opt::Linger),
        2 => Just(Opt::Error),
        1 => any::<bool>().prop_map(Opt::Nonblock),
        1 => any::<bool>().prop_map(Opt::Fionbio),
    ]
}
