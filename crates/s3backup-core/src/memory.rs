//! The catalog as a run uses it: opened under the job's lock, and asked on threads that may block.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3backup_catalog::{Catalog, DestinationId, Error as CatalogError, JobLock, SourceId};
use s3backup_model::key;
use s3backup_transfer::crc64nvme_base64;

use crate::Error;
use crate::backup::Job;

pub(crate) const DATABASE: &str = "catalog.db";

/// A catalog that is asked on threads that may block. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Catalog>>);

impl Shared {
    /// The catalog of the job, without its lock: for alerts, which others may tell and deliver while a run goes on. Makes it
    /// when there is none; `None` where the job keeps none.
    pub(crate) async fn beside(job: &Arc<Job>) -> Result<Option<Self>, Error> {
        match job.state_dir() {
            Some(dir) => Self::open(dir).await.map(Some),
            None => Ok(None),
        }
    }

    /// The catalog in this folder.
    pub(crate) async fn open(dir: PathBuf) -> Result<Self, Error> {
        let opened = on_blocking_thread(move || Catalog::open(&dir.join(DATABASE))).await?;
        opened.map(Self::new).map_err(Error::Catalog)
    }

    /// One that nobody sees again.
    pub(crate) async fn temporary() -> Result<Self, Error> {
        on_blocking_thread(Catalog::temporary).await?.map(Self::new).map_err(Error::Catalog)
    }

    fn new(catalog: Catalog) -> Self {
        Self(Arc::new(Mutex::new(catalog)))
    }

    /// Works with the catalog on this thread, which may block.
    pub(crate) fn here(&self) -> MutexGuard<'_, Catalog> {
        // A poisoned lock only means that another task panicked beside it: what is on disk changes in transactions.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with the catalog on a thread that may block. The work goes on when the future is dropped.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.clone();
        on_blocking_thread(move || work(&mut shared.here())).await?.map_err(Error::Catalog)
    }
}

/// What a job remembers. Cheap to clone; the lock is held until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub(crate) catalog: Shared,
    pub(crate) destination: DestinationId,
    /// One for each configured source.
    pub(crate) sources: Arc<[SourceId]>,
    /// What names the destination in settings.
    pub(crate) label: Arc<str>,
    /// Whether it outlives the run.
    pub(crate) is_lasting: bool,
    /// Why the catalog that was there could not be used, and where it is now.
    pub(crate) set_aside: Option<String>,
    _lock: Option<Arc<JobLock>>,
}

impl Memory {
    /// Opens the catalog of a job to work with it, alone: a second one gets [`Error::Locked`]. A catalog that is damaged is
    /// set aside, and a new one is begun. Without a state directory there is nothing to lock and nothing lasts.
    pub(crate) async fn open(job: &Arc<Job>, purpose: &'static str) -> Result<Self, Error> {
        let job = Arc::clone(job);
        on_blocking_thread(move || Self::open_here(&job, purpose)).await?
    }

    fn open_here(job: &Job, purpose: &str) -> Result<Self, Error> {
        let Some(dir) = job.state_dir() else {
            return Self::begin(Catalog::temporary().map_err(Error::Catalog)?, job, false);
        };
        let lock = JobLock::acquire(&dir, purpose).map_err(|error| match error {
            CatalogError::Locked { holder, .. } => Error::Locked { job: job.name.clone(), holder },
            other => Error::Catalog(other),
        })?;
        let path = dir.join(DATABASE);
        let opened =
            Catalog::open(&path).map_err(Error::Catalog).and_then(|catalog| Self::begin(catalog, job, true));
        let memory = match opened {
            Err(Error::Catalog(error)) if error.is_corrupt() => {
                let aside =
                    set_aside(&path, job).map_err(|cause| Error::State { path: path.clone(), cause })?;
                let detail = match &error {
                    CatalogError::Corrupt { detail, .. } => detail.clone(),
                    other => crate::line_of(other),
                };
                let why = format!("the catalog was damaged ({detail}) and is now {aside}");
                let memory = Self::begin(Catalog::open(&path).map_err(Error::Catalog)?, job, true)?;
                Self { set_aside: Some(why), ..memory }
            }
            other => other?,
        };
        Ok(Self { _lock: Some(Arc::new(lock)), ..memory })
    }

    /// The same catalog and lock after all files of the destination were forgotten.
    pub(crate) async fn renew(self, job: &Arc<Job>) -> Result<Self, Error> {
        let job = Arc::clone(job);
        on_blocking_thread(move || {
            let sources = Self::sources_of(&self.here(), self.destination, &job)?;
            Ok(Self { sources, ..self })
        })
        .await?
    }

    /// Opens what there is to read it, without the lock: another process may be writing. Makes nothing on disk.
    pub(crate) async fn look(job: &Arc<Job>) -> Result<Self, Error> {
        let job = Arc::clone(job);
        on_blocking_thread(move || {
            let path = job.state_dir().map(|dir| dir.join(DATABASE)).filter(|path| path.exists());
            let catalog = path.as_deref().map_or_else(Catalog::temporary, Catalog::open);
            Self::begin(catalog.map_err(Error::Catalog)?, &job, path.is_some())
        })
        .await?
    }

    /// A scratch catalog for the state that is read from the bucket.
    pub(crate) async fn scratch(job: &Arc<Job>) -> Result<Self, Error> {
        let job = Arc::clone(job);
        on_blocking_thread(move || Self::begin(Catalog::temporary().map_err(Error::Catalog)?, &job, false))
            .await?
    }

    fn begin(catalog: Catalog, job: &Job, is_lasting: bool) -> Result<Self, Error> {
        let endpoint = job.server();
        let prefix = job.naming.destination();
        let destination = catalog.destination(endpoint, &job.bucket, prefix).map_err(Error::Catalog)?;
        let sources = Self::sources_of(&catalog, destination, job)?;
        let catalog = Shared::new(catalog);
        let label = format!("{endpoint}|{}|{prefix}", job.bucket).into();
        Ok(Self { catalog, destination, sources, label, is_lasting, set_aside: None, _lock: None })
    }

    fn sources_of(
        catalog: &Catalog,
        destination: DestinationId,
        job: &Job,
    ) -> Result<Arc<[SourceId]>, Error> {
        let ids = job.sources.iter().enumerate().map(|(place, source)| {
            catalog.source(destination, job.naming.source_template(place), &shown(&source.path))
        });
        ids.collect::<Result<_, _>>().map_err(Error::Catalog)
    }

    /// Works with the catalog on this thread, which may block.
    pub(crate) fn here(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.here()
    }

    /// Works with the catalog on a thread that may block. The work goes on when the future is dropped, and the lock is held
    /// as long.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, Error> {
        let memory = self.clone();
        on_blocking_thread(move || work(&mut memory.here())).await?.map_err(Error::Catalog)
    }

    /// The place of a source among the configured ones.
    pub(crate) fn place_of(&self, source: SourceId) -> Option<usize> {
        self.sources.iter().position(|id| *id == source)
    }
}

/// What tells this machine from others, where it has a name of its own; for one job, so that it tells nothing else.
pub(crate) fn machine(job: &Job) -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    (!id.is_empty()).then(|| crc64nvme_base64(format!("{id}/{}", job.name).as_bytes()))
}

fn set_aside(path: &Path, job: &Job) -> std::io::Result<String> {
    let stamp = (job.clock)().format("%Y%m%dT%H%M%SZ");
    let aside = path.with_file_name(format!("{DATABASE}.damaged-{stamp}"));
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let beside = path.with_file_name(format!("{DATABASE}{suffix}"));
        match std::fs::remove_file(beside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside.display().to_string())
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    key::escape(path.as_os_str().as_bytes())
}

pub(crate) async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Defect(error.to_string()))
}
