use super::*;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("ns", name)
}

fn shelf(present: &[(&str, &str)], wanted: &[&str]) -> Shelf {
    Shelf {
        present: present.iter().map(|(name, version)| (key(name), (*version).to_owned())).collect(),
        wanted: wanted.iter().map(|name| key(name)).collect(),
        listed: true,
        ..Shelf::default()
    }
}

#[test]
fn nothing_is_known_before_the_list() {
    let mut shelf = Shelf { listed: false, ..shelf(&[], &["a"]) };
    assert!(shelf.tasks().is_empty());
}

#[test]
fn only_wanted_ones_are_read_once_a_version() {
    let mut shelf = shelf(&[("a", "1"), ("b", "1")], &["a"]);
    assert_eq!(shelf.tasks(), [Task::Read(key("a"))]);
    assert!(shelf.tasks().is_empty(), "it is being read");
    assert!(shelf.read(&key("a"), Some("1".into())));
    assert!(shelf.tasks().is_empty(), "it has been read");
    shelf.present.insert(key("a"), "2".into());
    assert_eq!(shelf.tasks(), [Task::Read(key("a"))]);
    shelf.failed(&key("a"));
    assert_eq!(shelf.tasks(), [Task::Read(key("a"))], "again after a failure");
}

#[test]
fn a_read_may_be_newer_than_the_watch() {
    let mut shelf = shelf(&[("a", "1")], &["a"]);
    shelf.tasks();
    assert!(shelf.read(&key("a"), Some("2".into())));
    shelf.present.insert(key("a"), "2".into());
    assert!(shelf.tasks().is_empty());
}

#[test]
fn absence_is_told_once_and_again_after_a_deletion() {
    let mut shelf = shelf(&[], &["a"]);
    assert_eq!(shelf.tasks(), [Task::Absent(key("a"))]);
    assert!(shelf.tasks().is_empty());
    shelf.present.insert(key("a"), "1".into());
    assert_eq!(shelf.tasks(), [Task::Read(key("a"))]);
    shelf.read(&key("a"), Some("1".into()));
    shelf.present.remove(&key("a"));
    assert_eq!(shelf.tasks(), [Task::Absent(key("a"))]);
}

#[test]
fn what_nobody_wants_any_more_is_dropped() {
    let mut shelf = shelf(&[("a", "1"), ("b", "1")], &["a", "b"]);
    assert_eq!(shelf.tasks(), [Task::Read(key("a")), Task::Read(key("b"))]);
    shelf.read(&key("a"), Some("1".into()));
    shelf.wanted.clear();
    assert_eq!(shelf.tasks(), [Task::Drop(key("a"))]);
    assert!(!shelf.read(&key("b"), Some("1".into())), "it came too late");
    shelf.wanted.insert(key("a"));
    assert_eq!(shelf.tasks(), [Task::Read(key("a"))], "wanted anew");
}
