use gatehouse_proto::config::v1::{Resource, Service, resource::Kind};
use prost::Message;

use super::Holdings;
use crate::discover::{Outcome, Refused, Upserts};

#[derive(Default)]
struct Batch {
    upserts: Vec<Resource>,
    removals: Vec<String>,
}

fn resource(name: &str, version: u8) -> Resource {
    Resource { name: name.into(), version: vec![version; 16], kind: Some(Kind::Service(Service::default())) }
}

fn upserts(upserts: Vec<Resource>) -> Batch {
    Batch { upserts, ..Batch::default() }
}

fn encoded(resources: Vec<Resource>) -> Upserts {
    Upserts::new(resources.into_iter().map(|resource| resource.encode_to_vec().into()).collect(), true)
}

fn because(names: &[&str]) -> Vec<Refused> {
    names.iter().map(|name| Refused { name: (*name).into(), reason: format!("{name} is bad") }).collect()
}

/// Applies a batch of which `refused` fails and after which `unfit` is not in force.
fn settle(holdings: &mut Holdings, batch: Batch, refused: &[&str], unfit: &[&str]) {
    let mut upserts = encoded(batch.upserts);
    upserts.by_ref().for_each(drop);
    let (pending, _) = upserts.finish(batch.removals);
    holdings.settle(pending, Outcome { refused: because(refused), unfit: because(unfit) });
}

fn held(holdings: &Holdings) -> Vec<(String, u8)> {
    let mut held: Vec<_> = holdings.held().into_iter().map(|held| (held.name, held.version[0])).collect();
    held.sort();
    held
}

fn rejections(holdings: &Holdings) -> Vec<(String, u8)> {
    holdings.rejections().into_iter().map(|rejection| (rejection.name, rejection.version[0])).collect()
}

#[test]
fn a_refused_version_is_remembered_beside_the_one_in_force_until_it_changes() {
    let mut holdings = Holdings::default();
    settle(&mut holdings, upserts(vec![resource("a", 1)]), &[], &[]);
    settle(&mut holdings, upserts(vec![resource("a", 2)]), &["a"], &[]);
    assert_eq!(held(&holdings), [("a".into(), 1)]);
    assert_eq!(rejections(&holdings), [("a".into(), 2)]);
    assert_eq!(holdings.refused()[0].reason, "a is bad");

    settle(&mut holdings, Batch::default(), &[], &[]);
    assert_eq!(rejections(&holdings), [("a".into(), 2)], "other batches don't heal it");

    settle(&mut holdings, upserts(vec![resource("a", 3)]), &[], &[]);
    assert_eq!(held(&holdings), [("a".into(), 3)]);
    assert!(rejections(&holdings).is_empty());
}

#[test]
fn a_removal_forgets_what_was_held_and_what_was_refused() {
    let mut holdings = Holdings::default();
    settle(&mut holdings, upserts(vec![resource("a", 1)]), &[], &[]);
    settle(&mut holdings, upserts(vec![resource("a", 2), resource("b", 1)]), &["a", "b"], &[]);
    settle(
        &mut holdings,
        Batch { removals: vec!["a".into(), "b".into(), "never".into()], ..Batch::default() },
        &[],
        &[],
    );
    assert!(held(&holdings).is_empty());
    assert!(rejections(&holdings).is_empty());
}

#[test]
fn what_is_unfit_is_held_and_listed_only_while_it_is() {
    let mut holdings = Holdings::default();
    settle(&mut holdings, upserts(vec![resource("a", 1), resource("b", 1)]), &[], &["b", "stranger"]);
    assert_eq!(held(&holdings), [("a".into(), 1), ("b".into(), 1)]);
    assert_eq!(rejections(&holdings), [("b".into(), 1)]);
    assert!(holdings.refused().is_empty(), "a Hello must not count it as refused");

    settle(&mut holdings, upserts(vec![resource("b", 2)]), &["b"], &["b"]);
    assert_eq!(rejections(&holdings), [("b".into(), 2)], "the newest content is the news");

    settle(&mut holdings, upserts(vec![resource("b", 3)]), &[], &[]);
    assert!(rejections(&holdings).is_empty());
}

#[test]
fn what_is_not_understood_is_held_and_counted_and_not_applied() {
    let mut holdings = Holdings::default();
    let alien = || Resource { kind: None, ..resource("alien", 1) };
    let mut both = encoded(vec![alien(), resource("a", 1)]);
    let applied: Vec<_> = both.by_ref().map(|upsert| upsert.resource).collect();
    assert_eq!(applied, [resource("a", 1)]);
    let (pending, damaged) = both.finish(Vec::new());
    assert!(damaged.is_empty());
    holdings.settle(pending, Outcome::default());
    assert_eq!(held(&holdings), [("a".into(), 1), ("alien".into(), 1)]);
    assert_eq!(holdings.unknown(), 1);

    settle(&mut holdings, upserts(vec![alien()]), &[], &[]);
    assert_eq!(holdings.unknown(), 1, "it is counted once");
    settle(&mut holdings, Batch { removals: vec!["alien".into()], ..Batch::default() }, &[], &[]);
    assert_eq!(holdings.unknown(), 0);
}

#[test]
fn what_can_not_be_read_is_refused_by_its_name() {
    let mut damaged = resource("a", 1).encode_to_vec();
    // A service with a field of no type.
    damaged.extend([6 << 3 | 2, 1, 1 << 3 | 7]);
    let mut upserts =
        Upserts::new(vec![damaged.into(), vec![0].into(), resource("b", 1).encode_to_vec().into()], true);
    let names: Vec<_> = upserts.by_ref().map(|upsert| upsert.resource.name).collect();
    assert_eq!(names, ["b"], "the others are applied");
    let (pending, damaged) = upserts.finish(Vec::new());
    assert_eq!(damaged.iter().map(|refused| &*refused.name).collect::<Vec<_>>(), ["a"]);
    let mut holdings = Holdings::default();
    holdings.settle(pending, Outcome { refused: damaged, unfit: Vec::new() });
    assert_eq!((held(&holdings), rejections(&holdings)), (vec![("b".into(), 1)], vec![("a".into(), 1)]));
}
