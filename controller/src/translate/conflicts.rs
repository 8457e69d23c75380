//! Listeners that can't be told apart.

use std::collections::BTreeMap;

use super::{conditions::Problem, listener::ListenerView};

/// Listeners of one port must agree on the protocol and differ in their host names. Where those of one object don't, none
/// of them is served: picking a winner is forbidden (GatewaySpec.listeners, "Handling indistinct Listeners"). Of two
/// objects the one that comes first keeps what it claims (ListenerSetSpec.listeners), even while it can't be served:
/// nobody else is to get what was meant for it.
pub(super) fn find(listeners: &mut [ListenerView]) {
    let mut claims = Claims::default();
    for object in listeners.chunk_by_mut(|one, next| one.set == next.set) {
        for listener in &mut *object {
            listener.conflict = claims.conflict(listener);
        }
        let lost: Vec<bool> = object.iter().map(|listener| listener.conflict.is_some()).collect();
        let among_themselves: Vec<Option<Problem>> = object
            .iter()
            .enumerate()
            .map(|(index, listener)| {
                let mut rivals = object.iter().enumerate().filter(|(other, rival)| {
                    *other != index && listener.is_accepted() && rival.is_accepted()
                });
                rivals.find_map(|(_, rival)| listener.conflict_with(rival))
            })
            .collect();
        for (listener, conflict) in object.iter_mut().zip(among_themselves) {
            listener.conflict = listener.conflict.take().or(conflict);
        }
        let object: &[ListenerView] = object;
        for (listener, _) in object.iter().zip(lost).filter(|(listener, lost)| listener.is_valid() && !lost) {
            claims.add(listener);
        }
    }
}

/// What the objects before have claimed.
#[derive(Default)]
struct Claims<'a> {
    by_hostname: BTreeMap<(i32, &'a str), Vec<&'a ListenerView>>,
    /// By port, one of each protocol: the others of a protocol conflict with the same, or by their host names.
    by_protocol: BTreeMap<i32, Vec<&'a ListenerView>>,
}

impl<'a> Claims<'a> {
    fn conflict(&self, listener: &ListenerView) -> Option<Problem> {
        let port = listener.spec.port;
        let same_name = self.by_hostname.get(&(port, listener.hostname.as_str()));
        let same_port = self.by_protocol.get(&port);
        let rivals = same_name.into_iter().chain(same_port).flatten();
        rivals.copied().find_map(|rival| listener.conflict_with(rival))
    }

    fn add(&mut self, listener: &'a ListenerView) {
        let port = listener.spec.port;
        self.by_hostname.entry((port, &listener.hostname)).or_default().push(listener);
        let known = self.by_protocol.entry(port).or_default();
        if known.iter().all(|other| other.spec.protocol != listener.spec.protocol) {
            known.push(listener);
        }
    }
}
