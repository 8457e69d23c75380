//! Host names and maps keyed by them.

use hashbrown::HashMap;

/// A host name as listeners and routes give it, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Hostname {
    Any,
    Exact(Box<str>),
    /// `*.example.com`, held as `example.com`: one or more labels stand before it.
    Wildcard(Box<str>),
    /// The same with exactly one label before it (IngressRule.host).
    OneLabel(Box<str>),
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
}

/// Values under host names, found from the most specific name on.
#[derive(Debug)]
pub(crate) struct HostMap<V> {
    exact: HashMap<Box<str>, V, ahash::RandomState>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, V, ahash::RandomState>,
    /// The same, for one label alone.
    one_label: HashMap<Box<str>, V, ahash::RandomState>,
    any: Option<V>,
}

impl<V> HostMap<V> {
    /// Every value whose name covers `host`: exact, then for one label, then wildcards from the longest, then any.
    pub(crate) fn candidates<'a, 'h>(
        &'a self,
        host: &'h str,
    ) -> impl Iterator<Item = &'a V> + use<'a, 'h, V> {
        let exact = self.exact.get(host);
        let one_label = (!self.one_label.is_empty())
            .then(|| host.split_once('.'))
            .flatten()
            .and_then(|(_, suffix)| self.one_label.get(suffix));
        let wildcards = (!self.wildcard.is_empty())
            .then(|| host.match_indices('.').map(move |(dot, _)| &host[dot + 1..]))
            .into_iter()
            .flatten()
            .filter_map(|suffix| self.wildcard.get(suffix));
        exact.into_iter().chain(one_label).chain(wildcards).chain(self.any.as_ref())
    }

    /// The value of the most specific name that covers `host`.
    pub(crate) fn best(&self, host: &str) -> Option<&V> {
        self.candidates(host).next()
    }

    pub(crate) fn any(&self) -> Option<&V> {
        self.any.as_ref()
    }

    pub(crate) fn insert(&mut self, hostname: &Hostname, value: V) {
        match hostname {
            Hostname::Any => self.any = Some(value),
            Hostname::Exact(name) => {
                self.exact.insert(name.clone(), value);
            }
            Hostname::Wildcard(suffix) => {
                self.wildcard.insert(suffix.clone(), value);
            }
            Hostname::OneLabel(suffix) => {
                self.one_label.insert(suffix.clone(), value);
            }
        }
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let wildcards = self.wildcard.values_mut().chain(self.one_label.values_mut());
        self.exact.values_mut().chain(wildcards).chain(self.any.as_mut())
    }
}

impl<V: Default> HostMap<V> {
    pub(crate) fn entry(&mut self, hostname: &Hostname) -> &mut V {
        match hostname {
            Hostname::Any => self.any.get_or_insert_default(),
            Hostname::Exact(name) => self.exact.entry(name.clone()).or_default(),
            Hostname::Wildcard(suffix) => self.wildcard.entry(suffix.clone()).or_default(),
            Hostname::OneLabel(suffix) => self.one_label.entry(suffix.clone()).or_default(),
        }
    }
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        HostMap {
            exact: HashMap::default(),
            wildcard: HashMap::default(),
            one_label: HashMap::default(),
            any: None,
        }
    }
}
