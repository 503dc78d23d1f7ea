//! Whether an object is the one that the state knows, by what the server says of it.

use s3backup_catalog::{FileRow, FileState};
use s3backup_model::RunId;
use s3backup_model::manifest::ChecksumType;
use s3backup_transfer::ObjectInfo;

use super::{Content, Differs};

/// Metadata that runs store beside the bytes: who wrote the object, and in which run.
const OWNER: &str = "s3backup-owner";
const RUN: &str = "s3backup-run";

/// What HEAD tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Same,
    Different(Differs),
    /// Nothing that the server shows tells: the bytes must be read.
    Untold,
}

/// Whether a listing shows the object that is known. What is in doubt is never believed by its ETag: that is the ETag of
/// what may be overwritten.
pub(super) fn is_listed_as_known(row: &FileRow, size: u64, etag: &str) -> bool {
    row.state != FileState::Doubtful && size == row.stored_size && !etag.is_empty() && etag == row.etag
}

/// Compares an object with its row. An ETag says that nobody wrote to the key since; another one says nothing, because the
/// same bytes in other parts have another.
pub(crate) fn judge(row: &FileRow, info: &ObjectInfo) -> Judgement {
    if info.size != row.stored_size {
        return Judgement::Different(Differs::Size);
    }
    let is_whole = |value: &&String| !value.contains('-');
    let of = |is_same| if is_same { Judgement::Same } else { Judgement::Different(Differs::Content) };
    if let (Some(known), Some(shown)) = (crc64nvme(row), info.crc64nvme.as_ref().filter(is_whole)) {
        return of(known == *shown);
    }
    let stored = row.stored_checksum.as_ref();
    if let Some(stored) = stored.filter(|stored| stored.r#type == ChecksumType::FullObject) {
        let shown = match stored.algorithm.as_str() {
            "crc64nvme" => &info.crc64nvme,
            "crc32c" => &info.crc32c,
            "crc32" => &info.crc32,
            "sha256" => &info.sha256,
            _ => &None,
        };
        if let Some(shown) = shown.as_ref().filter(is_whole) {
            return of(stored.value == *shown);
        }
    }
    if row.state != FileState::Doubtful && !info.etag.is_empty() && info.etag == row.etag {
        return Judgement::Same;
    }
    Judgement::Untold
}

/// CRC64NVME of the object's bytes, where it is known.
pub(super) fn crc64nvme(row: &FileRow) -> Option<&str> {
    if row.encoding == "none" && !row.crc64nvme.is_empty() {
        return Some(&row.crc64nvme);
    }
    let stored = row.stored_checksum.as_ref();
    let stored =
        stored.filter(|stored| stored.algorithm == "crc64nvme" && stored.r#type == ChecksumType::FullObject);
    stored.map(|stored| stored.value.as_str())
}

pub(super) fn expected(row: &FileRow) -> Content {
    Content {
        size: row.stored_size,
        crc64nvme: crc64nvme(row).map(ToOwned::to_owned),
        // Of a file in doubt it is that of the object which may be overwritten.
        etag: if row.state == FileState::Doubtful { String::new() } else { row.etag.clone() },
        version_id: row.version_id.clone(),
    }
}

pub(super) fn found(info: &ObjectInfo) -> Content {
    Content {
        size: info.size,
        crc64nvme: info.crc64nvme.clone(),
        etag: info.etag.clone(),
        version_id: info.version_id.clone(),
    }
}

/// From which run on the state that is looked at knows nothing of what runs put.
#[derive(Clone, Debug)]
pub(super) struct Horizon {
    /// `job/host`.
    pub(super) owner: String,
    pub(super) run: RunId,
    /// Whether that run itself is going on.
    pub(super) is_running: bool,
}

impl Horizon {
    /// Whether a run of this job put the object after the state was written down.
    pub(super) fn is_beyond(&self, info: &ObjectInfo) -> bool {
        let run = info.metadata.get(RUN).and_then(|run| RunId::parse(run));
        info.metadata.get(OWNER).is_some_and(|owner| *owner == self.owner)
            && run.is_some_and(|run| run > self.run || (run == self.run && self.is_running))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3backup_catalog::Catalog;
    use s3backup_model::Key;
    use s3backup_model::manifest::StoredChecksum;

    fn row() -> FileRow {
        let catalog = Catalog::temporary().unwrap();
        let destination = catalog.destination("", "b", "").unwrap();
        FileRow {
            source: catalog.source(destination, "", "/").unwrap(),
            path: b"a".to_vec(),
            size: 3,
            mtime_ns: 0,
            mode: 0,
            hints: None,
            state: FileState::Present,
            key: Key::new("a").unwrap(),
            crc64nvme: "crc".to_owned(),
            stored_size: 3,
            stored_checksum: None,
            etag: "etag".to_owned(),
            version_id: None,
            encoding: "none".to_owned(),
            run: run(5),
        }
    }

    fn run(second: i64) -> RunId {
        RunId::new(chrono::DateTime::from_timestamp(second, 0).unwrap(), 1)
    }

    fn info(etag: &str, crc: Option<&str>) -> ObjectInfo {
        let mut info = ObjectInfo::default();
        (info.size, info.etag, info.crc64nvme) = (3, etag.to_owned(), crc.map(ToOwned::to_owned));
        info
    }

    #[test]
    fn the_bytes_decide_and_not_the_etag() {
        let row = row();
        assert_eq!(judge(&row, &info("other", Some("crc"))), Judgement::Same);
        assert_eq!(judge(&row, &info("etag", Some("else"))), Judgement::Different(Differs::Content));
        assert_eq!(judge(&row, &info("etag", None)), Judgement::Same);
        assert_eq!(judge(&row, &info("other", None)), Judgement::Untold);
        let mut longer = info("etag", Some("crc"));
        longer.size = 4;
        assert_eq!(judge(&row, &longer), Judgement::Different(Differs::Size));
    }

    #[test]
    fn another_checksum_of_the_whole_serves_and_one_of_parts_does_not() {
        let stored = |value: &str, r#type| StoredChecksum {
            algorithm: "sha256".to_owned(),
            value: value.to_owned(),
            r#type,
        };
        let whole = FileRow { stored_checksum: Some(stored("sha", ChecksumType::FullObject)), ..row() };
        let mut shown = info("other", None);
        shown.sha256 = Some("sha".to_owned());
        assert_eq!(judge(&whole, &shown), Judgement::Same);
        let parts = FileRow { stored_checksum: Some(stored("sha-2", ChecksumType::Composite)), ..row() };
        shown.sha256 = Some("ahs-3".to_owned());
        assert_eq!(judge(&parts, &shown), Judgement::Untold);
    }

    #[test]
    fn what_is_in_doubt_is_not_believed_by_its_etag() {
        let row = FileRow { state: FileState::Doubtful, ..row() };
        assert!(!is_listed_as_known(&row, 3, "etag"));
        assert_eq!(judge(&row, &info("etag", None)), Judgement::Untold);
    }

    #[test]
    fn a_later_run_of_this_job_is_told_from_others() {
        let horizon = Horizon { owner: "job/host".to_owned(), run: run(7), is_running: false };
        let by = |owner: &str, run: RunId| {
            let mut info = info("other", None);
            info.metadata.insert(OWNER.to_owned(), owner.to_owned());
            info.metadata.insert(RUN.to_owned(), run.to_string());
            info
        };
        assert!(horizon.is_beyond(&by("job/host", run(8))));
        assert!(!horizon.is_beyond(&by("job/host", run(7))));
        assert!(!horizon.is_beyond(&by("job/other", run(8))));
        assert!(!horizon.is_beyond(&info("other", None)));
        let running = Horizon { is_running: true, ..horizon };
        assert!(running.is_beyond(&by("job/host", run(7))));
    }
}
