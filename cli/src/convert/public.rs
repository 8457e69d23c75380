//! Configurations of others, as `tests/convert/fetch` gets them: each converts, every manifest is admitted, and as many
//! fields are exact, changed and refused as were when somebody last looked (`UPDATE=1` writes the numbers anew).

use std::{collections::BTreeSet, fmt::Write, fs, path::PathBuf};

use super::{
    Options, ingress_nginx, kong,
    report::{Counts, Verdict},
    testing::outcome,
};

const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/convert/inputs");

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/gatehouse");
    std::env::var_os("GATEHOUSE_CACHE").map_or_else(home, PathBuf::from).join("convert")
}

#[test]
fn public_configurations_convert() {
    let list = fs::read_to_string(LIST).expect("the list");
    let mut renewed = String::new();
    let mut wrong = Vec::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let ([origin, repository, commit, path, hash, _, _, _], false) =
            (words.as_slice(), line.starts_with('#'))
        else {
            let _ = writeln!(renewed, "{line}");
            continue;
        };
        let Ok(text) = fs::read_to_string(cache().join(hash)) else {
            println!("not in the cache, see tests/convert/fetch: {repository}/{path}");
            let _ = writeln!(renewed, "{line}");
            continue;
        };
        let convert = if *origin == "kong" { kong::convert } else { ingress_nginx::convert };
        let options = Options {
            namespace: "default".into(),
            gateway: "edge".into(),
            without: BTreeSet::new(),
            exact_paths: false,
        };
        let converted = outcome(path, &text, convert, &options).expect("a configuration of its origin");
        let Counts { exact, warning, refused } = Counts::of(&converted.entries);
        let now = format!("{origin} {repository} {commit} {path} {hash} {exact} {warning} {refused}");
        if now != line {
            wrong.push(format!("{now}\n  was {line}"));
        }
        // What is refused or changes has words.
        let wordless = converted
            .entries
            .iter()
            .filter(|entry| entry.verdict != Verdict::Exact && entry.changes.is_empty());
        assert_eq!(wordless.count(), 0, "{repository}/{path}");
        let _ = writeln!(renewed, "{now}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(LIST, renewed).expect("the list is written");
    } else {
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
