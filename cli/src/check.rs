//! `gatehouse check`: what the controller and a dataplane would say of a folder or a cluster, and what neither says but its owner
//! should know, without starting anything.

mod certificates;
mod diff;
mod findings;
mod policies;
mod probes;
mod routes;

use std::{collections::BTreeMap, io::Write, mem, process::ExitCode};

use gatehouse_controller::{
    resources::ObjectKey,
    translate::{self, Config},
};
use gatehouse_proto::config::v1;
use serde_json::json;

use crate::{
    args::{CheckOptions, Output},
    development::add_classes,
    manifests::{Folder, Severity},
    offline::{self, Places},
    print::print,
    run::RunError,
};
use findings::{Code, Findings};

/// Exit status where warnings are the worst, or two folders differ.
const WARNED: u8 = 3;
/// Exit status where something is not used as it is written.
const WRONG: u8 = 4;

pub(crate) fn check(options: &CheckOptions) -> Result<ExitCode, RunError> {
    if let Some(then) = &options.diff {
        let now = offline::objects(options.folder.as_deref(), &options.cluster)?;
        let difference = diff::between(&now, &offline::folder(then)?);
        print(|out| match options.output {
            Output::Text => difference.write(out),
            Output::Json => writeln!(out, "{}", serde_json::to_string(&difference)?),
        })?;
        return Ok(if difference.is_none() { ExitCode::SUCCESS } else { ExitCode::from(WARNED) });
    }
    let folder = offline::objects(options.folder.as_deref(), &options.cluster)?;
    let findings = findings_of(&folder, options.certificate_days);
    mem::forget(folder);
    print(|out| match options.output {
        Output::Text => {
            findings.all().try_for_each(|(_, problem)| writeln!(out, "{problem}"))?;
            let [errors, warnings, notes] = findings.counts();
            writeln!(out, "{errors} errors, {warnings} warnings, {notes} notes")
        }
        Output::Json => {
            let all = findings.all().map(|(code, problem)| {
                json!({
                    "file": problem.file,
                    "line": problem.line,
                    "severity": problem.severity.as_str(),
                    "code": code.as_str(),
                    "message": problem.message,
                })
            });
            writeln!(out, "{}", serde_json::Value::Array(all.collect()))
        }
    })?;
    Ok(match findings.worst() {
        Some(Severity::Error) => ExitCode::from(WRONG),
        Some(Severity::Warning) => ExitCode::from(WARNED),
        Some(Severity::Note) | None => ExitCode::SUCCESS,
    })
}

fn findings_of(folder: &Folder, certificate_days: u16) -> Findings {
    let mut findings = Findings::default();
    let (mut resources, problems) = offline::resources(folder);
    findings.extend(Code::Manifest, folder.problems().cloned().chain(problems));
    add_classes(&mut resources);
    let translation = translate::translate(&resources, &offline::settings());
    let places = Places::of(folder);
    for (_, condition, problem) in places.told(&translation.statuses) {
        // Keys are fetched by who serves; here nobody has asked.
        if condition.reason != "KeysPending" {
            findings.add(Code::Status, problem);
        }
    }
    for config in translation.gateways.values() {
        let inspected = offline::inspect(config);
        for refused in inspected.refused() {
            findings.add(Code::Rejected, places.refused(&refused.name, &refused.reason));
        }
        routes::shadowed(&inspected, config, &places, &mut findings);
        mem::forget(inspected);
    }
    routes::unguarded(&translation.gateways, &places, &mut findings);
    policies::unused(&resources, &translation, &places, &mut findings);
    certificates::expiring(&translation.gateways, certificate_days, &places, &mut findings);
    // The process ends next: to take all of it apart before that would only take time.
    mem::forget((resources, translation));
    findings
}

type Configs = BTreeMap<ObjectKey, Config>;

/// Every route resource, whatever the Gateway.
fn all_routes(configs: &Configs) -> impl Iterator<Item = (&str, &v1::Route)> {
    configs.values().flatten().filter_map(|(name, kind)| match &**kind {
        v1::resource::Kind::Route(route) => Some((&**name, route)),
        _ => None,
    })
}
