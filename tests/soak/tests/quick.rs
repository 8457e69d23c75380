//! The short form of the soak.

use std::process::Command;

#[test]
fn no_request_is_lost_to_a_change() {
    let status = Command::new(env!("CARGO_BIN_EXE_gatehouse-soak")).arg("--quick").status().unwrap();
    assert!(status.success(), "{status}");
}
