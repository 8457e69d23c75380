//! The consumers that a Gateway has, each compiled by itself: a change of one compiles no other.

use std::{collections::BTreeMap, sync::Arc};

use gatehouse_proto::config::v1;

use super::{Consumer, Consumers};

const PREFIX: &str = "consumer/";

#[derive(Debug, Default)]
pub(crate) struct Register {
    /// By name, in whose order those who have the same credential keep it.
    consumers: BTreeMap<Arc<str>, Arc<Consumer>>,
    /// By resource name: what of them can't be used, in sentences. The rest of such a consumer is in force.
    problems: BTreeMap<String, Vec<String>>,
}

impl Register {
    /// `resource`: `consumer/NAMESPACE/NAME`.
    pub(crate) fn put(&mut self, resource: &str, wire: &v1::Consumer) {
        self.remove(resource);
        let id = resource.strip_prefix(PREFIX).filter(|id| id.contains('/'));
        let problems = match id.map(|id| Consumer::compile(id, wire)) {
            None => vec!["its resource is not named consumer/NAMESPACE/NAME".to_owned()],
            Some(Err(problem)) => vec![problem],
            Some(Ok((consumer, problems))) => {
                self.consumers.insert(Arc::clone(&consumer.id), Arc::new(consumer));
                problems
            }
        };
        if !problems.is_empty() {
            self.problems.insert(resource.to_owned(), problems);
        }
    }

    /// `true` if it was there.
    pub(crate) fn remove(&mut self, resource: &str) -> bool {
        let known = resource.strip_prefix(PREFIX).and_then(|id| self.consumers.remove(id)).is_some();
        self.problems.remove(resource).is_some() || known
    }

    /// Gives also the names of those of which something can't be used, and a sentence each.
    pub(crate) fn index(&self) -> (Consumers, Vec<(String, String)>) {
        let mut index = Consumers::default();
        let mut problems = self.problems.clone();
        for consumer in self.consumers.values() {
            let found = index.add(consumer);
            if !found.is_empty() {
                problems.entry(format!("{PREFIX}{}", consumer.id)).or_default().extend(found);
            }
        }
        (index, problems.into_iter().map(|(name, problems)| (name, problems.join("; "))).collect())
    }
}
