//! A backend that fails on command.
#![allow(dead_code)]

use super::{World, world_on};
use esca_abi::op::NOT_DONE;
use esca_engine::Engine;
use esca_engine::backend::{Backend, Direct, Op, OpCode};
use esca_engine::settings::{Policy, RuleSet};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What is to come of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// As the kernel has it.
    None,
    /// Only so many bytes are taken.
    Short(usize),
    /// Nothing is taken, and this errno is the answer.
    Errno(i32),
    /// The table's end was not reached.
    NotDone,
}

/// The next operations' faults, and that of all after them.
#[derive(Clone, Default)]
pub struct Plan(Arc<Mutex<(VecDeque<Fault>, Option<i32>)>>);

impl Plan {
    /// The next operations end like this.
    pub fn next(&self, faults: &[Fault]) {
        self.0.lock().unwrap().0.extend(faults);
    }

    /// From the end of what was planned, every operation ends with `errno`.
    pub fn stop(&self, errno: Option<i32>) {
        self.0.lock().unwrap().1 = errno;
    }

    /// Whether all that was planned has happened.
    pub fn is_over(&self) -> bool {
        self.0.lock().unwrap().0.is_empty()
    }

    fn take(&self) -> Fault {
        let mut plan = self.0.lock().unwrap();
        let ever = plan.1.map_or(Fault::None, Fault::Errno);
        plan.0.pop_front().unwrap_or(ever)
    }
}

impl Backend for Plan {
    unsafe fn run(&self, ops: &mut [Op]) -> u32 {
        for op in ops.iter_mut() {
            let n = match self.take() {
                Fault::None => usize::MAX,
                Fault::Short(n) => n,
                Fault::NotDone => {
                    op.result = NOT_DONE;
                    continue;
                }
                Fault::Errno(e) => {
                    op.result = -i64::from(e);
                    continue;
                }
            };
            // SAFETY: the caller's promise.
            op.result = unsafe { first(op, n) };
        }
        ops.len() as u32
    }
}

/// Sends the first `n` bytes of an operation.
///
/// # Safety
/// As for [`Backend::run`].
unsafe fn first(op: &Op, n: usize) -> i64 {
    if n == 0 {
        return 0;
    }
    let mut part = *op;
    let mut pieces = Vec::new();
    if op.opcode == OpCode::Send as u32 {
        part.len = part.len.min(n as u64);
    } else {
        let mut left = n;
        // SAFETY: len iovecs at ptr (caller).
        let all =
            unsafe { std::slice::from_raw_parts(op.ptr as *const libc::iovec, op.len as usize) };
        for piece in all {
            let iov_len = piece.iov_len.min(left);
            left -= iov_len;
            pieces.push(libc::iovec { iov_len, ..*piece });
        }
        part.ptr = pieces.as_ptr() as u64;
    }
    // SAFETY: a part of what the caller promised; the iovecs live here.
    unsafe { Direct.run(std::slice::from_mut(&mut part)) };
    part.result
}

/// A world with a plan for its flushes and one for its drains; `change` alters
/// its engine.
pub fn planned(policy: Policy, change: fn(Engine) -> Engine) -> (World, Plan, Plan) {
    let (flush, drain) = (Plan::default(), Plan::default());
    let (f, d) = (Box::new(flush.clone()), Box::new(drain.clone()));
    let world = world_on(policy, RuleSet::all(), |e| {
        change(e).without_credit().with_backends(f, d)
    });
    (world, flush, drain)
}
