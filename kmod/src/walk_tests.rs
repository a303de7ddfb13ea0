//! The walker over a fake kernel: what it asks, what it answers, when it stops.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

/// Records what it was asked and gives the answers it was told to.
#[derive(Default)]
struct Fake {
    calls: Vec<String>,
    answers: VecDeque<i64>,
    /// What a vector asks for.
    pieces: u64,
    /// Looks at `wanted` that say yes, by their number.
    attention: Vec<usize>,
    looks: std::cell::Cell<usize>,
    /// What pause says.
    stop: bool,
    pauses: usize,
}

impl Fake {
    fn with(answers: &[i64]) -> Self {
        Fake {
            answers: answers.iter().copied().collect(),
            ..Fake::default()
        }
    }

    fn note(&mut self, call: String) -> i64 {
        self.calls.push(call);
        self.answers.pop_front().unwrap_or(0)
    }
}

impl Kernel for Fake {
    fn send(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64 {
        self.note(format!("send {fd} {ptr} {len} {flags:#x}"))
    }
    fn send_msg(&mut self, fd: i32, ptr: u64, len: u64, flags: u32, want: &mut u64) -> i64 {
        *want = self.pieces;
        self.note(format!("sendmsg {fd} {ptr} {len} {flags:#x}"))
    }
    fn write(&mut self, fd: i32, ptr: u64, len: u64) -> i64 {
        self.note(format!("write {fd} {ptr} {len}"))
    }
    fn writev(&mut self, fd: i32, ptr: u64, len: u64, want: &mut u64) -> i64 {
        *want = self.pieces;
        self.note(format!("writev {fd} {ptr} {len}"))
    }
    fn send_file(&mut self, out: i32, file: i32, off: Option<u64>, len: u64, flags: u32) -> i64 {
        self.note(format!("sendfile {out} {file} {off:?} {len} {flags}"))
    }
    fn send_file_copy(&mut self, out: i32, file: i32, off: u64, len: u64, flags: u32) -> i64 {
        self.note(format!("copy {out} {file} {off} {len} {flags:#x}"))
    }
    fn recv(&mut self, fd: i32, ptr: u64, len: u64, flags: u32) -> i64 {
        self.note(format!("recv {fd} {ptr} {len} {flags:#x}"))
    }
    fn read(&mut self, fd: i32, ptr: u64, len: u64, off: Option<u64>) -> i64 {
        self.note(format!("read {fd} {ptr} {len} {off:?}"))
    }
    fn shutdown(&mut self, fd: i32, how: i32) -> i64 {
        self.note(format!("shutdown {fd} {how}"))
    }
    fn close(&mut self, fd: i32) -> i64 {
        self.note(format!("close {fd}"))
    }
    fn set_option(&mut self, fd: i32, level: i32, name: i32, value: u64, len: u32) -> i64 {
        self.note(format!("setsockopt {fd} {level} {name} {value} {len}"))
    }
    fn wanted(&self) -> bool {
        let n = self.looks.get();
        self.looks.set(n + 1);
        self.attention.contains(&n)
    }
    fn pause(&mut self) -> bool {
        self.pauses += 1;
        self.stop
    }
}

/// Runs all of `table`; gives how many were done.
fn all(table: &mut [Op], k: &mut Fake) -> u32 {
    // SAFETY: the table is a live slice of this many entries.
    unsafe { run(table.as_mut_ptr(), table.len() as u32, k) }
}

fn op(code: OpCode, fd: i32, len: u64) -> Op {
    Op {
        opcode: code as u32,
        fd,
        len,
        ..Op::nop()
    }
}

fn linked(mut o: Op) -> Op {
    o.flags |= F_LINK;
    o
}

fn results(table: &[Op]) -> Vec<i64> {
    table.iter().map(|o| o.result).collect()
}

#[test]
fn every_opcode_becomes_its_call() {
    let base = |code| Op {
        fd: 3,
        fd2: 4,
        ptr: 5,
        arg: 1,
        arg2: 7,
        off: 8,
        ..op(code, 3, 4)
    };
    let more = |code| Op {
        flags: F_MORE,
        ..base(code)
    };
    let from_offset = Op {
        arg: 0,
        ..base(OpCode::SendFile)
    };
    let mut table = [
        base(OpCode::Nop),
        base(OpCode::Send),
        more(OpCode::Send),
        more(OpCode::SendMsg),
        base(OpCode::Write),
        base(OpCode::Writev),
        more(OpCode::SendFile),
        from_offset,
        more(OpCode::SendFileCopy),
        base(OpCode::Recv),
        base(OpCode::Read),
        base(OpCode::Pread),
        base(OpCode::Shutdown),
        base(OpCode::Close),
        base(OpCode::SetSockOpt),
    ];
    let mut k = Fake::with(&(1..).take(14).collect::<Vec<_>>());
    assert_eq!(all(&mut table, &mut k), 15);
    assert_eq!(results(&table), (0..15).collect::<Vec<_>>());
    assert_eq!(
        k.calls,
        [
            "send 3 5 4 0x1",
            "send 3 5 4 0x8001",
            "sendmsg 3 5 4 0x8001",
            "write 3 5 4",
            "writev 3 5 4",
            "sendfile 3 4 None 4 4",
            "sendfile 3 4 Some(8) 4 0",
            "copy 3 4 8 4 0x8001",
            "recv 3 5 4 0x1",
            "read 3 5 4 None",
            "read 3 5 4 Some(8)",
            "shutdown 3 1",
            "close 3",
            "setsockopt 3 1 7 8 4",
        ]
    );
}

#[test]
fn what_is_not_known_is_refused_unmade() {
    let mut table = [
        Op {
            flags: 4,
            ..op(OpCode::Nop, 3, 0)
        },
        Op {
            flags: 1 << 31,
            ..op(OpCode::Send, 3, 1)
        },
        Op {
            flags: F_MORE,
            ..op(OpCode::Close, 3, 0)
        },
        Op {
            flags: F_MORE,
            ..op(OpCode::Nop, 3, 0)
        },
        Op {
            reserved: 1,
            ..op(OpCode::Send, 3, 1)
        },
        Op {
            opcode: esca_abi::op::OPCODES,
            ..Op::nop()
        },
        Op {
            opcode: u32::MAX,
            ..Op::nop()
        },
        Op {
            arg: 2,
            ..op(OpCode::SendFile, 3, 1)
        },
        op(OpCode::SetSockOpt, 3, 5),
        op(OpCode::SetSockOpt, 3, u64::MAX),
    ];
    let mut k = Fake::default();
    assert_eq!(all(&mut table, &mut k), 10);
    assert!(k.calls.is_empty(), "{:?}", k.calls);
    assert_eq!(
        results(&table),
        [-22, -22, -22, -22, -22, -95, -95, -22, -22, -22]
    );
}

#[test]
fn restart_codes_become_eintr() {
    for (given, seen) in [
        (-511, -511),
        (-512, -4),
        (-514, -4),
        (-516, -4),
        (-517, -517),
    ] {
        let mut table = [op(OpCode::Recv, 3, 9)];
        assert_eq!(all(&mut table, &mut Fake::with(&[given])), 1);
        assert_eq!(table[0].result, seen);
    }
}

#[test]
fn a_short_linked_operation_cancels_its_stream_only() {
    let mut table = [
        linked(op(OpCode::Send, 3, 10)),
        op(OpCode::Send, 4, 10),
        op(OpCode::Send, 3, 10),
        op(OpCode::Send, 5, 10),
        op(OpCode::Close, 3, 0),
    ];
    let mut k = Fake::with(&[9, 10, 10]);
    assert_eq!(all(&mut table, &mut k), 5);
    assert_eq!(results(&table), [9, 10, -125, 10, -125]);
    assert_eq!(k.calls.len(), 3);
}

#[test]
fn a_full_linked_operation_or_an_unlinked_short_one_cancels_nothing() {
    let mut table = [
        linked(op(OpCode::Send, 3, 10)),
        op(OpCode::Send, 3, 10),
        op(OpCode::Close, 3, 0),
    ];
    assert_eq!(all(&mut table, &mut Fake::with(&[10, 1, 0])), 3);
    assert_eq!(results(&table), [10, 1, 0]);
}

#[test]
fn failures_cancel_whatever_length_was_asked() {
    // A length beyond i64 must not make the failure look full.
    for len in [0, 1, 1 << 63, u64::MAX] {
        let mut table = [linked(op(OpCode::Send, 3, len)), op(OpCode::Send, 3, 1)];
        assert_eq!(all(&mut table, &mut Fake::with(&[-14])), 2);
        assert_eq!(results(&table), [-14, -125]);
    }
}

#[test]
fn reads_are_never_short_and_vectors_are_measured_by_the_kernel() {
    let mut table = [
        linked(op(OpCode::Recv, 3, 100)),
        linked(op(OpCode::SendMsg, 3, 2)),
        linked(op(OpCode::SendMsg, 3, 2)),
        op(OpCode::Read, 3, 100),
    ];
    let mut k = Fake {
        pieces: 8,
        ..Fake::with(&[1, 8, 7, 1])
    };
    assert_eq!(all(&mut table, &mut k), 4);
    assert_eq!(results(&table), [1, 8, 7, -125]);
}

#[test]
fn more_cancelled_streams_than_can_be_kept_end_the_run() {
    let n = esca_abi::device::MAX_CANCELLED as i32;
    let mut table: Vec<_> = (0..n + 10)
        .map(|fd| linked(op(OpCode::Send, fd, 1)))
        .collect();
    let mut k = Fake::with(&vec![-11; table.len()]);
    let done = all(&mut table, &mut k);
    // The one that did not fit was made; nothing after it.
    assert_eq!(done, n as u32 + 1);
    assert!(table[..done as usize].iter().all(|o| o.result == -11));
    assert!(table[done as usize..].iter().all(|o| o.result == NOT_DONE));
}

#[test]
fn a_signal_stops_between_operations_and_marks_the_rest() {
    let mut table = [op(OpCode::Send, 3, 1); 5];
    let mut k = Fake {
        attention: vec![1],
        stop: true,
        ..Fake::with(&[1, 1, 1, 1, 1])
    };
    assert_eq!(all(&mut table, &mut k), 2);
    assert_eq!(results(&table), [1, 1, NOT_DONE, NOT_DONE, NOT_DONE]);
    assert_eq!(k.calls.len(), 2);
}

#[test]
fn being_scheduled_away_stops_nothing() {
    let mut table = [op(OpCode::Send, 3, 1); 5];
    let mut k = Fake {
        attention: vec![0, 3],
        ..Fake::with(&[1, 1, 1, 1, 1])
    };
    assert_eq!(all(&mut table, &mut k), 5);
    assert_eq!(k.pauses, 2);
}

#[test]
fn entries_beyond_n_are_not_touched() {
    let mut table = [op(OpCode::Nop, 3, 1); 3];
    table[2].result = 77;
    let mut k = Fake::default();
    // SAFETY: two of three live entries.
    assert_eq!(unsafe { run(table.as_mut_ptr(), 2, &mut k) }, 2);
    // SAFETY: none.
    assert_eq!(unsafe { run(table.as_mut_ptr(), 0, &mut k) }, 0);
    assert_eq!(table[2].result, 77);
}

/// What a table means, said the slow way.
fn model(table: &[Op], answers: &[i64]) -> Vec<i64> {
    let mut answers = answers.iter();
    let mut dead = Vec::new();
    let made = |o: &Op| o.opcode != 0 && o.opcode < 13;
    table
        .iter()
        .map(|o| {
            let more_ok = matches!(o.opcode, 1 | 2 | 5 | 6);
            let bad_args = o.opcode == 5 && o.arg > 1 || o.opcode == 12 && ![4, 8].contains(&o.len);
            if o.reserved != 0 || o.flags & !3 != 0 || o.flags & 2 != 0 && !more_ok {
                return -22;
            }
            if dead.contains(&o.fd) {
                return -125;
            }
            let r = match o.opcode {
                _ if bad_args => -22,
                0 => 0,
                _ if made(o) => *answers.next().unwrap(),
                _ => -95,
            };
            let want = match o.opcode {
                1 | 3 | 5 | 6 if !bad_args => o.len as i64,
                2 | 4 => 6,
                _ => 0,
            };
            if o.flags & 1 != 0 && r < want {
                dead.push(o.fd);
            }
            r
        })
        .collect()
}

fn any_op() -> impl Strategy<Value = Op> {
    (0..14u32, 0..5u32, -1..4i32, 0..9u64, 0..3u32, 0..20u64).prop_map(
        |(opcode, flags, fd, len, arg, reserved)| Op {
            opcode,
            flags,
            fd,
            len,
            arg,
            reserved: u64::from(reserved == 0),
            ..Op::nop()
        },
    )
}

proptest! {
    #[test]
    fn any_table_gives_what_the_model_says(
        mut table in prop::collection::vec(any_op(), 0..40),
        answers in prop::collection::vec(-20..9i64, 40),
    ) {
        let expected = model(&table, &answers);
        let mut k = Fake { pieces: 6, ..Fake::with(&answers) };
        prop_assert_eq!(all(&mut table, &mut k) as usize, table.len());
        prop_assert_eq!(results(&table), expected);
    }
}
