use std::{fs, path::Path};

use super::Folder;

fn consumer(name: &str, tier: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata:\n  name: {name}\nspec:\n  tier: {tier}\n---\n"
    )
}

struct Fixture(tempfile::TempDir, Folder);

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let reader = Folder::new(folder.path());
        Fixture(folder, reader)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&mut self, file: &str, text: &str) -> bool {
        fs::write(self.path().join(file), text).expect("writes");
        self.1.read().expect("reads")
    }

    /// `name=tier` of every object.
    fn held(&self) -> Vec<String> {
        let tier = |object: &super::Object| {
            format!(
                "{}={}",
                object.value["metadata"]["name"].as_str().unwrap_or_default(),
                object.value["spec"]["tier"].as_str().unwrap_or_default()
            )
        };
        self.1.objects().map(tier).collect()
    }

    fn problems(&self) -> Vec<String> {
        let base = format!("{}/", self.path().display());
        self.1.problems().map(|problem| problem.to_string().replace(&base, "")).collect()
    }
}

#[test]
fn only_what_changed_is_a_change() {
    let mut fixture = Fixture::new();
    assert!(fixture.write("a.yaml", &consumer("a", "gold")));
    assert!(!fixture.1.read().expect("reads"), "nothing has changed");
    assert!(!fixture.write("notes.txt", "x"));
    assert!(!fixture.write(".b.yaml.swp", "x"));
    assert!(!fixture.write(".b.yaml", "x"));
    assert!(fixture.write("b.json", "{}"));
    fs::remove_file(fixture.path().join("b.json")).expect("removes");
    assert!(fixture.1.read().expect("reads"), "a file is gone");
    fs::create_dir(fixture.path().join("below")).expect("makes");
    assert!(fixture.write("below/c.yml", &consumer("c", "iron")));
    assert_eq!(fixture.held(), ["a=gold", "c=iron"]);
}

#[test]
fn a_refused_object_leaves_what_was_there_and_its_neighbours_go_on() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &(consumer("a", "gold") + &consumer("b", "gold")));
    fixture.write("a.yaml", &(consumer("a", "[1]") + &consumer("b", "iron")));
    assert_eq!(fixture.held(), ["b=iron", "a=gold"]);
    assert_eq!(fixture.problems(), ["a.yaml:6: Consumer default/a: spec.tier: must be a string, not a list"]);
    fixture.write("a.yaml", &consumer("b", "iron"));
    assert_eq!(fixture.held(), ["b=iron"], "one that is gone from a good file is gone");
}

#[test]
fn a_file_that_does_not_parse_leaves_what_it_held() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &(consumer("a", "gold") + &consumer("b", "gold")));
    fixture.write("a.yaml", &(consumer("a", "iron") + "kind: [\n"));
    assert_eq!(fixture.held(), ["a=iron", "b=gold"]);
    assert_eq!(fixture.problems().len(), 1, "{:?}", fixture.problems());
    fixture.write("a.yaml", &consumer("a", "iron"));
    assert_eq!((fixture.held(), fixture.problems().len()), (vec!["a=iron".to_owned()], 0));
}

#[test]
fn a_file_whose_writer_has_only_begun_leaves_what_it_held() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &consumer("a", "gold"));
    fixture.write("a.yaml", "");
    assert_eq!(fixture.held(), ["a=gold"]);
    assert_eq!(fixture.problems(), ["a.yaml: is empty: remove it to remove what it held"]);
    fixture.write("a.yaml", "# nothing any more\n");
    assert!(fixture.held().is_empty() && fixture.problems().is_empty());
}

#[test]
fn an_object_twice_is_told() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &consumer("a", "gold"));
    fixture.write("b.yaml", &("\n".to_owned() + &consumer("a", "iron")));
    let problems: Vec<_> = fixture.problems();
    assert!(
        problems[0].starts_with("b.yaml:2: warning: Consumer default/a takes the place of "),
        "{problems:?}"
    );
}

#[test]
fn a_list_that_can_not_be_listed_is_an_error_and_keeps_what_was_read() {
    let mut fixture = Fixture::new();
    fixture.write("a.yaml", &consumer("a", "gold"));
    fs::remove_dir_all(fixture.path()).expect("removes");
    assert!(fixture.1.read().is_err());
    assert_eq!(fixture.held(), ["a=gold"]);
}
