//! Connections that the program makes or takes: when a socket is a stream, and
//! whether both ends may be here.

use crate::engine::Engine;
use crate::numbers::borrow;
use crate::segment::Segment;
use crate::slot::{Slot, bits};
use rustix::net::{SocketAddr, getpeername, getsockname};

impl Engine {
    /// Before `connect(fd)`: it may wait, and a stream may be dissolved by it
    /// (`AF_UNSPEC`, connect(2)).
    pub fn before_connect(&self, seg: &Segment, fd: i32) {
        self.effect(seg);
        if let Some(slot) = self.slots.get(fd) {
            self.settle(slot, fd, seg.stats, esca_abi::stats::Counter::FlushCall);
        }
    }

    /// After a connect that the kernel accepted, to `port`.
    pub fn connecting(&self, fd: i32, port: Option<u16>) {
        if let Some(slot) = self.slots.get(fd) {
            slot.credit.forget();
            if slot.state() & bits::KIND == bits::STREAM {
                // Until it is seen connected again.
                slot.set_kind(bits::TCP);
            }
        }
        if let Some(port) = port {
            self.ports.connects_to(port);
        }
    }

    /// The first connection was taken from `listener`.
    #[cold]
    pub(crate) fn note_port(&self, slot: &Slot, listener: i32) {
        slot.set(bits::PORT_KNOWN);
        let port = getsockname(borrow(listener))
            .ok()
            .and_then(|a| SocketAddr::try_from(a).ok())
            .map(|a| a.port());
        if let Some(port) = port {
            self.ports.accepts_on(port);
        }
    }
}

/// Whether a socket that took bytes is connected: with `TCP_FASTOPEN_CONNECT`
/// or `MSG_FASTOPEN` it takes some before.
#[cold]
pub(crate) fn is_connected(fd: i32) -> bool {
    getpeername(borrow(fd)).is_ok_and(|a| a.is_some())
}
