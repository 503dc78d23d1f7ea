//! What is still known of a configuration that cannot be used, and who could have written it.

mod common;

use common::{Folder, LEAST};
use s3backup_config::{Error, check_writers, tolerant_settings};

fn settings(text: &str) -> Option<s3backup_config::Settings> {
    let folder = Folder::with(text);
    assert!(folder.load().is_err(), "it should be broken: {text}");
    tolerant_settings(&folder.request)
}

#[test]
fn keys_that_cannot_be_are_passed_over() {
    let broken = settings(&format!("job = \"trips\"\ntimezone = \"Mars/Base\"\nbogus = 1\n{LEAST}")).unwrap();
    assert_eq!((broken.job.as_str(), broken.timezone.name()), ("trips", "UTC"));
    assert_eq!(broken.destination.bucket, "b");
    let inside =
        settings(&format!("{LEAST}[transfer]\nmemory = \"little\"\nchecksum = \"sha256\"\n")).unwrap();
    assert_eq!(inside.transfer.memory_bytes, 64 << 20);
    assert_eq!(inside.transfer.checksum.as_str(), "sha256");
}

#[test]
fn a_table_without_what_it_needs_is_passed_over() {
    let broken = settings(&format!("{LEAST}[schedule]\ncron = \"every day\"\n")).unwrap();
    assert!(broken.schedule.is_none());
}

#[test]
fn the_job_that_was_asked_for_is_meant() {
    let text = format!("{LEAST}[job.a]\nhost = \"one\"\n[job.b]\nhost = \"two\"\nbogus = 1\n");
    let folder = Folder::with(&text).job("b");
    let settings = tolerant_settings(&folder.request).unwrap();
    assert_eq!((settings.job.as_str(), settings.host.as_str()), ("b", "two"));
}

#[test]
fn too_little_is_nothing() {
    assert!(settings("[destination]\nbucket = \"b\"\n").is_none());
    assert!(settings("[[source]]\npath = \"data\"\n").is_none());
    assert!(tolerant_settings(&Folder::new().request).is_none());
}

#[test]
fn who_can_write_the_file_is_told() {
    let folder = Folder::with(LEAST);
    let file = folder.dir.path().join("backup.toml");
    let user = folder.request.user;
    check_writers(&file, user).unwrap();
    folder.mode("backup.toml", 0o664);
    let error = check_writers(&file, user).unwrap_err();
    assert!(matches!(&error, Error::Untrusted { mend, .. } if mend.contains("chmod go-w")), "{error}");
    let missing = check_writers(&folder.dir.path().join("none"), user).unwrap_err();
    assert!(matches!(missing, Error::Read { .. }), "{missing}");
}
