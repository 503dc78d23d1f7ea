//! One bucket: the handle by which every request of this crate is made, and the one place where requests are repeated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use s3backup_model::Key;
use tokio_util::sync::CancellationToken;

use tokio::time::Instant;

use crate::access::Access;
use crate::body::Progress;
use crate::clock::ServerClock;
use crate::level::Sign;
use crate::retry::Backoff;
use crate::slots::{Slot, Slots};
use crate::tempo::Tempo;
use crate::wire::{Failure, Wire};
use crate::{Error, RetrySettings};

/// How often to ask anew how long a request may stand still.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A bucket with the client that reaches it. Cheap to clone. `Debug` shows no credentials.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) client: Client,
    pub(crate) name: Arc<str>,
    /// Whose requests these are, where this crate found the credentials.
    pub(crate) access: Option<Arc<Access>>,
    endpoint: Option<Arc<str>>,
    backoff: Arc<Backoff>,
    tempo: Arc<Tempo>,
    /// Whether the bucket is known to be there.
    pub(crate) exists: Arc<AtomicBool>,
    pub(crate) clock: ServerClock,
    /// Makes the requests that carry the bytes of files; without, the client does.
    pub(crate) wire: Option<Arc<Wire>>,
}

/// What a request waits for before each of its attempts; by default for nothing.
#[derive(Default)]
pub(crate) struct Gate<'a> {
    /// One slot for each request in flight.
    pub(crate) slots: Option<&'a Slots>,
    /// The slot, if it is there already: it is kept from one attempt to the next.
    pub(crate) held: Option<Slot<'a>>,
    /// What the request is worth to those who look for the best number of them; nothing: it says nothing of that.
    pub(crate) weight: u64,
    /// No attempt is begun, and no wait between two goes on, once this is set.
    pub(crate) cancel: Option<&'a CancellationToken>,
}

impl<'a> Gate<'a> {
    /// Runs `work` unless the run ends first.
    pub(crate) async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let Some(cancel) = self.cancel else { return Ok(work.await) };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(Error::Cancelled),
            done = work => Ok(done),
        }
    }

    async fn pass(&mut self) -> Result<Option<Slot<'a>>, Error> {
        if let Some(held) = &mut self.held {
            held.start();
            return Ok(None);
        }
        let Some(slots) = self.slots else { return Ok(None) };
        self.unless_cancelled(slots.acquire()).await.map(Some)
    }

    fn leave<T>(&self, slot: Option<Slot<'_>>, result: &Result<T, Error>) {
        if self.weight == 0 {
            return;
        }
        let sign = sign_of(result);
        if let Some(slot) = slot {
            slot.end(self.weight, sign);
        } else if let Some(held) = &self.held {
            held.report(self.weight, sign);
        }
    }
}

/// What the end of a request says of how many there should be.
pub(crate) fn sign_of<T>(result: &Result<T, Error>) -> Sign {
    match result {
        Err(error) if error.is_busy() => Sign::Busy,
        Err(Error::NoAnswer { .. }) => Sign::Lost,
        _ => Sign::Done,
    }
}

/// What decides how long a request may stand still.
#[derive(Clone, Copy)]
pub(crate) struct Timing<'a> {
    pub(crate) operation: &'static str,
    pub(crate) key: &'a Key,
    /// From 1.
    pub(crate) attempt: u32,
    /// What the server may take longer than usual.
    pub(crate) allowance: Duration,
}

/// One try of a request.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// From 1.
    pub(crate) number: u32,
    /// Whether an earlier try may have been carried out although it failed.
    pub(crate) ambiguous: bool,
    /// How far this try has come.
    pub(crate) progress: Progress,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    pub(crate) fn new(client: Client, name: String, endpoint: Option<String>) -> Self {
        Self {
            client,
            name: name.into(),
            access: None,
            endpoint: endpoint.map(Into::into),
            backoff: Arc::new(Backoff::new(RetrySettings::default())),
            tempo: Arc::default(),
            exists: Arc::default(),
            clock: ServerClock::default(),
            wire: None,
        }
    }

    pub(crate) fn with_access(mut self, access: Access) -> Self {
        self.access = Some(Arc::new(access));
        self
    }

    pub(crate) fn with_wire(mut self, wire: Option<Wire>) -> Self {
        self.wire = wire.map(Arc::new);
        self
    }

    /// Sets how requests are repeated and when they count as lost.
    #[must_use]
    pub fn with_retry(mut self, settings: RetrySettings) -> Self {
        self.backoff = Arc::new(Backoff::new(settings));
        self
    }

    /// The bucket's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the server; `None` for AWS and for a client that was handed in.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// How long a reply may stand still before it counts as lost.
    pub(crate) fn idle_limit(&self) -> Duration {
        self.backoff.idle_limit(0)
    }

    pub(crate) fn target(&self, key: &Key) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// Runs `request` until it succeeds, fails for good, or the attempts are used up. An attempt that stands still
    /// for too long counts as lost; `allowance` is what the server may take longer than usual, and the time at the gate
    /// is not part of it. `on_retry` hears of each failure that is followed by another attempt.
    pub(crate) async fn repeat<T, F>(
        &self,
        mut gate: Gate<'_>,
        operation: &'static str,
        key: &Key,
        allowance: Duration,
        mut on_retry: impl FnMut(u32, Duration, &Error),
        mut request: impl FnMut(Attempt) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut number, mut ambiguous) = (1, false);
        loop {
            let slot = gate.pass().await?;
            let progress = Progress::begin();
            let attempt = Attempt { number, ambiguous, progress: progress.clone() };
            // The futures of the SDK are large; what waits at the gate should not be.
            let timing = Timing { operation, key, attempt: number, allowance };
            let result = self.in_time(timing, &progress, Box::pin(request(attempt))).await;
            gate.leave(slot, &result);
            let error = match result {
                // Once: who hears the same of the server's own time will always hear it.
                Err(error) if error.is_retryable() || (number == 1 && error.is_clock_skew()) => error,
                done => return done,
            };
            let Some(wait) = self.backoff.wait_after(number) else { return Err(error) };
            on_retry(number, wait, &error);
            gate.unless_cancelled(tokio::time::sleep(wait)).await?;
            number += 1;
            ambiguous |= error.is_ambiguous();
        }
    }

    /// One attempt, which counts as lost when it stands still for too long.
    pub(crate) async fn in_time<T>(
        &self,
        timing: Timing<'_>,
        progress: &Progress,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Timing { operation, key, attempt, allowance } = timing;
        let is_upload = matches!(operation, "PutObject" | "UploadPart");
        tokio::pin!(request);
        loop {
            let (bytes, since) = progress.last();
            let limit = if is_upload {
                self.backoff.upload_limit(&self.tempo, attempt, bytes)
            } else {
                self.backoff.idle_limit(bytes) + allowance
            };
            // What is usual may become known meanwhile.
            let until = (since + limit).min(Instant::now().max(since) + LOOK_AGAIN);
            let done = tokio::time::timeout_at(until, &mut request).await;
            let (bytes, last) = progress.last();
            let is_lost = last == since && Instant::now() >= since + limit;
            if is_upload && done.is_ok() {
                self.tempo.note(last.elapsed(), bytes, last.saturating_duration_since(progress.begun()));
            }
            if let Ok(done) = done {
                return done;
            }
            if is_lost {
                // A tenth of a second is exact enough for a person.
                let seconds = (limit.as_secs_f64() * 10.0).round() / 10.0;
                return Err(self.lost(operation, key, format!("nothing moved for {seconds} s")));
            }
        }
    }

    /// How long to wait after attempt number `attempt` failed; `None` when it was the last.
    pub(crate) fn wait_after(&self, attempt: u32) -> Option<Duration> {
        self.backoff.wait_after(attempt)
    }

    pub(crate) fn error<E>(&self, operation: &'static str, key: &Key, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.with_address(Error::of_sdk(operation, self.target(key), error))
    }

    /// The same of a request of the fast path.
    pub(crate) fn wire_error(&self, operation: &'static str, key: &Key, failure: Failure) -> Error {
        self.with_address(Error::of_wire(operation, self.target(key), failure))
    }

    fn with_address(&self, error: Error) -> Error {
        match (error, &self.endpoint) {
            // Who does not answer is worth saying, where it is not simply AWS.
            (Error::NoAnswer { operation, target, cause }, Some(endpoint)) => {
                let address = endpoint.split_once("://").map_or(&**endpoint, |(_, address)| address);
                let cause = format!("{cause} ({})", address.trim_end_matches('/'));
                Error::NoAnswer { operation, target, cause }
            }
            (error, _) => error,
        }
    }

    pub(crate) fn lost(&self, operation: &'static str, key: &Key, cause: impl Into<String>) -> Error {
        Error::NoAnswer { operation, target: self.target(key), cause: cause.into() }
    }
}

pub(crate) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
