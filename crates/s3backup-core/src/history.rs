//! What earlier runs of this job and host left in the bucket.

use std::collections::HashSet;

use s3backup_model::{Key, RunReport};
use s3backup_transfer::{Bucket, Error};

use crate::plan::Naming;

/// How many earlier runs are looked at: a month of daily ones.
const RUNS: usize = 31;

/// Largest report that is read. One with 1,000 failures has a few hundred KiB.
const MAX_REPORT_BYTES: u64 = 8 << 20;

/// What is said of a source that has lost its files. Later runs look for it, so the words before the colon stay.
pub(crate) fn emptied(path: &str) -> String {
    format!("{path} had files in an earlier run and has none now")
}

/// Whether the reason of a failed run names this source as one that has lost its files.
fn is_named(alarm: &str, path: &str) -> bool {
    let words = emptied(path);
    alarm.split("; ").any(|sentence| sentence.starts_with(&words))
}

/// The sources in which one of the last runs saw files. Costs a listing and up to 31 reads, so it is asked only when a
/// source is empty.
pub(crate) async fn sources_that_had_files(
    bucket: &Bucket,
    naming: &Naming,
) -> Result<HashSet<String>, Error> {
    let Ok(folder) = naming.control_key("runs/") else { return Ok(HashSet::new()) };
    let mut newest: Vec<String> = Vec::new();
    let mut page = None;
    loop {
        let listed = bucket.list(folder.as_str(), page.as_deref()).await?;
        newest.extend(listed.objects.into_iter().map(|(key, _)| key));
        // Run ids sort by time; not every server lists in that order.
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest.truncate(RUNS);
        page = listed.next;
        if page.is_none() {
            break;
        }
    }
    let mut had_files = HashSet::new();
    for key in newest {
        let Ok(key) = Key::new(key) else { continue };
        let Some(bytes) = bucket.read(&key, MAX_REPORT_BYTES).await? else { continue };
        // What cannot be read is of a newer version or not ours; the others still tell.
        if let Ok(report) = serde_json::from_slice::<RunReport>(&bytes) {
            let alarm = report.fatal.map(|fatal| fatal.message).unwrap_or_default();
            // A run that raised the alarm saw nothing itself, but knew: without it the alarm would fall silent once
            // the last run that saw files is too old to be looked at.
            had_files.extend(
                report
                    .sources
                    .into_iter()
                    .filter(|source| source.seen > 0 || is_named(&alarm, &source.path))
                    .map(|source| source.path),
            );
        }
    }
    Ok(had_files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_about_the_sources_that_it_names_and_no_other() {
        let alarm = format!("no disk; {}: is its disk mounted?; {}", emptied("/mnt/data"), emptied("/a b"));
        assert!(is_named(&alarm, "/mnt/data") && is_named(&alarm, "/a b"));
        assert!(!is_named(&alarm, "/data") && !is_named(&alarm, "/a") && !is_named("", "/a"));
    }
}
