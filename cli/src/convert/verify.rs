//! `gatehouse convert verify`: the requests of a probes.json sent to both gateways, and what they answer compared.
//!
//! Compared are the status and where a redirect leads. Bodies and other fields differ between two answers of one backend.

use std::{collections::BTreeMap, fs, io::Write, process::ExitCode, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::probes::Probe;
use crate::{args::VerifyOptions, print::print, run::RunError};

/// Exit status where something differs of which the report does not speak.
const DIFFERS: u8 = 3;

/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is compared of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Or why there is none.
    status: Result<u16, String>,
    location: Option<String>,
}

pub(crate) fn verify(options: &VerifyOptions) -> Result<ExitCode, RunError> {
    let file = options.probes.display();
    let unreadable = |error: &dyn std::fmt::Display| RunError::Convert(format!("{file}: {error}"));
    let text = fs::read_to_string(&options.probes).map_err(|error| unreadable(&error))?;
    let probes: Vec<Probe> = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Thread)?;
    runtime.block_on(replay(options, &probes))
}

async fn replay(options: &VerifyOptions, probes: &[Probe]) -> Result<ExitCode, RunError> {
    // Certificates are not what is compared, and the names in them rarely those of the addresses.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(PATIENCE)
        .tls_danger_accept_invalid_certs(options.insecure)
        .build()
        .map_err(|error| RunError::Convert(error.to_string()))?;
    let (mut same, mut told, mut skipped, mut differs) = (0, 0, 0, 0);
    // By the entry of the report that they belong to.
    let mut differences: BTreeMap<(&str, u64, &str), Vec<String>> = BTreeMap::new();
    for probe in probes {
        if !probe.is_safe() && !options.all_methods {
            skipped += 1;
            continue;
        }
        let old = ask(&client, &options.old, probe, options).await?;
        let new = ask(&client, &options.new, probe, options).await?;
        if old == new {
            same += 1;
            continue;
        }
        let word = if probe.changes.is_empty() {
            differs += 1;
            "differs, and the report does not say so"
        } else {
            told += 1;
            "differs, as the report says"
        };
        let line = format!("  {}: {word}: {}, {}", probe.shown(), old.shown("old"), new.shown("new"));
        differences.entry((&probe.file, probe.line, &probe.field)).or_default().push(line);
    }
    print(|out| {
        for ((file, line, field), lines) in &differences {
            writeln!(out, "{file}:{line}: {field}")?;
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        writeln!(
            out,
            "{same} alike, {told} differ as the report says, {differs} differ otherwise, {skipped} not sent"
        )
    })?;
    Ok(if differs > 0 { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

/// The error is one of what the user gave; a gateway that does not answer is part of the comparison.
async fn ask(
    client: &reqwest::Client,
    base: &str,
    probe: &Probe,
    options: &VerifyOptions,
) -> Result<Answer, RunError> {
    let wrong = |what: &str| RunError::Convert(format!("probe {}: {what}", probe.id));
    let method: Method = probe.method.parse().map_err(|_| wrong("its method is none"))?;
    let mut headers = HeaderMap::new();
    if let Some(host) = &probe.host {
        headers.insert(header::HOST, HeaderValue::try_from(host).map_err(|_| wrong("its host is none"))?);
    }
    for (name, value) in &probe.headers {
        let name: HeaderName = name.parse().map_err(|_| wrong("a header's name is none"))?;
        headers.append(name, HeaderValue::try_from(value).map_err(|_| wrong("a header's value is none"))?);
    }
    for header in &options.headers {
        headers.insert(header.name.clone(), header.value.clone());
    }
    let url = format!("{}{}", base.trim_end_matches('/'), probe.path);
    Ok(match client.request(method, &url).headers(headers).send().await {
        Err(error) if error.is_builder() => return Err(wrong(&format!("{url} is no URL"))),
        Err(error) if error.is_timeout() => {
            Answer { status: Err("no answer in time".into()), location: None }
        }
        Err(_) => Answer { status: Err("no answer".into()), location: None },
        Ok(answer) => Answer {
            status: Ok(answer.status().as_u16()),
            location: answer
                .headers()
                .get(header::LOCATION)
                .map(|location| relative(&String::from_utf8_lossy(location.as_bytes()), base)),
        },
    })
}

/// Without the gateway's own address, which differs between the two.
fn relative(location: &str, base: &str) -> String {
    location.strip_prefix(base.trim_end_matches('/')).unwrap_or(location).to_owned()
}

impl Answer {
    fn shown(&self, whose: &str) -> String {
        let location = self.location.as_ref().map_or_else(String::new, |location| format!(" to {location}"));
        match &self.status {
            Ok(status) => format!("{whose} {status}{location}"),
            Err(why) => format!("{whose} {why}"),
        }
    }
}
