//! Puts it together: find, parse, check, choose the job, merge, resolve.

use std::path::PathBuf;

use figment::value::{Dict, Tag, Value};

use crate::explain::{Explained, explain};
use crate::layers::{Layer, Merged, file_origin, join, line};
use crate::parse::{Format, Lines, SyntaxError};
use crate::raw::Raw;
use crate::resolve::{Resolver, default_state_dir};
use crate::search::{self, Found};
use crate::settings::Settings;
use crate::{Error, Problem, Request, check, environment, parse};

/// A configuration that can be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The file, absolute if the request's folder was.
    pub file: PathBuf,
    /// The names of all jobs in the file.
    pub jobs: Vec<String>,
    /// The settings of the chosen job.
    pub settings: Settings,
    /// What is odd but does no harm.
    pub warnings: Vec<String>,
    explained: Vec<Explained>,
}

impl Loaded {
    /// Every value that is set or has a default, with its source; secrets are hidden.
    pub fn explain(&self) -> &[Explained] {
        &self.explained
    }
}

/// Finds and reads the configuration that a request asks for.
///
/// # Errors
/// Each says what to mend. Of keys and values that cannot be, all are told at once ([`Error::Invalid`]).
pub fn load(request: &Request) -> Result<Loaded, Error> {
    let found = search::find(request)?;
    let (dict, lines) =
        parse::parse(&found.bytes, Format::of(&found.path)).map_err(|SyntaxError { line, message }| {
            Error::Syntax { path: found.shown.clone(), line, message }
        })?;

    let file = found.shown.display().to_string();
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    check::settings(&dict, "", &mut |path, message| {
        problems.push(Problem::new(file_origin(&file, line(&lines, path)), path, message));
    });
    let environment = environment::layers(request, &mut problems, &mut warnings);
    let overrides = environment::overrides(request, &mut problems);
    if !problems.is_empty() {
        return Err(invalid(problems, &lines));
    }

    let (jobs, chosen) = choose(request, &dict, &lines, &environment)?;
    let source = format!("file {file}");
    let (mut layers, job_path) = file_layers(&source, dict, chosen.as_deref());
    layers.insert(0, computed(request));
    layers.extend(environment);
    layers.extend(overrides);
    let merged = Merged::new(layers, file, lines, job_path);
    finish(request, &found, jobs, warnings, &merged)
}

/// Reads every job of the file, in its order; or only the one that the request names.
///
/// # Errors
/// As [`load`]; the first job that cannot be used.
pub fn load_all(request: &Request) -> Result<Vec<Loaded>, Error> {
    match load(request) {
        Err(Error::SeveralJobs { names }) => {
            let of_job = |name| load(&Request { job: Some(name), ..request.clone() });
            names.into_iter().map(of_job).collect()
        }
        loaded => Ok(vec![loaded?]),
    }
}

fn finish(
    request: &Request,
    found: &Found,
    jobs: Vec<String>,
    mut warnings: Vec<String>,
    merged: &Merged,
) -> Result<Loaded, Error> {
    let raw: Raw = Value::from(merged.tree.clone()).deserialize().map_err(|error| {
        // The check lets nothing through that does not fit, so this is a gap in it.
        let message = format!("this value does not fit ({})", error.kind);
        Error::Invalid(vec![Problem::new(&merged.file, error.path.join("."), message)])
    })?;
    let mut resolver = Resolver::new(request, found.folder());
    let settings = resolver.settings(raw);
    warnings.append(&mut resolver.warnings);
    let problems = resolver.problems;
    let Some(settings) = settings else {
        let problems =
            problems.into_iter().map(|(key, message)| Problem::new(merged.origin_of(&key), key, message));
        return Err(Error::Invalid(problems.collect()));
    };
    // A file with one job is one job, also if it or the environment named it.
    let jobs = if jobs.is_empty() { vec![settings.job.to_string()] } else { jobs };
    if let Some(name) = request.job.as_ref().filter(|name| !jobs.contains(name)) {
        return Err(Error::UnknownJob { name: name.clone(), names: jobs });
    }
    Ok(Loaded { file: found.path.clone(), jobs, settings, warnings, explained: explain(merged) })
}

/// In the order of the file.
fn invalid(mut problems: Vec<Problem>, lines: &Lines) -> Error {
    problems.sort_by_key(|problem| (problem.origin.starts_with("environment "), line(lines, &problem.key)));
    Error::Invalid(problems)
}

/// Defaults that depend on the machine.
pub(crate) fn computed(request: &Request) -> Layer {
    let host = s3backup_model::Name::lossy(&request.host_name).to_string();
    let state_dir = default_state_dir(request).map(|dir| dir.display().to_string());
    let values = [("host", Some(host)), ("state_dir", state_dir)];
    let dict = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    Layer::new("default", dict.collect())
}

/// The names of the `[job.NAME]` tables in the order of the file, and the one that is wanted. None if there are no such tables.
fn choose(
    request: &Request,
    dict: &Dict,
    lines: &Lines,
    environment: &[Layer],
) -> Result<(Vec<String>, Option<String>), Error> {
    let Some(Value::Dict(_, tables)) = dict.get("job") else { return Ok((Vec::new(), None)) };
    let mut names: Vec<String> = tables.keys().cloned().collect();
    names.sort_by_key(|name| line(lines, &join("job", name)));
    let variable = environment.iter().find_map(|layer| layer.dict().get("job")?.as_str());
    let wanted = request.job.as_deref().or(variable);
    let chosen = match (wanted, names.as_slice()) {
        (Some(name), _) if names.iter().any(|known| known == name) => name.to_owned(),
        (Some(name), _) => return Err(Error::UnknownJob { name: name.to_owned(), names }),
        (None, [one]) => one.clone(),
        (None, _) => return Err(Error::SeveralJobs { names }),
    };
    Ok((names, Some(chosen)))
}

/// The file's top level, and above it the table of the chosen job.
fn file_layers(source: &str, mut dict: Dict, chosen: Option<&str>) -> (Vec<Layer>, Option<String>) {
    let Some(name) = chosen else { return (vec![Layer::new(source, dict)], None) };
    let mut job = match dict.remove("job") {
        Some(Value::Dict(_, mut tables)) => {
            tables.remove(name).and_then(Value::into_dict).unwrap_or_default()
        }
        _ => Dict::new(),
    };
    job.insert("job".to_owned(), Value::String(Tag::Default, name.to_owned()));
    (vec![Layer::new(source, dict), Layer::new(source, job)], Some(format!("job.{name}")))
}
