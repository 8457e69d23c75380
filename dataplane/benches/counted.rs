//! For callgrind: runs each case named on the command line, prepared and warmed, within calls of `measured_turns`, whose
//! instructions `tests/bench/micro` reads. Without a name it lists the cases. For each it prints how many turns the
//! second call had more than the first, so that what a call costs by itself cancels out.
//!
//! It has the system's allocator: what jemalloc does now and then depends on the time.

use std::io::{self, Write};

use gatehouse_dataplane::measured::{self, Work};

/// Enough to reach what is done only the first times.
const WARM: usize = 8;
const FEW: usize = 10;
const MANY: usize = 510;

fn main() -> io::Result<()> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mut out = io::stdout();
    for case in measured::cases() {
        if wanted.is_empty() {
            writeln!(out, "{}", case.name)?;
        } else if wanted.iter().any(|name| name == case.name) {
            let mut work = (case.prepare)();
            (0..WARM).for_each(|_| work());
            measured_turns(&mut work, FEW);
            measured_turns(&mut work, MANY);
            writeln!(out, "{} {}", case.name, MANY - FEW)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn measured_turns(work: &mut Work, turns: usize) {
    for _ in 0..turns {
        work();
    }
}
