//! Host names and maps keyed by them.

use std::{hash::BuildHasher, sync::Arc};

use super::trie::Trie;
use crate::seeds::Seeds;

/// A host name as listeners and routes give it, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Hostname {
    Any,
    Exact(Arc<str>),
    /// `*.example.com`, held as `example.com`: one or more labels stand before it.
    Wildcard(Arc<str>),
    /// The same with exactly one label before it (IngressRule.host).
    OneLabel(Arc<str>),
}

impl Hostname {
    /// The empty text means any host.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(suffix) => Hostname::Wildcard(suffix.into()),
            None if text.is_empty() || text == "*" => Hostname::Any,
            None => Hostname::Exact(text.into()),
        }
    }

    /// With a wildcard that stands for exactly one label.
    pub(crate) fn one_label(self) -> Self {
        match self {
            Hostname::Wildcard(suffix) => Hostname::OneLabel(suffix),
            other => other,
        }
    }

    /// Its kind and text; `None` for any.
    fn named(&self) -> Option<(Kind, &Arc<str>)> {
        match self {
            Hostname::Any => None,
            Hostname::Exact(name) => Some((Kind::Exact, name)),
            Hostname::Wildcard(suffix) => Some((Kind::Wildcard, suffix)),
            Hostname::OneLabel(suffix) => Some((Kind::OneLabel, suffix)),
        }
    }
}

/// Values under host names, found from the most specific name on. A copy shares what does not change.
#[derive(Debug, Clone)]
pub(crate) struct HostMap<V> {
    seeds: Seeds,
    /// All kinds of names; the kind is part of the hash.
    named: Trie<Named<V>>,
    /// How many names there are of each kind.
    kinds: [u32; 3],
    any: Option<V>,
}

#[derive(Debug, Clone)]
struct Named<V> {
    name: Arc<str>,
    value: V,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exact,
    /// The name is what follows `*.`.
    Wildcard,
    OneLabel,
}

impl<V> HostMap<V> {
    /// Every value whose name covers `host`: exact, then for one label, then wildcards from the longest, then any.
    pub(crate) fn candidates<'a, 'h>(
        &'a self,
        host: &'h str,
    ) -> impl Iterator<Item = &'a V> + use<'a, 'h, V> {
        let exact = self.find(Kind::Exact, host);
        let one_label = self
            .has(Kind::OneLabel)
            .then(|| host.split_once('.'))
            .flatten()
            .and_then(|(_, suffix)| self.find(Kind::OneLabel, suffix));
        let wildcards = self
            .has(Kind::Wildcard)
            .then(|| host.match_indices('.').map(move |(dot, _)| &host[dot + 1..]))
            .into_iter()
            .flatten()
            .filter_map(|suffix| self.find(Kind::Wildcard, suffix));
        exact.into_iter().chain(one_label).chain(wildcards).chain(self.any.as_ref())
    }

    /// The value of the most specific name that covers `host`.
    pub(crate) fn best(&self, host: &str) -> Option<&V> {
        self.candidates(host).next()
    }

    pub(crate) fn any(&self) -> Option<&V> {
        self.any.as_ref()
    }

    /// The value under this very name.
    pub(crate) fn get(&self, hostname: &Hostname) -> Option<&V> {
        match hostname.named() {
            None => self.any.as_ref(),
            Some((kind, name)) => self.find(kind, name),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.any.is_none()
    }

    /// The same name, with the text that is held here.
    pub(super) fn shared(&self, hostname: &Hostname) -> Option<Hostname> {
        let (kind, name) = hostname.named()?;
        let name = Arc::clone(&self.entry(kind, name)?.name);
        Some(match kind {
            Kind::Exact => Hostname::Exact(name),
            Kind::Wildcard => Hostname::Wildcard(name),
            Kind::OneLabel => Hostname::OneLabel(name),
        })
    }

    /// For values that live in this map.
    pub(super) fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds[kind as usize] > 0
    }

    fn find(&self, kind: Kind, name: &str) -> Option<&V> {
        self.entry(kind, name).map(|named| &named.value)
    }

    fn entry(&self, kind: Kind, name: &str) -> Option<&Named<V>> {
        if !self.has(kind) {
            return None;
        }
        self.named.get(self.hash(kind, name), |named| *named.name == *name)
    }

    fn hash(&self, kind: Kind, name: &str) -> u64 {
        // The kind stands where hashes are only compared.
        (self.seeds.hash_one(name.as_bytes()) >> 2) | ((kind as u64) << 62)
    }
}

impl<V: Clone> HostMap<V> {
    pub(crate) fn insert(&mut self, hostname: &Hostname, value: V) {
        let Some((kind, name)) = hostname.named() else {
            self.any = Some(value);
            return;
        };
        let hash = self.hash(kind, name);
        if self.find(kind, name).is_none() {
            self.kinds[kind as usize] += 1;
            self.named.insert(hash, Named { name: Arc::clone(name), value });
        } else if let Some(named) = self.named.get_mut(hash, |named| named.name == *name) {
            named.value = value;
        }
    }

    /// What is there is no longer shared with other copies.
    pub(crate) fn get_mut(&mut self, hostname: &Hostname) -> Option<&mut V> {
        let Some((kind, name)) = hostname.named() else { return self.any.as_mut() };
        self.find(kind, name)?;
        let hash = self.hash(kind, name);
        self.named.get_mut(hash, |named| named.name == *name).map(|named| &mut named.value)
    }

    pub(crate) fn remove(&mut self, hostname: &Hostname) {
        let Some((kind, name)) = hostname.named() else {
            self.any = None;
            return;
        };
        if self.find(kind, name).is_some() {
            self.kinds[kind as usize] -= 1;
            self.named.remove(self.hash(kind, name), |named| named.name == *name);
        }
    }
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        HostMap { seeds: Seeds::default(), named: Trie::default(), kinds: [0; 3], any: None }
    }
}
