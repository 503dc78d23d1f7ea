//! The state that the bucket tells of: snapshot and manifests, folded into a catalog.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use s3backup_catalog::{FileRow, FileState, SourceId, Telling};
use s3backup_model::manifest::{Header, Line, Op, SCHEMA, SnapshotIndex};
use s3backup_model::{Key, ManifestRef, RunId, RunReport, RunSummary, key};
use s3backup_transfer::{Bucket, crc64nvme_base64};
use serde::de::DeserializeOwned;

use crate::Error;
use crate::backup::Job;
use crate::memory::Memory;

/// The largest control object that is read: more than ten times what this program writes.
const MAX_OBJECT_BYTES: u64 = 64 << 20;

/// The longest line of a manifest, with a key of 1,024 bytes and a path of 4,096, all escaped.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Rows that are written at a time.
const ROWS: usize = 1024;

/// What was read from the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Runs that were looked into.
    pub(crate) runs: u64,
    /// Lines that were taken in.
    pub(crate) lines: u64,
    /// Whether there was anything at all.
    pub(crate) is_any: bool,
}

/// Which part of what is in the bucket is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    /// Only runs behind this one; the state up to it is in the catalog.
    pub(crate) after: Option<RunId>,
    /// Only runs up to this one.
    pub(crate) until: Option<RunId>,
}

/// Folds what the bucket tells of its state into the catalog: the newest snapshot, and the manifests behind it. What the
/// catalog has of a later run stays.
///
/// # Errors
/// A manifest that is named in a report and is missing or damaged is [`Error::Manifest`]: a state without it would be a
/// lie. Dropping the future leaves rows that are true and not all of them.
pub(crate) async fn import(
    job: &Job,
    bucket: &Bucket,
    memory: &Memory,
    span: &Span,
) -> Result<Imported, Error> {
    let mut imported = Imported::default();
    let mut after = span.after.clone();
    if after.is_none()
        && let Some(index) = newest_snapshot(job, bucket, span.until.as_ref()).await?
    {
        for segment in &index.segments {
            imported.lines += fold(job, bucket, memory, &segment.segment.key, Some(&segment.segment)).await?;
        }
        imported.is_any = true;
        after = Some(index.run_id);
    }
    // Also of runs that have a report and no manifest: where the report names one, it is missing.
    let mut runs = runs_with(job, bucket, "manifests/").await?;
    runs.extend(runs_with_report(job, bucket).await?);
    for run in runs {
        let is_wanted = after.as_ref().is_none_or(|after| run > *after)
            && span.until.as_ref().is_none_or(|until| run <= *until);
        if is_wanted {
            imported.lines += fold_run(job, bucket, memory, &run).await?;
            imported.runs += 1;
            imported.is_any = true;
        }
    }
    Ok(imported)
}

/// The report of a run, if it ended.
pub(crate) async fn report_of(job: &Job, bucket: &Bucket, run: &RunId) -> Result<Option<RunReport>, Error> {
    let key = control_key(job, &format!("runs/{run}.json"))?;
    let Some(bytes) = Box::pin(bucket.read(&key, MAX_OBJECT_BYTES)).await.map_err(Error::Transfer)? else {
        return Ok(None);
    };
    let report = serde_json::from_slice(&bytes);
    report.map(Some).map_err(|error| Error::Manifest { key, why: error.to_string() })
}

/// Runs of which something lies in a folder of the control data, oldest first. Bounded by the number of runs since the last
/// snapshot that was pruned to, not by the number of files.
pub(crate) async fn runs_with(job: &Job, bucket: &Bucket, folder: &str) -> Result<BTreeSet<RunId>, Error> {
    let prefix = control_key(job, folder)?;
    let mut runs = BTreeSet::new();
    let mut page = None;
    loop {
        let listing = Box::pin(bucket.list_folder(prefix.as_str(), page.as_deref()));
        let listed = listing.await.map_err(Error::Transfer)?;
        let names = listed.folders.iter().filter_map(|folder| folder.strip_prefix(prefix.as_str()));
        runs.extend(names.filter_map(|name| RunId::parse(name.trim_end_matches('/'))));
        page = listed.next;
        if page.is_none() {
            return Ok(runs);
        }
    }
}

/// Runs that ended.
async fn runs_with_report(job: &Job, bucket: &Bucket) -> Result<BTreeSet<RunId>, Error> {
    let prefix = control_key(job, "runs/")?;
    let mut runs = BTreeSet::new();
    let mut page = None;
    loop {
        let listing = Box::pin(bucket.list(prefix.as_str(), page.as_deref()));
        let listed = listing.await.map_err(Error::Transfer)?;
        let names = listed.objects.iter().filter_map(|object| object.key.strip_prefix(prefix.as_str()));
        runs.extend(names.filter_map(|name| RunId::parse(name.strip_suffix(".json")?)));
        page = listed.next;
        if page.is_none() {
            return Ok(runs);
        }
    }
}

/// The newest snapshot that is whole.
pub(crate) async fn newest_snapshot(
    job: &Job,
    bucket: &Bucket,
    until: Option<&RunId>,
) -> Result<Option<SnapshotIndex>, Error> {
    for run in runs_with(job, bucket, "snapshots/").await?.into_iter().rev() {
        if until.is_none_or(|until| run <= *until)
            && let Some(index) = snapshot_of(job, bucket, &run).await?
        {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// The snapshot after a run, if it is whole.
pub(crate) async fn snapshot_of(
    job: &Job,
    bucket: &Bucket,
    run: &RunId,
) -> Result<Option<SnapshotIndex>, Error> {
    let key = control_key(job, &format!("snapshots/{run}/index.json"))?;
    let read = Box::pin(bucket.read(&key, MAX_OBJECT_BYTES)).await.map_err(Error::Transfer)?;
    let Some(bytes) = read else { return Ok(None) };
    let index: SnapshotIndex = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Manifest { key: key.clone(), why: error.to_string() })?;
    check_reader(&key, index.min_reader)?;
    Ok(Some(index))
}

/// Takes in the manifest of one run.
async fn fold_run(job: &Job, bucket: &Bucket, memory: &Memory, run: &RunId) -> Result<u64, Error> {
    let mut lines = 0;
    let (report, segments) = segments_of(job, bucket, run).await?;
    for (key, expected) in &segments {
        lines += fold(job, bucket, memory, key, expected.as_ref()).await?;
    }
    if let Some(report) = report {
        let summary = RunSummary::from(&report);
        let destination = memory.destination;
        memory.with(move |catalog| catalog.end_run(destination, &summary, &Telling::default())).await?;
    }
    Ok(lines)
}

/// Takes in the segments that a report names, and nothing else of it; gives the number of their lines.
pub(crate) async fn fold_report(
    job: &Job,
    bucket: &Bucket,
    memory: &Memory,
    report: &RunReport,
) -> Result<u64, Error> {
    let mut lines = 0;
    for segment in &report.manifests {
        lines += fold(job, bucket, memory, &segment.key, Some(segment)).await?;
    }
    Ok(lines)
}

/// The segments of a run's manifest: those that its report names, or, of a run that was killed, those that are there.
pub(crate) async fn segments_of(
    job: &Job,
    bucket: &Bucket,
    run: &RunId,
) -> Result<(Option<RunReport>, Vec<(Key, Option<ManifestRef>)>), Error> {
    if let Some(report) = report_of(job, bucket, run).await? {
        let named = report.manifests.iter().map(|segment| (segment.key.clone(), Some(segment.clone())));
        let named = named.collect();
        return Ok((Some(report), named));
    }
    let mut found = Vec::new();
    for number in 0.. {
        let key = control_key(job, &format!("manifests/{run}/{number}.jsonl.zst"))?;
        let head = Box::pin(bucket.head(&key)).await.map_err(Error::Transfer)?;
        if head.is_none() {
            break;
        }
        found.push((key, None));
    }
    Ok((None, found))
}

/// Takes in one segment.
pub(crate) async fn fold(
    job: &Job,
    bucket: &Bucket,
    memory: &Memory,
    key: &Key,
    expected: Option<&ManifestRef>,
) -> Result<u64, Error> {
    let (memory, naming) = (memory.clone(), std::sync::Arc::clone(&job.naming));
    let roots: Vec<String> = job.sources.iter().map(|source| shown(&source.path)).collect();
    let mut elsewhere = None;
    let take = move |listed_by: &RunId, lines: Vec<Line>| {
        let mut places = Places { memory: &memory, naming: &naming, roots: &roots, elsewhere };
        let rows = lines.into_iter().map(|line| {
            let run = line.run.clone().unwrap_or_else(|| listed_by.clone());
            places.row(line, run)
        });
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        elsewhere = places.elsewhere;
        take_in(&memory, listed_by, rows)
    };
    read_segment(bucket, key, expected, take).await
}

/// Reads one segment and hands over its lines, some at a time, with the run that its header names; gives their number.
pub(crate) async fn read_segment(
    bucket: &Bucket,
    key: &Key,
    expected: Option<&ManifestRef>,
    mut take: impl FnMut(&RunId, Vec<Line>) -> Result<(), Error> + Send + 'static,
) -> Result<u64, Error> {
    let broken = |why: &str| Error::Manifest { key: key.clone(), why: why.to_owned() };
    let read = Box::pin(bucket.read(key, MAX_OBJECT_BYTES)).await.map_err(Error::Transfer)?;
    let bytes = read.ok_or_else(|| broken("it is missing"))?;
    if expected.is_some_and(|expected| crc64nvme_base64(&bytes) != expected.crc64nvme) {
        return Err(broken("its bytes are not those that were stored"));
    }
    let key = key.clone();
    let expected = expected.map(|segment| segment.lines);
    let reading = move || -> Result<u64, Error> {
        let broken = |why: String| Error::Manifest { key: key.clone(), why };
        let mut lines = Lines::open(&bytes).map_err(broken)?;
        check_reader(&key, lines.header.min_reader)?;
        let mut count = 0;
        let mut page = Vec::with_capacity(ROWS);
        while let Some(line) = lines.next().map_err(broken)? {
            count += 1;
            page.push(line);
            if page.len() == ROWS {
                take(&lines.header.run_id, std::mem::replace(&mut page, Vec::with_capacity(ROWS)))?;
            }
        }
        take(&lines.header.run_id, page)?;
        match expected {
            Some(expected) if expected != count => {
                Err(broken(format!("it has {count} lines where the report says {expected}")))
            }
            _ => Ok(count),
        }
    };
    crate::memory::on_blocking_thread(reading).await?
}

/// Writes rows unless something later is known. What counts is the run that listed them: the one that put the object is
/// often long ago.
fn take_in(memory: &Memory, listed_by: &RunId, rows: Vec<FileRow>) -> Result<(), Error> {
    let mut catalog = memory.here();
    let mut newer: HashMap<(SourceId, Vec<u8>), FileRow> = HashMap::with_capacity(rows.len());
    for mut row in rows {
        let place = (row.source, row.path.clone());
        let old = match newer.get(&place) {
            Some(old) => Some(old.clone()),
            None => catalog.file(row.source, &row.path)?,
        };
        if let Some(old) = old {
            // What is gone under another key is the old object of a file that moved.
            if old.run > *listed_by || (row.state == FileState::Gone && old.key != row.key) {
                continue;
            }
            // Of the same object, what the file system said of its file holds where it says the same.
            if old.etag == row.etag && old.size == row.size && old.mtime_ns == row.mtime_ns {
                row.hints = old.hints;
            }
        }
        newer.insert(place, row);
    }
    let newer: Vec<FileRow> = newer.into_values().collect();
    Ok(catalog.import_files(&newer)?)
}

/// Finds out which file of which source a line is about.
struct Places<'a> {
    memory: &'a Memory,
    naming: &'a crate::plan::Naming,
    roots: &'a [String],
    /// The source of what no configured one has.
    elsewhere: Option<SourceId>,
}

impl Places<'_> {
    fn row(&mut self, line: Line, run: RunId) -> Result<FileRow, Error> {
        let (source, path) = self.find(&line)?;
        Ok(FileRow {
            source,
            path,
            size: line.size,
            mtime_ns: line.mtime_ns,
            mode: line.mode,
            hints: None,
            state: match line.op {
                Op::Gone => FileState::Gone,
                Op::RemovedByPrune => FileState::LocallyPruned,
                _ => FileState::Present,
            },
            key: line.key,
            crc64nvme: line.crc64nvme,
            stored_size: line.stored_size,
            stored_checksum: line.stored_checksum,
            etag: line.etag,
            version_id: line.version_id,
            encoding: line.encoding,
            run,
        })
    }

    fn find(&mut self, line: &Line) -> Result<(SourceId, Vec<u8>), Error> {
        let mut candidates = self.naming.files_of(&line.key);
        // No file has such a name: somebody made this key up. It is kept as one of no source, so that it can be told of.
        candidates.retain(|(_, path)| !path.contains(&0));
        let is_path = |(place, path): &&(usize, Vec<u8>)| {
            let root = self.roots.get(*place).map_or("", String::as_str);
            let below = line.path.strip_prefix(root).and_then(|below| below.strip_prefix('/'));
            below.is_some_and(|below| below == key::escape(path))
        };
        // A directory that was moved since has another path and the same keys.
        let found = candidates.iter().find(is_path).or_else(|| candidates.last());
        if let Some((source, path)) =
            found.and_then(|(place, path)| Some((*self.memory.sources.get(*place)?, path.clone())))
        {
            return Ok((source, path));
        }
        let source = match self.elsewhere {
            Some(source) => source,
            None => self.memory.here().source(self.memory.destination, ELSEWHERE, "")?,
        };
        self.elsewhere = Some(source);
        Ok((source, line.key.as_str().as_bytes().to_vec()))
    }
}

/// What is in the state and of no configured source. No prefix can be this: it has an unknown placeholder.
const ELSEWHERE: &str = "{elsewhere}";

/// The manifest line of a row. `root` is the directory of its source, where that is configured.
pub(crate) fn line_of_row(op: Op, row: &FileRow, root: Option<&Path>) -> Line {
    Line {
        op,
        path: path_of_row(row, root),
        key: row.key.clone(),
        size: row.size,
        mtime_ns: row.mtime_ns,
        mode: row.mode,
        crc64nvme: row.crc64nvme.clone(),
        stored_size: row.stored_size,
        stored_checksum: row.stored_checksum.clone(),
        etag: row.etag.clone(),
        version_id: row.version_id.clone(),
        encoding: row.encoding.clone(),
        run: Some(row.run.clone()),
    }
}

/// The local path of a row, escaped as keys are.
pub(crate) fn path_of_row(row: &FileRow, root: Option<&Path>) -> String {
    let name = key::escape(&row.path);
    match root {
        Some(root) => format!("{}/{name}", shown(root).trim_end_matches('/')),
        None => name,
    }
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    key::escape(path.as_os_str().as_bytes())
}

/// The key of something that is of no job alone.
pub(crate) fn shared_key(job: &Job, name: &str) -> Result<Key, Error> {
    job.naming.shared_key(name).map_err(|error| Error::invalid("[destination] prefix", error.to_string()))
}

pub(crate) fn control_key(job: &Job, name: &str) -> Result<Key, Error> {
    job.naming.control_key(name).map_err(|error| Error::invalid("[destination] prefix", error.to_string()))
}

pub(crate) fn check_reader(key: &Key, min_reader: u32) -> Result<(), Error> {
    if min_reader > SCHEMA {
        let why = format!(
            "it was written by a newer version (it needs {min_reader}, this one reads {SCHEMA}): update s3backup"
        );
        return Err(Error::Manifest { key: key.clone(), why });
    }
    Ok(())
}

/// The lines of a segment, read one after the other: a segment may be made to hold more than fits in memory.
pub(crate) struct Lines<'a> {
    pub(crate) header: Header,
    reader: BufReader<zstd::stream::read::Decoder<'a, BufReader<&'a [u8]>>>,
    buffer: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, String> {
        let decoder = zstd::stream::read::Decoder::new(bytes).map_err(|error| error.to_string())?;
        let mut reader = BufReader::new(decoder);
        let mut buffer = Vec::new();
        read_line(&mut reader, &mut buffer)?;
        let header = serde_json::from_slice(&buffer).map_err(|error| format!("its header: {error}"))?;
        Ok(Self { header, reader, buffer })
    }

    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        if !read_line(&mut self.reader, &mut self.buffer)? {
            return Ok(None);
        }
        serde_json::from_slice(&self.buffer).map(Some).map_err(|error| error.to_string())
    }
}

fn read_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<bool, String> {
    buffer.clear();
    let read = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', buffer);
    let read = read.map_err(|error| error.to_string())?;
    if read as u64 == MAX_LINE_BYTES && buffer.last() != Some(&b'\n') {
        return Err("a line is too long".to_owned());
    }
    Ok(read > 0)
}
