//! `gatehouse convert`: the configuration of another gateway to manifests, with a report on each of its fields.
//!
//! Reading and converting are pure; this is the shell that reads files, writes a folder and chooses the exit status.

mod cluster;
mod forms;
mod ingress_nginx;
mod kong;
mod manifests;
mod names;
mod probes;
#[cfg(test)]
mod public;
mod report;
mod sample;
#[cfg(test)]
mod testing;
mod tree;
mod verify;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use serde_json::{Value, json};

use crate::{
    args::{ClusterOptions, ConvertCommand, ConvertOptions},
    cluster::Cluster,
    manifests::{folder, read::documents},
    print::print,
    run::RunError,
};
use manifests::Manifests;
use probes::Probe;
use report::{Counts, Entry, Origin, Report};
use tree::Source;

/// Exit status where something changes.
const CHANGED: u8 = 3;
/// Exit status where something is not converted.
const REFUSED: u8 = 4;

/// The folder of manifests within the one that is written.
const MANIFESTS: &str = "manifests";

/// What the user decides.
#[derive(Debug, Clone)]
struct Options {
    /// Of what has none by itself.
    namespace: String,
    /// Name of the Gateway.
    gateway: String,
    /// Plugins and annotations that routes may be served without.
    without: BTreeSet<String>,
    /// Paths are matched as they were, by expressions, where simpler ones would do for most.
    exact_paths: bool,
}

/// What came of it, besides the report.
#[derive(Debug)]
struct Converted {
    manifests: Manifests,
    probes: Vec<Probe>,
}

pub(crate) fn convert(command: &ConvertCommand) -> Result<ExitCode, RunError> {
    match command {
        ConvertCommand::Kong(options) => {
            let sources = read(options, kong::objects_of)?;
            from(&kong::ORIGIN, kong::convert, &sources, options, false)
        }
        ConvertCommand::IngressNginx { common, exact_paths } => {
            let sources = read(common, ingress_nginx::objects_of)?;
            from(&ingress_nginx::ORIGIN, ingress_nginx::convert, &sources, common, *exact_paths)
        }
        ConvertCommand::Verify(options) => verify::verify(options),
    }
}

/// The error is a sentence: what is read is no configuration of this origin.
type Convert = fn(&[Source], &Report, &Options) -> Result<Converted, String>;

fn from(
    origin: &Origin,
    convert: Convert,
    sources: &[Source],
    options: &ConvertOptions,
    exact_paths: bool,
) -> Result<ExitCode, RunError> {
    let report = Report::default();
    let decided = Options {
        namespace: options.namespace.clone(),
        gateway: options.gateway.clone().unwrap_or_else(|| origin.gateway.to_owned()),
        without: options.without.iter().cloned().collect(),
        exact_paths,
    };
    let converted = convert(sources, &report, &decided).map_err(RunError::Convert)?;
    let entries = report.entries(sources);
    let counts = Counts::of(&entries);
    let is_refused = counts.refused > 0 && !options.allow_refused;
    let is_strict = options.strict && counts.warning > 0;
    let manifests = (!is_refused && !is_strict).then_some(&converted.manifests);
    write(origin, options, manifests, &entries, &converted.probes)
        .map_err(|error| RunError::Convert(format!("{}: {error}", options.output.display())))?;
    let Counts { exact, warning, refused } = counts;
    let folder = options.output.display();
    print(|out| {
        writeln!(
            out,
            "{exact} fields exact, {warning} changed, {refused} not converted: see {folder}/REPORT.md"
        )?;
        if is_refused {
            writeln!(
                out,
                "No manifests are written: look at what is not converted, then say --allow-refused."
            )
        } else if is_strict {
            writeln!(out, "No manifests are written: something changes, and --strict asks for nothing to.")
        } else {
            Ok(())
        }
    })?;
    Ok(if counts.refused > 0 || is_strict {
        ExitCode::from(REFUSED)
    } else if counts.warning > 0 {
        ExitCode::from(CHANGED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Of a cluster, its objects that belong to the configuration.
type ObjectsOf = fn(&Cluster) -> Result<Vec<Value>, RunError>;

fn read(options: &ConvertOptions, objects_of: ObjectsOf) -> Result<Vec<Source>, RunError> {
    if options.cluster {
        let (context, namespaces) = (options.context.clone(), options.from_namespace.clone());
        let cluster = Cluster::of(&ClusterOptions { cluster: true, context, namespaces })?;
        return Ok(cluster::sources(objects_of(&cluster)?));
    }
    let mut sources = Vec::new();
    for path in files(&options.files)? {
        let file = path.display().to_string();
        let text =
            fs::read_to_string(&path).map_err(|error| RunError::Convert(format!("{file}: {error}")))?;
        for document in documents(&text) {
            let document = document.map_err(|unreadable| {
                RunError::Convert(format!("{file}:{}: {}", unreadable.line, unreadable.message))
            })?;
            for document in document.objects() {
                sources.push(Source { file: file.clone(), index: sources.len(), document });
            }
        }
    }
    if sources.is_empty() {
        return Err(RunError::Convert("there is nothing in the files that are given".into()));
    }
    Ok(sources)
}

/// Those that are given, and the YAML and JSON files of folders, in the order of their names.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, RunError> {
    let mut found = Vec::new();
    for path in given {
        if path.is_dir() {
            folder::list(path, &mut found)
                .map_err(|error| RunError::Convert(format!("{}: {error}", path.display())))?;
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// The report in any case. Manifests never take the place of others, which somebody may have mended by hand.
fn write(
    origin: &Origin,
    options: &ConvertOptions,
    manifests: Option<&Manifests>,
    entries: &[Entry],
    probes: &[Probe],
) -> io::Result<()> {
    let folder = &options.output;
    let mut inputs: Vec<String> = options.files.iter().map(|path| path.display().to_string()).collect();
    if options.cluster {
        let context = options.context.as_ref().map_or_else(String::new, |name| format!(" of context {name}"));
        inputs.push(format!("the cluster{context}"));
    }
    let place = folder.join(MANIFESTS);
    if manifests.is_some() && place.exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a folder `manifests` in it already: take it away, or write elsewhere",
        ));
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("REPORT.md"), report::markdown(origin, &inputs, entries))?;
    let json = json!({"format": 1, "inputs": inputs, "counts": Counts::of(entries), "entries": entries});
    fs::write(folder.join("report.json"), format!("{json:#}\n"))?;
    let probes = serde_json::to_string_pretty(probes)?;
    fs::write(folder.join("probes.json"), format!("{probes}\n"))?;
    manifests.map_or(Ok(()), |manifests| manifests.write(&place))
}
