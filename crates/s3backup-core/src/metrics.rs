//! Where metrics go when a run has ended: a file for the textfile collector of node-exporter, and a Pushgateway.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use s3backup_model::{Name, RunReport};

use crate::backup::Job;
use crate::events::Emitter;
use crate::memory::on_blocking_thread;
use crate::options::MetricsOptions;
use crate::{Error, line_of, overview};

/// How long the Pushgateway may take, and how long all of it: a run never waits for a disk that hangs.
const PUSH_LIMIT: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_secs(20);

/// Where metrics go, checked.
#[derive(Clone)]
pub(crate) struct Publisher {
    textfile: Option<PathBuf>,
    gateway: Option<(Client, Url)>,
}

impl Publisher {
    /// Checks the options; `None` when metrics go nowhere.
    pub(crate) fn new(options: MetricsOptions, job: &Name, host: &Name) -> Result<Option<Self>, Error> {
        let textfile = options.textfile.map(|path| named(path, job, host)).transpose()?;
        let gateway = options.pushgateway.map(|url| gateway(&url, job, host)).transpose()?;
        let is_any = textfile.is_some() || gateway.is_some();
        Ok(is_any.then_some(Self { textfile, gateway }))
    }

    /// Sends the metrics everywhere, and gives what a person should know where that was not possible.
    async fn send(&self, job: &Name, text: String) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(path) = &self.textfile {
            let (path, job, text) = (path.clone(), job.clone(), text.clone());
            let shown = path.display().to_string();
            let written = on_blocking_thread(move || write(&path, &job, &text)).await;
            if let Err(why) = written.map_err(|error| line_of(&error)).flatten() {
                warnings.push(format!("the metrics file {shown} was not written: {why}"));
            }
        }
        if let Some((client, url)) = &self.gateway
            && let Err(why) = push(client, url, text).await
        {
            warnings.push(format!("the Pushgateway did not take the metrics: {why}"));
        }
        warnings
    }
}

/// Sends the metrics of the job, of which a run has just ended, within `limit`. Whether that works changes nothing about the
/// outcome; that it did not is a warning of the report that the caller gets, which is stored already.
pub(crate) async fn publish(
    job: &Arc<Job>,
    report: &mut RunReport,
    events: &Emitter,
    limit: impl Future<Output = ()>,
) {
    let Some(publisher) = &job.metrics else { return };
    let publishing = async {
        let page = overview::after_run(job, report).await;
        publisher.send(&job.name, s3backup_report::metrics(&[page])).await
    };
    let warnings = tokio::select! {
        warnings = Box::pin(publishing) => warnings,
        () = limit => vec!["the metrics of this run were not sent: there was no time left".to_owned()],
        () = tokio::time::sleep(LIMIT) => vec!["the metrics of this run were not sent: it took too long".to_owned()],
    };
    for message in warnings {
        report.warnings.push(message.clone());
        events.warn(message).await;
    }
}

fn named(path: PathBuf, job: &Name, host: &Name) -> Result<PathBuf, Error> {
    // A path that is not UTF-8 has no placeholder that anybody could have typed.
    let path = match path.to_str() {
        Some(text) => PathBuf::from(text.replace("{job}", job.as_str()).replace("{host}", host.as_str())),
        None => path,
    };
    if path.file_name().is_none() {
        return Err(Error::invalid(
            "[metrics] textfile",
            "it names no file: write a path such as /var/lib/node_exporter/s3backup.prom",
        ));
    }
    Ok(path)
}

/// The address of the job's group.
fn gateway(text: &str, job: &Name, host: &Name) -> Result<(Client, Url), Error> {
    let wrong = |why: String| Error::invalid("[metrics] pushgateway", why);
    let mut url = Url::parse(text)
        .map_err(|error| wrong(format!("it is no URL ({error}): write one such as http://127.0.0.1:9091")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it is neither http nor https".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a password, which does not belong here".to_owned()));
    }
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["metrics", "job", job.as_str(), "instance", host.as_str()]);
    }
    let mut client = Client::builder().timeout(PUSH_LIMIT).redirect(reqwest::redirect::Policy::none());
    if is_loopback(&url) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| wrong(line_of(&error)))?;
    Ok((client, url))
}

/// No proxy reaches what is on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

async fn push(client: &Client, url: &Url, text: String) -> Result<(), String> {
    let request = client.put(url.clone()).header(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    let reply = request.body(text).send().await.map_err(|error| line_of(&error))?;
    if reply.status().is_success() { Ok(()) } else { Err(format!("{url} answered {}", reply.status())) }
}

/// Replaces the file as a whole, so that whoever reads it sees the old one or the new one. Leaves one that belongs to another
/// job: its metrics would be gone, and an alert on them silent.
fn write(path: &Path, job: &Name, text: &str) -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    match read(path) {
        Ok(before) if is_of_another(&before, job) => {
            return Err("it holds the metrics of another job: give each job a file of its own, with {job} in its name, or remove it".to_owned());
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The collector reads only names that end with `.prom`.
    let mut file = tempfile::Builder::new().prefix(".s3backup").tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // The collector is another user.
    file.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// As much of the file as metrics of one job have many times over.
fn read(path: &Path) -> io::Result<String> {
    const MOST: u64 = 1 << 20;
    let mut text = String::new();
    File::open(path)?.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

fn is_of_another(text: &str, job: &Name) -> bool {
    let own = format!("backup_info{{job=\"{job}\",");
    text.lines().any(|line| line.starts_with("backup_info{") && !line.starts_with(&own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(url: &str) -> Result<String, String> {
        let (job, host) = (Name::new("telemetry").unwrap(), Name::new("gw-1").unwrap());
        gateway(url, &job, &host).map(|(_, url)| url.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_has_its_group_at_the_gateway() {
        for (url, whole) in [
            ("http://127.0.0.1:9091", "http://127.0.0.1:9091/metrics/job/telemetry/instance/gw-1"),
            ("https://push.example/team/?x", "https://push.example/team/metrics/job/telemetry/instance/gw-1"),
        ] {
            assert_eq!(group(url).as_deref(), Ok(whole));
        }
        for (url, why) in [
            ("127.0.0.1:9091", "[metrics] pushgateway"),
            ("file:///tmp", "neither http nor https"),
            ("http://me:secret@push.example", "password"),
        ] {
            let error = group(url).unwrap_err();
            assert!(error.contains(why) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_file_of_another_job_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s3backup.prom");
        let (one, other) = (Name::new("one").unwrap(), Name::new("one-more").unwrap());
        let text = |job: &Name| format!("# HELP x y\nbackup_info{{job=\"{job}\",host=\"h\"}} 1\n");
        write(&path, &one, &text(&one)).unwrap();
        write(&path, &one, &text(&one)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(write(&path, &other, &text(&other)).unwrap_err().contains("{job}"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text(&one));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
