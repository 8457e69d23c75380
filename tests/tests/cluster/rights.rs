//! What each ServiceAccount may do is what docs/install.md says, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    kubectl::{SYSTEM, installed, kubectl},
    shop::Shop,
};

/// What every ServiceAccount may do.
const EVERYBODY: [&str; 3] = ["selfsubject", "/", "selfsubjectreviews"];

/// Verbs by resource and, where it is limited to one, its object's name.
type Rights = BTreeMap<(String, String), BTreeSet<String>>;

/// What `kubectl auth can-i --list` shows.
fn rights(namespace: &str, account: &str) -> Rights {
    let groups = ["--as-group", "system:serviceaccounts", "--as-group", "system:authenticated"];
    let listed =
        kubectl(&[&["auth", "can-i", "--list", "-n", namespace, "--as", account], &groups[..]].concat());
    let mut rights = Rights::new();
    for line in listed.lines().skip(1) {
        // Resources, URLs, names and verbs, the last three in brackets.
        let resource = line.split_whitespace().next().unwrap_or("").to_owned();
        let lists: Vec<&str> =
            line.split('[').skip(1).map(|list| list.split(']').next().unwrap_or("")).collect();
        let [.., names, verbs] = lists[..] else { panic!("{line}") };
        if resource.starts_with('[') || EVERYBODY.iter().any(|common| resource.starts_with(common)) {
            continue;
        }
        let verbs = verbs.split_whitespace().map(str::to_owned);
        rights.entry((resource, names.to_owned())).or_default().extend(verbs);
    }
    rights
}

/// The rows of the page's table: `| `resource` `name` | verbs | where |`.
fn documented() -> Rights {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/install.md")).unwrap();
    let table = page.split("<!-- rights -->").nth(1).unwrap().split("<!-- end of rights -->").next().unwrap();
    let mut rights = Rights::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (what, verbs) = (cells.next().unwrap(), cells.next().unwrap());
        let mut words = what.split('`').filter(|word| !word.trim().is_empty());
        let (resource, name) = (words.next().unwrap().to_owned(), words.next().unwrap_or("").to_owned());
        rights.entry((resource, name)).or_default().extend(verbs.split(", ").map(str::to_owned));
    }
    rights
}

#[test]
fn each_account_has_the_rights_that_the_page_lists() {
    installed();
    let account = kubectl(&[
        "-n",
        SYSTEM,
        "get",
        "deployment/gatehouse-controller",
        "-o",
        "jsonpath={.spec.template.spec.serviceAccountName}",
    ]);
    let found = rights(SYSTEM, &format!("system:serviceaccount:{SYSTEM}:{account}"));
    let documented = documented();
    assert!(documented.len() > 10, "{documented:?}");
    assert_eq!(found, documented);
    let shop = Shop::open("rights", 1, 1);
    let dataplane =
        rights(&shop.namespace, &format!("system:serviceaccount:{}:edge-gatehouse", shop.namespace));
    assert_eq!(dataplane, Rights::new(), "a dataplane needs none");
}
