//! One record a decision, written at once: what a process admitted is known even when it is killed.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

const SIZE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Admitted,
    Refused,
    /// Redis could not be asked.
    Unavailable,
    /// It admitted what no lease stands for, or by a time at which it was not asked. Never happens.
    Unfounded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of an admission, the time as of which the lease was spent; else when the request came. Shared clock, microseconds.
    pub(crate) at: u64,
    pub(crate) key: u32,
    pub(crate) outcome: Outcome,
}

pub(crate) struct Log(File);

impl Log {
    /// Adds to what is there.
    pub(crate) fn open(path: &Path) -> io::Result<Log> {
        Ok(Log(File::options().append(true).create(true).open(path)?))
    }

    /// Without a buffer: the kernel has it before anything else happens.
    pub(crate) fn write(&mut self, record: Record) -> io::Result<()> {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&record.at.to_le_bytes());
        bytes[8..12].copy_from_slice(&record.key.to_le_bytes());
        bytes[12] = match record.outcome {
            Outcome::Admitted => 0,
            Outcome::Refused => 1,
            Outcome::Unavailable => 2,
            Outcome::Unfounded => 3,
        };
        self.0.write_all(&bytes)
    }
}

/// All that was written; what was cut off at the end by a kill was not.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Record>> {
    let bytes = std::fs::read(path)?;
    let record = |bytes: &[u8]| Record {
        at: u64::from_le_bytes(bytes[..8].try_into().unwrap()),
        key: u32::from_le_bytes(bytes[8..12].try_into().unwrap()),
        outcome: match bytes[12] {
            0 => Outcome::Admitted,
            1 => Outcome::Refused,
            2 => Outcome::Unavailable,
            _ => Outcome::Unfounded,
        },
    };
    Ok(bytes.chunks_exact(SIZE).map(record).collect())
}
