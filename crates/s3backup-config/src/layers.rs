//! Lays defaults, file, environment and flags over each other, and remembers where each value came from.

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use crate::parse::Lines;
use crate::schema::{Key, Kind, OPTIONAL, SETTINGS};

/// Settings of one source.
pub(crate) struct Layer {
    /// As a person reads it: `file backup.toml`.
    source: String,
    dict: Dict,
}

impl Layer {
    pub(crate) fn new(source: impl Into<String>, dict: Dict) -> Self {
        Self { source: source.into(), dict }
    }

    pub(crate) fn dict(&self) -> &Dict {
        &self.dict
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

/// What the layers come to.
pub(crate) struct Merged {
    figment: Figment,
    pub(crate) tree: Dict,
    /// The file's name, for messages.
    pub(crate) file: String,
    lines: Lines,
    /// The path of the chosen job's table in the file, `job.NAME`, if it has one.
    job_path: Option<String>,
}

impl Merged {
    /// Merges layers, the strongest last: tables merge, all else is replaced.
    pub(crate) fn new(layers: Vec<Layer>, file: String, lines: Lines, job_path: Option<String>) -> Self {
        let mut base = defaults(SETTINGS);
        for name in OPTIONAL {
            if !layers.iter().any(|layer| layer.dict.contains_key(name)) {
                base.remove(name);
            }
        }
        let figment = layers.into_iter().fold(Figment::from(Layer::new("default", base)), Figment::merge);
        let mut tree =
            figment.data().ok().and_then(|mut all| all.remove(&Profile::Default)).unwrap_or_default();
        complete(&mut tree);
        Self { figment, tree, file, lines, job_path }
    }

    /// The source of a value.
    pub(crate) fn source_of(&self, tag: Tag) -> String {
        self.figment.get_metadata(tag).map_or_else(|| "default".to_owned(), |found| found.name.to_string())
    }

    /// Where a problem with the value at `path` is to be mended: its source, or the table in which it is missing.
    pub(crate) fn origin_of(&self, path: &str) -> String {
        let source = find(&self.tree, path).map(|value| self.source_of(value.tag()));
        match source {
            Some(source) if source.starts_with("environment ") || source.starts_with("flag ") => source,
            _ => file_origin(&self.file, self.line_of(path)),
        }
    }

    fn line_of(&self, path: &str) -> Option<usize> {
        let of_job = self.job_path.as_ref().and_then(|job| line(&self.lines, &join(job, path)));
        // A table of the job is not nearer than the key itself at the top level.
        of_job.or_else(|| line(&self.lines, path)).or_else(|| {
            let parent = path.rfind(['.', '[']).and_then(|end| path.get(..end))?;
            self.line_of(parent)
        })
    }
}

/// `backup.toml, line 3`.
pub(crate) fn file_origin(file: &str, line: Option<usize>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}, line {line}"))
}

pub(crate) fn line(lines: &Lines, path: &str) -> Option<usize> {
    lines.get(path).copied()
}

/// The path of a key in a table.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Steps down `a.b[0].c`.
fn find<'d>(dict: &'d Dict, path: &str) -> Option<&'d Value> {
    let mut segments = path.split(['.', '[']);
    let mut value = dict.get(segments.next()?)?;
    for segment in segments {
        value = match value {
            Value::Dict(_, dict) => dict.get(segment)?,
            Value::Array(_, items) => items.get(segment.trim_end_matches(']').parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

fn defaults(keys: &[Key]) -> Dict {
    let default = |key: &Key| match (key.kind, key.default) {
        (Kind::Table(inner), _) => Some(Value::Dict(Tag::Default, defaults(inner))),
        (kind, Some(text)) => Some(kind.read(text)),
        _ => None,
    };
    keys.iter().filter_map(|key| Some((key.name.to_owned(), default(key)?))).collect()
}

/// Puts the defaults of steps and sources into each of them; merging cannot, as lists are replaced whole.
fn complete(tree: &mut Dict) {
    for key in SETTINGS {
        if let (Kind::Tables(inner), Some(Value::Array(_, items))) = (key.kind, tree.get_mut(key.name)) {
            for item in items {
                if let Value::Dict(_, dict) = item {
                    for (name, value) in defaults(inner) {
                        dict.entry(name).or_insert(value);
                    }
                }
            }
        }
    }
}
