//! `backup report`: how the backups stand, as one HTML file.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chrono::Utc;
use s3backup_core::report::{Page, render};

use crate::cli::{self, Common};
use crate::console;
use crate::exit::{Exit, Stop};
use crate::session;

pub(crate) async fn run(common: &Common, arguments: &cli::Report) -> Result<Exit, Stop> {
    let mut page = Page { made_at: Utc::now().fixed_offset(), jobs: Vec::new(), live: false };
    let mut exit = Exit::Success;
    for loaded in session::load_all(common)? {
        page.made_at = page.made_at.with_timezone(&loaded.settings.timezone).fixed_offset();
        let opened = session::open_loaded(loaded).await?;
        match opened.backup.overview().await {
            Ok(job) => page.jobs.push(job),
            Err(error) => {
                console::say_error(&format!("{}: {}", opened.settings.job, Stop::of(&error).message));
                exit = Exit::Failed;
            }
        }
    }
    if page.jobs.is_empty() {
        return Err(Stop::failed("there is nothing to report"));
    }
    let html = render(&page);
    if arguments.out == Path::new("-") {
        console::show(&html)?;
    } else {
        let path = arguments.out.display();
        write(&arguments.out, &html)
            .map_err(|error| Stop::failed(format!("cannot write {path}: {error}")))?;
        console::show(&format!("wrote {path}"))?;
    }
    Ok(exit)
}

/// Replaces the file as a whole: a web server may be sending it.
fn write(path: &Path, html: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any other file that a user makes.
    let mode = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder)?;
    file.write_all(html.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
