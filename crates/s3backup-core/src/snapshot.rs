//! Snapshots: the whole state in the bucket, so that nobody has to fold years of manifests.

use s3backup_catalog::{Catalog, Error as CatalogError, FileState};
use s3backup_model::manifest::{Op, SCHEMA, SnapshotIndex, SnapshotSegment};
use s3backup_model::{Key, ManifestRef, RunId, Tally};
use s3backup_transfer::crc64nvme_base64;

use crate::Error;
use crate::backup::Job;
use crate::memory::Memory;
use crate::record::Shelf;
use crate::segment::{Finished, Segment};
use crate::state::line_of_row;

/// After so many runs that changed something, a snapshot is made.
pub(crate) const EVERY: u64 = 30;

/// Rows that are read at a time.
const PAGE: usize = 1024;

/// Lines in a segment of a snapshot.
const MAX_LINES: u64 = s3backup_model::manifest::MAX_SEGMENT_LINES;

fn counter(label: &str) -> String {
    format!("runs_since_snapshot:{label}")
}

/// Counts runs that a snapshot would spare whoever reads the state back; says whether one is due.
pub(crate) fn count_runs(catalog: &Catalog, label: &str, more: u64) -> Result<bool, CatalogError> {
    let before = catalog.setting(&counter(label))?.and_then(|text| text.parse::<u64>().ok());
    let count = before.unwrap_or_default().saturating_add(more);
    if more > 0 {
        catalog.set_setting(&counter(label), &count.to_string())?;
    }
    Ok(count >= EVERY)
}

/// A snapshot was stored.
pub(crate) fn count_anew(catalog: &Catalog, label: &str) -> Result<(), CatalogError> {
    catalog.set_setting(&counter(label), "0")
}

/// Writes the state of the catalog as the snapshot after `run`. The index comes last: a snapshot without it is none.
pub(crate) async fn write(job: &Job, shelf: &Shelf<'_>, memory: &Memory, run: &RunId) -> Result<(), Error> {
    let mut writer = Writer { shelf, run, segments: Vec::new(), open: None, total: Tally::default() };
    let destination = memory.destination;
    let mut after: Option<Key> = None;
    loop {
        let from = after.clone();
        let rows = memory.with(move |catalog| catalog.state_by_key(destination, from.as_ref(), PAGE)).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.key.clone());
        for row in &rows {
            let op = if row.state == FileState::LocallyPruned { Op::RemovedByPrune } else { Op::Put };
            let root = memory.place_of(row.source).and_then(|place| job.sources.get(place));
            writer.push(&line_of_row(op, row, root.map(|source| source.path.as_path()))).await?;
        }
    }
    writer.finish().await
}

struct Writer<'a> {
    shelf: &'a Shelf<'a>,
    run: &'a RunId,
    segments: Vec<SnapshotSegment>,
    /// The segment that is written, with its first and its last key.
    open: Option<(Segment, Key, Key)>,
    total: Tally,
}

impl Writer<'_> {
    async fn push(&mut self, line: &s3backup_model::manifest::Line) -> Result<(), Error> {
        let made = |cause| Error::Segment { cause };
        self.total.add(line.size);
        let (mut segment, first) = if let Some((segment, first, _)) = self.open.take() {
            (segment, first)
        } else {
            (Segment::start(self.run, self.segments.len() as u64).map_err(made)?, line.key.clone())
        };
        segment.push(line).map_err(made)?;
        if segment.is_full(MAX_LINES) {
            self.store(segment.finish().map_err(made)?, first, line.key.clone()).await
        } else {
            self.open = Some((segment, first, line.key.clone()));
            Ok(())
        }
    }

    async fn store(&mut self, segment: Finished, first_key: Key, last_key: Key) -> Result<(), Error> {
        let name = format!("snapshots/{}/{}.jsonl.zst", self.run, segment.number);
        let crc64nvme = crc64nvme_base64(&segment.bytes);
        let key = self.shelf.store(&name, segment.bytes).await.map_err(Error::NotStored)?;
        let segment = ManifestRef { key, lines: segment.lines, crc64nvme };
        self.segments.push(SnapshotSegment { segment, first_key, last_key });
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Error> {
        if let Some((segment, first, last)) = self.open.take() {
            let segment = segment.finish().map_err(|cause| Error::Segment { cause })?;
            self.store(segment, first, last).await?;
        }
        let index = SnapshotIndex {
            schema: SCHEMA,
            min_reader: SCHEMA,
            run_id: self.run.clone(),
            total: self.total,
            segments: self.segments,
        };
        let bytes = serde_json::to_vec(&index).map_err(|error| Error::Segment { cause: error.into() })?;
        let name = format!("snapshots/{}/index.json", self.run);
        self.shelf.store(&name, bytes.into()).await.map(|_| ()).map_err(Error::NotStored)
    }
}
