//! `gatehouse explain`: which rule of a folder takes a request, why the others don't, and what happens to it then.

mod words;

use std::{io::Write, process::ExitCode};

use gatehouse_controller::{
    resources::ObjectKey,
    translate::{self, Config},
};
use gatehouse_dataplane::inspect::{Candidate, Verdict};
use gatehouse_proto::config::v1::{self, resource::Kind};
use http::{HeaderMap, Method, Uri};
use serde::Serialize;

use crate::{
    args::{ExplainOptions, Output},
    development::{Certificates, add_classes},
    manifests::Identity,
    offline::{self, Places},
    run::RunError,
};

pub(crate) use words::rule;

/// Exit status where no rule takes the request.
const UNTAKEN: u8 = 3;

/// The request.
struct Asked<'a> {
    port: u16,
    method: &'a Method,
    url: &'a Uri,
    headers: HeaderMap,
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

#[derive(Debug, Serialize)]
struct Taken {
    rule: String,
    /// In the order that they decide.
    policies: Vec<String>,
    does: Vec<String>,
}

pub(crate) fn explain(options: &ExplainOptions) -> Result<ExitCode, RunError> {
    let folder = offline::folder(&options.folder)?;
    let (mut resources, _) = offline::resources(&folder);
    add_classes(&mut resources);
    let settings = offline::settings();
    let implied = translate::implied_gateways(&resources, &settings);
    // What `run` would serve with.
    Certificates::default().add_missing(&mut resources, &implied, |_| false);
    let translation = translate::translate(&resources, &settings);
    let places = Places::of(&folder);
    let headers = options.headers.iter().map(|header| (header.name.clone(), header.value.clone()));
    let asked = Asked {
        port: port(&options.url)?,
        method: &options.method,
        url: &options.url,
        headers: headers.collect(),
    };
    let mut answers = Vec::new();
    for (gateway, config) in &translation.gateways {
        answers.extend(answer(gateway, config, &asked, &places)?);
    }
    let mut out = std::io::stdout().lock();
    // Whoever asked for it may have gone.
    let _ = match options.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string(&answers).unwrap_or_default()),
        Output::Text if answers.is_empty() => writeln!(out, "no listener of a Gateway takes {}", options.url),
        Output::Text => answers.iter().try_for_each(|answer| words::write(&mut out, answer)),
    };
    let is_taken = answers.iter().any(|answer| answer.taken.is_some());
    Ok(if is_taken { ExitCode::SUCCESS } else { ExitCode::from(UNTAKEN) })
}

/// `None`: the Gateway has no listener for it.
fn answer(
    gateway: &ObjectKey,
    config: &Config,
    asked: &Asked<'_>,
    places: &Places<'_>,
) -> Result<Option<Answer>, RunError> {
    let explained = offline::inspect(config)
        .explain(asked.port, asked.method, asked.url, &asked.headers)
        .map_err(|reason| RunError::Request(reason.detail().to_owned()))?;
    let Some(listener) = explained.listener else { return Ok(None) };
    let (mut candidates, mut taken) = (Vec::new(), None);
    for candidate in &explained.candidates {
        let Some(Kind::Route(route)) = config.get(&*candidate.route).map(|kind| &**kind) else { continue };
        if let Verdict::Taken { backend_path } = &candidate.verdict {
            taken = Some(Taken {
                rule: format!("{} {}", Identity::text_of_resource(&candidate.route), words::rule(route)),
                policies: words::policies(route),
                does: words::action(route, backend_path.as_deref()),
            });
        }
        candidates.push(told(candidate, route, places));
    }
    Ok(Some(Answer {
        gateway: gateway.to_string(),
        listener: listener.rsplit('/').next().unwrap_or_default().to_owned(),
        host: explained.host,
        path: explained.path,
        candidates,
        taken,
    }))
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
