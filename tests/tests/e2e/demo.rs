//! The first thing that people run: what it prints is what happens.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use gatehouse_tests::gateway::binary;

#[test]
fn each_printed_command_gives_the_status_it_promises() {
    let mut demo = Command::new(binary())
        .args(["demo", "--free-ports", "--output", "json", "--workers", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let printed: Vec<String> = lines.take_while(|line| !line.contains("\"event\":\"serving\"")).collect();
    let mut tried = Vec::new();
    for line in printed.iter().filter(|line| !line.starts_with('#')) {
        let Some((command, promised)) = line.rsplit_once("  # ") else { continue };
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        tried.push(promised.to_owned());
        assert_eq!(
            said.lines().next_back(),
            Some(promised),
            "{line}\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // It was started by us, and ends by a signal as by Ctrl-C.
    Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert_eq!(tried, ["401", "200", "200", "200", "404", "429", "200"]);
}
