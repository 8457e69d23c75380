//! What tables of routes take in memory: bytes that the allocator has given out, before and after.

use gatehouse_dataplane::measured::Whole;
use tikv_jemalloc_ctl::{Error, epoch, stats};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<(), Error> {
    for (of, one_host) in [("of a host of its own", false), ("of one host", true)] {
        for routes in [1_000, 5_000, 100_000] {
            let before = allocated()?;
            let held = Whole::new(routes, one_host).into_force();
            let taken = allocated()? - before;
            drop(held);
            println!("{routes} routes, each {of}: {} kB, {} bytes a route", taken / 1024, taken / routes);
        }
    }
    Ok(())
}

fn allocated() -> Result<usize, Error> {
    epoch::advance()?;
    stats::allocated::read()
}
