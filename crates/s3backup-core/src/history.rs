//! What earlier runs of this job and host left in the bucket.

use std::collections::HashSet;

use s3backup_model::{Key, RunReport, SourceReport};
use s3backup_transfer::{Bucket, Error};

use crate::plan::Naming;

/// How many earlier runs that say something about a source are looked at: a month of daily ones.
const RUNS: usize = 31;

/// How many reports are read at most, those of runs that ended before they looked at the source included.
const MAX_REPORTS: usize = 400;

/// Largest report that is read. One with 1,000 failures has a few hundred KiB.
const MAX_REPORT_BYTES: u64 = 8 << 20;

/// Which of the `empty` sources had files as far as the last runs know. Costs a listing and mostly one read, so it is
/// asked only when a source is empty.
pub(crate) async fn had_files(
    bucket: &Bucket,
    naming: &Naming,
    sources: &[SourceReport],
    empty: &[usize],
) -> Result<HashSet<usize>, Error> {
    let mut had_files = HashSet::new();
    let mut open: Vec<Question> = empty.iter().map(|&place| Question::new(sources, place)).collect();
    for key in newest_reports(bucket, naming).await? {
        if open.is_empty() {
            break;
        }
        let Ok(key) = Key::new(key) else { continue };
        let bytes = match bucket.read(&key, MAX_REPORT_BYTES).await {
            Ok(Some(bytes)) => bytes,
            // Deleted since it was listed, or too large to be a report.
            Ok(None) | Err(Error::BadRequest { .. }) => continue,
            Err(error) => return Err(error),
        };
        // What cannot be read is of a newer version or not ours; the others still tell.
        let Ok(report) = serde_json::from_slice::<RunReport>(&bytes) else { continue };
        open.retain_mut(|question| match question.ask(&report.sources) {
            Some(true) => {
                had_files.insert(question.place);
                false
            }
            Some(false) => false,
            None => true,
        });
    }
    Ok(had_files)
}

/// Keys of the newest reports, newest first.
async fn newest_reports(bucket: &Bucket, naming: &Naming) -> Result<Vec<String>, Error> {
    let mut newest: Vec<String> = Vec::new();
    let Ok(folder) = naming.control_key("runs/") else { return Ok(newest) };
    let mut page = None;
    loop {
        let listed = bucket.list(folder.as_str(), page.as_deref()).await?;
        newest.extend(listed.objects.into_iter().map(|(key, _)| key));
        // Run ids sort by time; not every server lists in that order.
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.truncate(MAX_REPORTS);
        page = listed.next;
        if page.is_none() {
            return Ok(newest);
        }
    }
}

/// Whether a source ever had files, while it is not answered.
struct Question<'a> {
    place: usize,
    path: &'a str,
    /// How many sources of the same path come before it: one directory may be several sources, with other files each.
    nth: usize,
    /// Runs that looked and knew of no files.
    denials: usize,
}

impl<'a> Question<'a> {
    fn new(sources: &'a [SourceReport], place: usize) -> Self {
        let path = sources.get(place).map_or("", |source| tidy(&source.path));
        let nth = sources.iter().take(place).filter(|source| tidy(&source.path) == path).count();
        Self { place, path, nth, denials: 0 }
    }

    /// What the next older run knows; `None` when an older one must be asked.
    fn ask(&mut self, sources: &[SourceReport]) -> Option<bool> {
        let source = sources.iter().filter(|source| tidy(&source.path) == self.path).nth(self.nth);
        match source {
            Some(source) if source.had_files || source.seen > 0 => return Some(true),
            // It ended before it could know.
            Some(source) if !source.walked => {}
            _ => self.denials += 1,
        }
        (self.denials >= RUNS).then_some(false)
    }
}

/// `/data/` is `/data`.
fn tidy(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        tidy => tidy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, seen: u64, walked: bool, had_files: bool) -> SourceReport {
        let found = s3backup_model::Tally::default();
        SourceReport { path: path.to_owned(), seen, found, walked, had_files }
    }

    #[test]
    fn a_run_that_saw_or_knew_of_files_is_enough() {
        let now = [source("/data/", 0, true, false)];
        for (earlier, answer) in [
            (source("/data", 1, false, false), Some(true)),
            (source("/data//", 0, true, true), Some(true)),
            (source("/data", 0, true, false), None),
            (source("/data2", 1, true, true), None),
            (source("/", 1, true, true), None),
        ] {
            assert_eq!(Question::new(&now, 0).ask(std::slice::from_ref(&earlier)), answer, "{earlier:?}");
        }
    }

    #[test]
    fn runs_that_did_not_look_do_not_count() {
        let now = [source("/data", 0, true, false)];
        let mut question = Question::new(&now, 0);
        for _ in 0..100 {
            assert_eq!(question.ask(&[source("/data", 0, false, false)]), None);
        }
        for _ in 1..RUNS {
            assert_eq!(question.ask(&[source("/data", 0, true, false)]), None);
        }
        assert_eq!(question.ask(&[]), Some(false));
    }

    #[test]
    fn sources_of_one_directory_are_told_apart() {
        let now = [source("/data", 5, true, true), source("/data", 0, true, false)];
        assert_eq!(Question::new(&now, 1).ask(&now), None);
        let earlier = [source("/data", 5, true, true), source("/data", 1, true, true)];
        assert_eq!(Question::new(&now, 1).ask(&earlier), Some(true));
    }
}
