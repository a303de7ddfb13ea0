//! The contract for arguments that no program means: every call answers as
//! without ESCA, whatever it points to, in every policy.

use esca_abi::stats::Counter;
use esca_suite::scenario::Scenario;

fn scenario(name: &'static str) -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_arguments"), name).needs(Counter::Deferred)
}

#[test]
fn bad_arguments_are_the_kernels() {
    scenario("arguments").run_in_every_policy(|_| ());
}

#[test]
fn a_vector_may_change_meanwhile() {
    scenario("vector-that-changes").run_in_every_policy(|_| ());
}
