//! The short form of the proofs.

use std::process::Command;

#[test]
fn no_limit_is_passed() {
    let status = Command::new(env!("CARGO_BIN_EXE_gatehouse-limits")).arg("--quick").status().unwrap();
    assert!(status.success(), "{status}");
}
