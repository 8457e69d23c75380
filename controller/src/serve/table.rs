//! Resources by name, as an immutable value that shares what did not change with the one that it was made from: an edit
//! copies one bucket, and two tables are compared by the buckets in which they differ.

use std::{
    cmp::Ordering,
    sync::{Arc, LazyLock},
};

use aws_lc_rs::digest::{Context, SHA256};

use super::published::Versioned;

/// A part of a table. Of these 256, one has some 1,200 resources when there are 300,000.
const BUCKETS: usize = 256;

#[derive(Debug, Clone)]
pub(super) struct Table {
    /// As many as [`BUCKETS`].
    buckets: Arc<[Arc<Bucket>]>,
}

#[derive(Debug)]
struct Bucket {
    /// In the order of their names.
    resources: Vec<Arc<Versioned>>,
    /// SHA-256 over names and versions.
    digest: [u8; 32],
}

/// A resource that is not the same in two tables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Difference<'a> {
    pub(super) before: Option<&'a Arc<Versioned>>,
    pub(super) after: Option<&'a Arc<Versioned>>,
}

static EMPTY: LazyLock<Arc<Bucket>> = LazyLock::new(|| Arc::new(Bucket::new(Vec::new())));

impl Default for Table {
    fn default() -> Self {
        Table { buckets: vec![Arc::clone(&EMPTY); BUCKETS].into() }
    }
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Versioned>> {
        self.buckets.get(place(name))?.get(name)
    }

    /// In an order that depends on the names alone, and is not theirs.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Versioned>> {
        self.buckets.iter().flat_map(|bucket| &bucket.resources)
    }

    /// With these resources (`None`: without), each named once.
    pub(super) fn with(&self, changes: Vec<(Arc<str>, Option<Arc<Versioned>>)>) -> Self {
        let mut by_bucket: Vec<Vec<_>> = Vec::new();
        by_bucket.resize_with(BUCKETS, Vec::new);
        for (name, after) in changes {
            by_bucket[place(&name)].push((name, after));
        }
        let buckets = self.buckets.iter().zip(by_bucket).map(|(bucket, changes)| {
            if changes.is_empty() { Arc::clone(bucket) } else { Arc::new(bucket.with(changes)) }
        });
        Table { buckets: buckets.collect() }
    }

    /// What is not the same in a table that came before.
    pub(super) fn differences<'a>(&'a self, before: &'a Table) -> impl Iterator<Item = Difference<'a>> {
        let pairs = self.buckets.iter().zip(&*before.buckets);
        pairs.filter(|(after, before)| !Arc::ptr_eq(after, before)).flat_map(|(after, before)| {
            Merge { before: &before.resources, after: &after.resources }.filter(Difference::is_one)
        })
    }

    /// SHA-256 over the buckets': the same for tables with the same names and versions.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        self.buckets.iter().for_each(|bucket| context.update(&bucket.digest));
        finish(context)
    }
}

impl Bucket {
    fn new(resources: Vec<Arc<Versioned>>) -> Self {
        let mut context = Context::new(&SHA256);
        for resource in &resources {
            // Versions have one length, so that no two lists of pairs read the same.
            context.update(&resource.version.to_wire());
            context.update(&resource.name.len().to_be_bytes());
            context.update(resource.name.as_bytes());
        }
        Bucket { resources, digest: finish(context) }
    }

    fn get(&self, name: &str) -> Option<&Arc<Versioned>> {
        let found = self.resources.binary_search_by(|resource| (*resource.name).cmp(name));
        found.ok().and_then(|index| self.resources.get(index))
    }

    fn with(&self, mut changes: Vec<(Arc<str>, Option<Arc<Versioned>>)>) -> Self {
        changes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut resources = Vec::with_capacity(self.resources.len() + changes.len());
        let mut old = self.resources.iter().peekable();
        for (name, after) in changes {
            while let Some(before) = old.next_if(|before| before.name < name) {
                resources.push(Arc::clone(before));
            }
            old.next_if(|before| before.name == name);
            resources.extend(after);
        }
        resources.extend(old.cloned());
        Bucket::new(resources)
    }
}

impl Difference<'_> {
    fn is_one(&self) -> bool {
        match (self.before, self.after) {
            (Some(before), Some(after)) => !Arc::ptr_eq(before, after) && before.version != after.version,
            _ => true,
        }
    }
}

/// Walks two sorted lists side by side.
struct Merge<'a> {
    before: &'a [Arc<Versioned>],
    after: &'a [Arc<Versioned>],
}

impl<'a> Iterator for Merge<'a> {
    type Item = Difference<'a>;

    fn next(&mut self) -> Option<Difference<'a>> {
        let order = match (self.before.first(), self.after.first()) {
            (None, None) => return None,
            (Some(before), Some(after)) => before.name.cmp(&after.name),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
        };
        let before = if order.is_le() { self.before.split_off_first() } else { None };
        let after = if order.is_ge() { self.after.split_off_first() } else { None };
        Some(Difference { before, after })
    }
}

/// FNV-1a. Who clumps names into one bucket slows down the changes of its own Gateway.
fn place(name: &str) -> usize {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The upper bits are mixed best.
    usize::from((hash >> 32) as u8 ^ (hash >> 56) as u8)
}

fn finish(context: Context) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
