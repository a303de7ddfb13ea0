//! The light programs that no other test runs. `make matrix` runs all.

use esca_matrix::programs::ALL;
use esca_matrix::trial;

#[test]
fn small() {
    let mut ran = 0;
    for program in ALL.iter().filter(|p| p.small()) {
        let outcomes = trial::run(*program).unwrap_or_else(|e| panic!("{}: {e}", program.name()));
        for (policy, outcome) in outcomes {
            outcome.unwrap_or_else(|e| panic!("{}, {policy}: {e}", program.name()));
        }
        ran += 1;
    }
    assert!(ran > 0, "no program is small");
}
