//! What was counted, as plain numbers: sums, differences, and the figures in
//! the user's terms that follow from them.

use esca_abi::stats::{ALL, Counter, SLOTS, Slot, Table};
use serde::Serialize;
use std::mem::offset_of;

/// The totals of one or more tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    values: Vec<u64>,
}

impl Counts {
    /// Sums the slots of a table's bytes, as read from memory or a file.
    pub fn decode(bytes: &[u8]) -> Self {
        let slots = bytes.get(offset_of!(Table, slots)..).unwrap_or_default();
        let mut all = Counts::zero();
        for slot in slots.chunks_exact(size_of::<Slot>()).take(SLOTS) {
            for c in ALL {
                let at = *c as usize * size_of::<u64>();
                let n = slot[at..at + size_of::<u64>()].try_into();
                all.put(*c, n.map_or(0, u64::from_ne_bytes));
            }
        }
        all
    }

    fn zero() -> Self {
        Counts {
            values: vec![0; ALL.len()],
        }
    }

    fn put(&mut self, c: Counter, n: u64) {
        let v = &mut self.values[c as usize];
        *v = match c {
            Counter::PeakBytes => (*v).max(n),
            // One counter runs backwards at times, so the sum wraps.
            _ => v.wrapping_add(n),
        };
    }

    /// One total.
    pub fn get(&self, c: Counter) -> u64 {
        self.values.get(c as usize).copied().unwrap_or(0)
    }

    /// Adds another's totals.
    pub fn add(&mut self, other: &Counts) {
        if self.values.is_empty() {
            *self = Counts::zero();
        }
        for c in ALL {
            self.put(*c, other.get(*c));
        }
    }

    /// What came since `before`; a maximum stays as it is.
    pub fn since(&self, before: &Counts) -> Counts {
        let mut d = Counts::zero();
        for c in ALL {
            let n = match c {
                Counter::PeakBytes => self.get(*c),
                _ => self.get(*c).wrapping_sub(before.get(*c)),
            };
            d.put(*c, n);
        }
        d
    }

    /// In the user's terms.
    pub fn figures(&self) -> Figures {
        let n = |c| self.get(c) as i64 as f64;
        let requests = n(Counter::Answered);
        let per = |x: f64| (requests > 0.0).then(|| x.max(0.0) / requests);
        let sends = n(Counter::Deferred) + n(Counter::Direct);
        let joined = n(Counter::Merged) + n(Counter::RuleFileHead);
        Figures {
            requests: requests as u64,
            calls: per(n(Counter::Made)),
            saved: per(n(Counter::Saved)),
            sends: per(sends),
            joined: per(joined),
            elided: per(n(Counter::Elided)),
        }
    }
}

/// Figures per request; none without a request. Under a real policy `calls`
/// are those made after what was `saved`, under watch those before.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Figures {
    /// Requests answered.
    pub requests: u64,
    /// Kernel entries made of the calls that the library sees.
    pub calls: Option<f64>,
    /// Kernel entries saved.
    pub saved: Option<f64>,
    /// Sends that the program made on its streams: segments at least.
    pub sends: Option<f64>,
    /// Of those, how many leave in a segment with an earlier one.
    pub joined: Option<f64>,
    /// Calls whose answer was known.
    pub elided: Option<f64>,
}

impl Figures {
    /// Calls per request of the plain program, and with ESCA.
    pub fn calls(&self, watching: bool) -> Option<(f64, f64)> {
        let (made, saved) = (self.calls?, self.saved?);
        Some(if watching {
            (made, (made - saved).max(0.0))
        } else {
            (made + saved, made)
        })
    }

    /// Segments per request of the plain program, and with ESCA.
    pub fn segments(&self) -> Option<(f64, f64)> {
        let (sends, joined) = (self.sends?, self.joined?);
        Some((sends, (sends - joined).max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a table, as a reader gets them.
    fn bytes(t: &Table) -> Vec<u8> {
        let mut all = vec![0; size_of::<Table>()];
        for (i, slot) in t.slots.iter().enumerate() {
            for c in ALL {
                let at = offset_of!(Table, slots) + i * size_of::<Slot>() + *c as usize * 8;
                all[at..at + 8].copy_from_slice(&slot.get(*c).to_ne_bytes());
            }
        }
        all
    }

    #[test]
    fn totals_are_those_of_the_table() {
        let t = Box::new(Table::new());
        t.slots[0].add(Counter::CallRead, 3);
        t.slots[7].add(Counter::CallRead, 4);
        t.slots[0].max(Counter::PeakBytes, 10);
        t.slots[1].max(Counter::PeakBytes, 6);
        t.slots[2].add(Counter::Saved, 2);
        t.slots[3].add(Counter::Saved, 1_u64.wrapping_neg());
        let counts = Counts::decode(&bytes(&t));
        for c in ALL {
            assert_eq!(counts.get(*c), t.total(*c), "{c:?}");
        }
        assert_eq!(counts.get(Counter::Saved), 1);
    }

    #[test]
    fn figures_of_nginx() {
        let t = Table::new();
        for (c, n) in [
            (Counter::Answered, 100),
            (Counter::Made, 500),
            (Counter::Saved, 100),
            (Counter::Deferred, 200),
            (Counter::Merged, 100),
        ] {
            t.slots[0].add(c, n);
        }
        let f = Counts::decode(&bytes(&t)).figures();
        assert_eq!(f.segments(), Some((2.0, 1.0)));
        assert_eq!(f.calls(false), Some((6.0, 5.0)));
        assert_eq!(f.calls(true), Some((5.0, 4.0)));
    }

    #[test]
    fn no_request_no_figures() {
        let f = Counts::default().figures();
        assert_eq!((f.requests, f.calls, f.segments()), (0, None, None));
    }
}
