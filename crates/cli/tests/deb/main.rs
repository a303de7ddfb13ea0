//! The Debian packages in a clean system: installed, used, removed; and
//! services under a systemd of their own. `make test-deb` runs it: as root,
//! with what `make deb` wrote. The clean system is made once (debootstrap) and
//! copied for each test.

mod dkms;
mod install;
mod root;
mod units;
