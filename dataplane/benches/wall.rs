//! Wall time of the measured pieces. The machine should be otherwise idle: `make bench-micro` counts instructions, which
//! need no such care.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gatehouse_dataplane::measured::{self, Whole};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn all(criterion: &mut Criterion) {
    for case in measured::cases() {
        let mut work = None;
        criterion.bench_function(case.name, |bencher| {
            // Only what the command line selects is prepared.
            bencher.iter(work.get_or_insert_with(case.prepare));
        });
    }
    for (name, one_host) in [("start/100k-hosts", false), ("start/100k-paths", true)] {
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(
                || Whole::new(100_000, one_host),
                Whole::into_force,
                BatchSize::PerIteration,
            );
        });
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
