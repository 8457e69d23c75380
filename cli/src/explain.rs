//! `gatehouse explain`: which rule of a folder takes a request, why the others don't, and what happens to it then.

mod decisions;
mod lines;
mod replay;
mod words;

use std::{
    collections::HashMap,
    fmt::{self, Display},
    io::Write,
    net::IpAddr,
    process::ExitCode,
};

use gatehouse_controller::{
    resources::ObjectKey,
    translate::{self, Config, Translation},
};
use gatehouse_dataplane::{
    Reason,
    inspect::{Candidate, Explained, Inspected, Verdict},
};
use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue, Method, Uri, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};

use crate::{
    args::{ExplainOptions, Output},
    development::{Certificates, add_classes},
    manifests::{Folder, Identity},
    offline::{self, Places},
    print::print,
    run::RunError,
};

use decisions::{Decision, Refused};

pub(crate) use words::rule;

/// Exit status where no rule takes the request, or not all go where a log says.
const UNTAKEN: u8 = 3;

/// The request.
struct Asked {
    port: u16,
    method: Method,
    url: Uri,
    headers: HeaderMap,
    client: IpAddr,
}

/// A request as a file holds it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
}

/// What a Gateway would do with the request.
#[derive(Debug, Serialize)]
struct Answer {
    gateway: String,
    listener: String,
    /// As they are compared.
    host: String,
    path: String,
    /// In the order that they are tried.
    candidates: Vec<Told>,
    /// Absent: no rule takes it.
    taken: Option<Taken>,
    /// What the policies of the rule decide, in their order.
    decisions: Vec<Decision>,
    /// Why the policies refuse it. Absent: they don't.
    refused: Option<Refused>,
}

/// A match whose host and path the request has.
#[derive(Debug, Serialize)]
struct Told {
    /// Where the object stands.
    place: String,
    /// What the match asks for.
    asks: String,
    verdict: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Taken {
    rule: String,
    /// In the order that they decide.
    policies: Vec<String>,
    does: Vec<String>,
}

pub(crate) fn explain(options: &ExplainOptions) -> Result<ExitCode, RunError> {
    let folder = offline::objects(options.folder.as_deref(), &options.cluster)?;
    let translation = translated(&folder);
    if let Some(log) = &options.log {
        let replayed = replay::replay(log, &translation)?;
        print(|out| match options.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string(&replayed)?),
            Output::Text => replayed.write(out),
        })?;
        return Ok(exit(replayed.is_same()));
    }
    let places = Places::of(&folder);
    let gateways: Vec<_> = translation
        .gateways
        .iter()
        .map(|(gateway, config)| (gateway, config, offline::inspect(config)))
        .collect();
    let mut all_taken = true;
    for asked in asked(options)? {
        let asked = asked?;
        let mut answers = Vec::new();
        for (gateway, config, inspected) in &gateways {
            answers.extend(answer(gateway, config, inspected, &asked, &places)?);
        }
        all_taken &= answers.iter().any(|answer| answer.taken.is_some());
        // Each at once: whoever asks may wait for it before the next.
        let is_read = print(|out| match options.output {
            Output::Json => writeln!(out, "{}", serde_json::to_string(&answers)?),
            Output::Text if answers.is_empty() => {
                writeln!(out, "no listener of a Gateway takes {}", asked.url)
            }
            Output::Text => answers.iter().try_for_each(|answer| words::write(out, answer)),
        })?;
        if !is_read {
            break;
        }
    }
    Ok(exit(all_taken))
}

fn exit(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::from(UNTAKEN) }
}

type AllAsked = Box<dyn Iterator<Item = Result<Asked, RunError>>>;

fn asked(options: &ExplainOptions) -> Result<AllAsked, RunError> {
    if let Some(file) = &options.requests {
        let client = options.client;
        return Ok(Box::new(lines::of(file)?.map(move |line| Asked::read(&line?, client))));
    }
    let (Some(method), Some(url)) = (&options.method, &options.url) else {
        return Err(RunError::Request("Give METHOD and URL.".to_owned()));
    };
    let mut headers = HeaderMap::new();
    for header in &options.headers {
        headers.append(header.name.clone(), header.value.clone());
    }
    if let Some(token) = &options.token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        headers.append(
            AUTHORIZATION,
            value.map_err(|_| RunError::Request("No header can hold this token.".to_owned()))?,
        );
    }
    let (method, url) = (method.clone(), url.clone());
    let asked = Asked { port: port(&url)?, method, url, headers, client: options.client };
    Ok(Box::new([Ok(asked)].into_iter()))
}

impl Asked {
    fn read(line: &str, client: IpAddr) -> Result<Self, RunError> {
        let written = |error: &dyn Display| RunError::Request(format!("{line}: {error}"));
        let one: Written = serde_json::from_str(line).map_err(|error| written(&error))?;
        let url: Uri = one.url.parse().map_err(|error| written(&error))?;
        Ok(Asked {
            port: port(&url)?,
            method: one.method.parse().map_err(|error| written(&error))?,
            url,
            headers: HeaderMap::try_from(&one.headers).map_err(|error| written(&error))?,
            client,
        })
    }
}

/// What `run` would serve with.
pub(crate) fn translated(folder: &Folder) -> Translation {
    let (mut resources, _) = offline::resources(folder);
    add_classes(&mut resources);
    let settings = offline::settings();
    let implied = translate::implied_gateways(&resources, &settings);
    Certificates::default().add_missing(&mut resources, &implied, |_| false);
    translate::translate(&resources, &settings)
}

/// `None`: the Gateway has no listener for it.
fn answer(
    gateway: &ObjectKey,
    config: &Config,
    inspected: &Inspected,
    asked: &Asked,
    places: &Places<'_>,
) -> Result<Option<Answer>, RunError> {
    let refused = |reason: Reason| RunError::Request(reason.detail().to_owned());
    let explained =
        inspected.explain(asked.port, &asked.method, &asked.url, &asked.headers).map_err(refused)?;
    let Some(listener) = &explained.listener else { return Ok(None) };
    let told =
        |candidate: &Candidate| Some(told(candidate, offline::route(config, &candidate.route)?, places));
    let (decisions, refused) = decisions::of(config, inspected, &explained, asked).map_err(refused)?;
    Ok(Some(Answer {
        decisions,
        refused,
        gateway: gateway.to_string(),
        candidates: explained.candidates.iter().filter_map(told).collect(),
        taken: taken(config, &explained),
        listener: listener.rsplit('/').next().unwrap_or_default().to_owned(),
        host: explained.host,
        path: explained.path,
    }))
}

/// What the rule that takes it does with a request.
pub(crate) fn taken(config: &Config, explained: &Explained) -> Option<Taken> {
    explained.candidates.iter().find_map(|candidate| {
        let Verdict::Taken { backend_path } = &candidate.verdict else { return None };
        let route = offline::route(config, &candidate.route)?;
        Some(Taken {
            rule: format!("{} {}", Identity::text_of_resource(&candidate.route), words::rule(route)),
            policies: words::policies(route),
            does: words::action(route, backend_path.as_deref()),
        })
    })
}

impl Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)?;
        self.policies.iter().chain(&self.does).try_for_each(|line| write!(f, "; {line}"))
    }
}

fn told(candidate: &Candidate, route: &v1::Route, places: &Places<'_>) -> Told {
    let object = Identity::of_resource(&candidate.route);
    let object = object.map_or_else(|| candidate.route.clone(), |identity| places.named(&identity));
    Told {
        place: format!("{object} {} match {}", words::rule(route), candidate.index),
        asks: words::asked(route.matches.get(candidate.index)),
        verdict: words::verdict(&candidate.verdict),
    }
}

fn port(url: &Uri) -> Result<u16, RunError> {
    match (url.port_u16(), url.scheme_str()) {
        (Some(port), _) => Ok(port),
        (None, Some("http")) => Ok(80),
        (None, Some("https")) => Ok(443),
        _ => Err(RunError::Request("Write the whole URL, as http://shop.example.com/orders.".to_owned())),
    }
}
