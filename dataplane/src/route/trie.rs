//! A map by hash that shares with its earlier copies what did not change.
//!
//! A copy costs one count. What is changed afterwards is copied first, if a copy shares it: from the root to one leaf,
//! some hundred pointers however much there is. What nothing shares is changed in place. Looking up takes a step for
//! each 32-fold of entries, and then a scan of a few hashes that stand side by side.
//!
//! Hashes are whole: entries of one hash are told apart by the caller's comparison.

use std::sync::Arc;

/// Of a branch. So many bits of the hash choose among them.
const CHILDREN: usize = 1 << BITS;
const BITS: u32 = 5;
/// More entries make a leaf a branch.
const LEAF: usize = 16;
/// Below it the hash tells nothing apart that it did not before.
const DEEPEST: u32 = 60 / BITS;

#[derive(Debug, Clone)]
pub(super) struct Trie<S> {
    root: Node<S>,
}

#[derive(Debug, Clone)]
enum Node<S> {
    Leaf(Arc<[Hashed<S>]>),
    Branch(Arc<[Node<S>; CHILDREN]>),
}

#[derive(Debug, Clone)]
struct Hashed<S> {
    hash: u64,
    item: S,
}

impl<S> Trie<S> {
    pub(super) fn get(&self, hash: u64, is: impl Fn(&S) -> bool) -> Option<&S> {
        let (mut node, mut rest) = (&self.root, hash);
        loop {
            match node {
                Node::Branch(children) => {
                    node = &children[child(rest)];
                    rest >>= BITS;
                }
                Node::Leaf(entries) => {
                    let found = entries.iter().find(|entry| entry.hash == hash && is(&entry.item));
                    return found.map(|entry| &entry.item);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.few(0) == Some(0)
    }
}

impl<S: Clone> Trie<S> {
    /// What it gives is no longer shared. Ask by [`Trie::get`] before: what is on the way is copied even if nothing is
    /// there.
    pub(super) fn get_mut(&mut self, hash: u64, is: impl Fn(&S) -> bool) -> Option<&mut S> {
        let (mut node, mut rest) = (&mut self.root, hash);
        loop {
            match node {
                Node::Branch(children) => {
                    node = &mut Arc::make_mut(children)[child(rest)];
                    rest >>= BITS;
                }
                Node::Leaf(entries) => {
                    let mut entries = Arc::make_mut(entries).iter_mut();
                    let found = entries.find(|entry| entry.hash == hash && is(&entry.item));
                    return found.map(|entry| &mut entry.item);
                }
            }
        }
    }

    /// Nothing that is the same may be there.
    pub(super) fn insert(&mut self, hash: u64, item: S) {
        self.root.insert(Hashed { hash, item }, 0);
    }

    pub(super) fn remove(&mut self, hash: u64, is: impl Fn(&S) -> bool) {
        if self.get(hash, &is).is_some() {
            self.root.remove(hash, 0, &is);
        }
    }
}

impl<S> Node<S> {
    /// The number of entries if they are few enough for one leaf.
    fn few(&self, with: usize) -> Option<usize> {
        match self {
            Node::Leaf(entries) => Some(with + entries.len()).filter(|sum| *sum <= LEAF / 2),
            Node::Branch(_) => None,
        }
    }
}

impl<S: Clone> Node<S> {
    /// `depth` is the number of branches above.
    fn insert(&mut self, entry: Hashed<S>, depth: u32) {
        match self {
            Node::Branch(children) => {
                let at = child(entry.hash >> (depth * BITS));
                Arc::make_mut(children)[at].insert(entry, depth + 1);
            }
            Node::Leaf(entries) if entries.len() < LEAF || depth == DEEPEST => {
                *entries = entries.iter().cloned().chain([entry]).collect();
            }
            Node::Leaf(entries) => {
                let mut groups: [Vec<Hashed<S>>; CHILDREN] = std::array::from_fn(|_| Vec::new());
                for entry in entries.iter().cloned().chain([entry]) {
                    groups[child(entry.hash >> (depth * BITS))].push(entry);
                }
                *self = Node::Branch(Arc::new(groups.map(|group| Node::Leaf(group.into()))));
            }
        }
    }

    fn remove(&mut self, hash: u64, depth: u32, is: &impl Fn(&S) -> bool) {
        match self {
            Node::Leaf(entries) => {
                let kept = entries.iter().filter(|entry| entry.hash != hash || !is(&entry.item));
                *entries = kept.cloned().collect::<Vec<_>>().into();
            }
            Node::Branch(children) => {
                Arc::make_mut(children)[child(hash >> (depth * BITS))].remove(hash, depth + 1, is);
                if children.iter().try_fold(0, |sum, child| child.few(sum)).is_some() {
                    let leaves = children.iter().filter_map(|child| match child {
                        Node::Leaf(entries) => Some(entries),
                        Node::Branch(_) => None,
                    });
                    *self = Node::Leaf(leaves.flat_map(|entries| entries.iter().cloned()).collect());
                }
            }
        }
    }
}

fn child(hash: u64) -> usize {
    (hash as usize) & (CHILDREN - 1)
}

impl<S> Default for Trie<S> {
    fn default() -> Self {
        Trie { root: Node::Leaf(Arc::default()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{arbitrary::any, collection::vec, prop_assert_eq, proptest};

    use super::Trie;

    /// So few that entries meet, and that all bits are used.
    fn hash(key: u16) -> u64 {
        u64::from(key % 300).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (key % 3 * 30)
    }

    proptest! {
        /// It holds what a map holds, and its copies what they held when they were made.
        #[test]
        fn is_a_map_and_its_copies_stay(edits in vec((any::<u16>(), any::<u8>(), 0..4_u8), 0..600)) {
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (key, value, edit) in edits {
                let (key, is) = (key % 400, |item: &(u16, u8)| item.0 == key % 400);
                match edit {
                    0 => {
                        trie.remove(hash(key), is);
                        model.remove(&key);
                    }
                    1 => copies.push((trie.clone(), model.clone())),
                    _ if trie.get(hash(key), is).is_some() => {
                        trie.get_mut(hash(key), is).unwrap().1 = value;
                        model.insert(key, value);
                    }
                    _ => {
                        trie.insert(hash(key), (key, value));
                        model.insert(key, value);
                    }
                }
            }
            copies.push((trie, model));
            for (trie, model) in copies {
                prop_assert_eq!(trie.is_empty(), model.is_empty());
                for key in 0..400 {
                    let found = trie.get(hash(key), |item| item.0 == key).map(|item| item.1);
                    prop_assert_eq!(found, model.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn what_is_taken_out_leaves_no_branches() {
        let mut trie = Trie::default();
        for key in 0..10_000_u64 {
            trie.insert(key, key);
        }
        for key in 0..10_000_u64 {
            trie.remove(key, |item| *item == key);
        }
        assert!(trie.is_empty());
    }

    #[test]
    fn one_hash_for_all_is_slow_and_right() {
        let mut trie = Trie::default();
        for key in 0..100_u64 {
            trie.insert(7, key);
        }
        assert_eq!(trie.get(7, |item| *item == 99), Some(&99));
        for key in 0..100_u64 {
            trie.remove(7, |item| *item == key);
        }
        assert!(trie.is_empty());
    }
}
