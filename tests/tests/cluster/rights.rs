//! What each ServiceAccount may do is what docs/install.md says, and nothing else.

use std::collections::BTreeSet;

use crate::{
    kubectl::{SYSTEM, installed, kubectl},
    shop::Shop,
};

/// What every ServiceAccount may do.
const EVERYBODY: [&str; 3] = ["selfsubject", "/", "selfsubjectreviews"];

/// `resource name verbs` of each line that `kubectl auth can-i --list` shows.
fn rights(namespace: &str, account: &str) -> BTreeSet<String> {
    let listed = kubectl(&[
        "auth",
        "can-i",
        "--list",
        "-n",
        namespace,
        "--as",
        account,
        "--as-group",
        "system:serviceaccounts",
        "--as-group",
        "system:authenticated",
    ]);
    let lines = listed.lines().skip(1).map(|line| {
        let verbs = line.rsplit_once('[').map_or("", |(_, verbs)| verbs.trim_end_matches([']', ' ']));
        let mut verbs: Vec<&str> = verbs.split_whitespace().collect();
        verbs.sort_unstable();
        let resource = line.split_whitespace().next().unwrap_or("");
        format!("{resource} {}", verbs.join(", "))
    });
    lines
        .filter(|line| !EVERYBODY.iter().any(|common| line.starts_with(common)))
        .filter(|line| !line.starts_with('['))
        .collect()
}

/// The rows of the page's table: `| `resource` ... | verbs | where |`.
fn documented() -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/install.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (resource, verbs, place) = (cells.next()?, cells.next()?, cells.next()?);
        let known = place == "everywhere" || place == "its own namespace";
        let resource = resource.split('`').nth(1)?;
        let mut verbs: Vec<&str> = verbs.split(", ").collect();
        verbs.sort_unstable();
        known.then(|| format!("{resource} {}", verbs.join(", ")))
    })
    .collect()
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
    assert_eq!(dataplane, BTreeSet::new(), "a dataplane needs none");
}
