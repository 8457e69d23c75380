//! `make bench`: one worker of each gateway on one core, in turns, under the same load.

fn main() {}
