//! The routes in force, and the tables of the listeners that they are served on.
//!
//! A change of one route takes it out of the tables and puts the new one in, which costs the same however many others
//! there are. A change of what routes refer to (services, policies) does so with each route that names it; an index says
//! which those are. Copies of a table share what stays.

use std::{collections::BTreeSet, hash::BuildHasher, sync::Arc};

use gatehouse_proto::config::v1;
use hashbrown::{HashMap, HashTable};

use super::route::{Common, Known, Part};
use crate::{
    observe::metrics::Metrics,
    route::{Hostname, Table, usual_name},
    seeds::Seeds,
    snapshot::Rule,
};

/// Place of a route; another may have it afterwards.
type Id = u32;

#[derive(Debug, Default)]
pub(super) struct Routes {
    parts: Vec<Option<Box<Part>>>,
    free: Vec<Id>,
    /// By the hash of their names.
    by_name: HashTable<Id>,
    seeds: Seeds,
    /// By the name of a service or policy: the routes that name it, in order.
    naming: HashMap<Arc<str>, Vec<Id>, Seeds>,
    /// By the name of a listener, which need not be there.
    tables: HashMap<Arc<str>, Table<Rule>, Seeds>,
    /// Not in the tables yet, or there with what has changed.
    unsettled: Vec<Id>,
    /// Listeners whose tables have changed.
    touched: BTreeSet<Arc<str>>,
}

impl Routes {
    /// Fails if any part of the route can't be used; what was there stays then.
    pub(super) fn upsert(
        &mut self,
        name: &str,
        wire: &v1::Route,
        metrics: &Metrics,
        common: &mut Common,
    ) -> Result<(), String> {
        let part = Part::compile(name, wire, metrics, self, common)?;
        let id = match self.find(name) {
            Some(id) => {
                self.withdraw(id);
                id
            }
            None => self.place(name)?,
        };
        for name in part.names() {
            let ids = match self.naming.get_mut(name) {
                Some(ids) => ids,
                None => self.naming.entry(Arc::clone(name)).or_default(),
            };
            if let Err(at) = ids.binary_search(&id) {
                ids.insert(at, id);
            }
        }
        if let Some(slot) = self.slot(id) {
            *slot = Some(Box::new(part));
        }
        self.unsettled.push(id);
        Ok(())
    }

    /// `true` if it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let Some(id) = self.find(name) else { return false };
        if let Ok(entry) = self.by_name.find_entry(self.seeds.hash_one(name), |other| *other == id) {
            entry.remove();
        }
        self.withdraw(id);
        self.free.push(id);
        true
    }

    /// What has this name came, changed or went.
    pub(super) fn changed(&mut self, name: &str) {
        self.unsettled.extend(self.naming.get(name).into_iter().flatten());
    }

    /// Brings the tables up to date. Gives the listeners whose tables have changed since it was last asked.
    pub(super) fn settle(&mut self, known: Known<'_>) -> BTreeSet<Arc<str>> {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.sort_unstable();
        unsettled.dedup();
        for id in unsettled {
            self.unlist(id);
            let Some(part) = self.parts.get_mut(id as usize).and_then(Option::as_deref_mut) else { continue };
            part.resolve(known);
            part.listed = true;
            for attachment in &*part.attachments {
                let table = match self.tables.get_mut(&attachment.listener) {
                    Some(table) => table,
                    None => self.tables.entry(Arc::clone(&attachment.listener)).or_default(),
                };
                table.insert(&part.entry, &attachment.hostnames);
                if !self.touched.contains(&attachment.listener) {
                    self.touched.insert(Arc::clone(&attachment.listener));
                }
            }
        }
        std::mem::take(&mut self.touched)
    }

    /// All that are in force.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().flatten().map(|part| &**part)
    }

    /// What is served on a listener.
    pub(super) fn table(&self, listener: &str) -> Table<Rule> {
        self.tables.get(listener).cloned().unwrap_or_default()
    }

    /// The same name, shared with other routes if they have it.
    pub(super) fn shared(&self, name: &str) -> Arc<str> {
        self.naming.get_key_value(name).map_or_else(|| name.into(), |(name, _)| Arc::clone(name))
    }

    /// The same for a name of a host there.
    pub(super) fn shared_hostname(&self, listener: &str, hostname: Hostname) -> Hostname {
        self.tables.get(listener).and_then(|table| table.shared(&hostname)).unwrap_or(hostname)
    }

    /// The rule before or after this one in its object, which mostly has the same hosts.
    pub(super) fn sibling(&self, object: &str, rule: u32) -> Option<&Part> {
        let next_to = [rule.checked_sub(1), rule.checked_add(1)].into_iter().flatten();
        let mut siblings = next_to.filter_map(|rule| self.find(&usual_name(object, rule)));
        self.part(siblings.next()?)
    }

    fn find(&self, name: &str) -> Option<Id> {
        let is = |id: &Id| self.part(*id).is_some_and(|part| part.entry.name() == name);
        self.by_name.find(self.seeds.hash_one(name), is).copied()
    }

    fn part(&self, id: Id) -> Option<&Part> {
        self.parts.get(id as usize)?.as_deref()
    }

    fn slot(&mut self, id: Id) -> Option<&mut Option<Box<Part>>> {
        self.parts.get_mut(id as usize)
    }

    /// A free place for a new name.
    fn place(&mut self, name: &str) -> Result<Id, String> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = Id::try_from(self.parts.len()).map_err(|_| "there are too many routes")?;
                self.parts.push(None);
                id
            }
        };
        let (parts, seeds) = (&self.parts, &self.seeds);
        self.by_name.insert_unique(seeds.hash_one(name), id, |id| {
            let part = parts.get(*id as usize).and_then(Option::as_ref);
            part.map_or_else(|| seeds.hash_one(name), |part| seeds.hash_one(&*part.entry.name()))
        });
        Ok(id)
    }

    /// Takes a route out of everything but the index of names.
    fn withdraw(&mut self, id: Id) {
        self.unlist(id);
        let Some(part) = self.slot(id).and_then(Option::take) else { return };
        for name in part.names() {
            let Some(ids) = self.naming.get_mut(name) else { continue };
            if let Ok(at) = ids.binary_search(&id) {
                ids.remove(at);
            }
            if ids.is_empty() {
                self.naming.remove(name);
            }
        }
    }

    /// Takes a route out of the tables.
    fn unlist(&mut self, id: Id) {
        let Some(part) = self.parts.get_mut(id as usize).and_then(Option::as_deref_mut) else { return };
        if !std::mem::take(&mut part.listed) {
            return;
        }
        for attachment in &*part.attachments {
            let Some(table) = self.tables.get_mut(&attachment.listener) else { continue };
            table.remove(&part.entry, &attachment.hostnames);
            if table.is_empty() {
                self.tables.remove(&attachment.listener);
            }
            self.touched.insert(Arc::clone(&attachment.listener));
        }
    }
}
