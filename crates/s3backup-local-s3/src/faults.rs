//! Rules that make a server misbehave.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;

use crate::operation::{Operation, Target};
use crate::service::{FailingKeys, Quirks};

/// How a server misbehaves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Waits before it does anything. Latencies of several rules add up, and go with any other fault.
    Latency(Duration),
    /// 503 `SlowDown`; not carried out.
    SlowDown,
    /// 429 `TooManyRequests`; not carried out.
    TooManyRequests,
    /// 500 `InternalError`; not carried out.
    InternalError,
    /// 403 `AccessDenied`; not carried out.
    AccessDenied,
    /// 400 `ExpiredToken`, as for temporary credentials after their time; not carried out.
    ExpiredToken,
    /// Any other error; not carried out.
    Error {
        /// The HTTP status; one that is not a status becomes 500.
        status: u16,
        /// The code in the XML body, such as `ConditionalRequestConflict`.
        code: String,
    },
    /// The connection is reset when about half of the request's body has arrived; not carried out.
    ResetInRequest,
    /// The connection is reset when the whole request has arrived; not carried out.
    ResetBeforeReply,
    /// The request is carried out, then the connection is reset before the reply.
    LostReply,
    /// The connection is reset in the middle of the reply's body, or before the reply if it has none.
    ResetInReply,
    /// The reply stops in the middle of its body, or before it begins if it has none. The connection stays open until
    /// the client gives up or the server stops.
    HangInReply,
    /// The request is never answered, and its body not read. The connection stays open until the client gives up or
    /// the server stops.
    Hang,
    /// One bit of the reply's body is flipped. What is stored is right.
    CorruptReply,
    /// Checksums in the reply (headers and XML) are well formed and wrong. What is stored is right.
    WrongChecksum,
    /// The server knows no checksums beside the MD5: it neither checks nor keeps nor tells them.
    NoChecksums,
    /// `CompleteMultipartUpload` and `CopyObject` answer 200 with an error in the body; not carried out.
    /// `DeleteObjects` answers 200 with an `InternalError` for each of its keys that [`Fault::key_contains`] allows,
    /// and deletes the others. Other operations never do that, so the rule does not count for them.
    ErrorInOkReply,
    /// 501 `NotImplemented` for writes with `If-None-Match` or `If-Match`; the rule does not count for others.
    NoConditionalWrites,
    /// `If-None-Match` and `If-Match` of writes are ignored; the rule does not count for others.
    ConditionsIgnored,
}

impl FaultKind {
    fn applies_to(&self, target: &Target, headers: &HeaderMap) -> bool {
        match self {
            Self::ErrorInOkReply => matches!(
                target.operation,
                Operation::CompleteMultipartUpload | Operation::CopyObject | Operation::DeleteObjects
            ),
            Self::NoConditionalWrites | Self::ConditionsIgnored => {
                !matches!(target.operation, Operation::GetObject | Operation::HeadObject)
                    && (headers.contains_key("if-match") || headers.contains_key("if-none-match"))
            }
            _ => true,
        }
    }
}

/// Which of the requests that a rule is about it hits. They are counted from 1, in the order of their arrival.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Hits {
    /// All of them.
    Always,
    /// The first so many.
    First(u64),
    /// Only this one.
    Nth(u64),
    /// A share of them, by chance: which ones depends on the seed alone.
    Percent {
        /// From 0 to 100.
        percent: f64,
        /// Of the random numbers.
        seed: u64,
    },
}

/// A rule: how to misbehave, and to which requests.
///
/// Without more it hits every request.
///
/// ```
/// use s3backup_local_s3::{Fault, FaultKind, Operation};
///
/// // The first three PUTs of keys with `x` in them are told to slow down.
/// let fault = Fault::new(FaultKind::SlowDown).on(Operation::PutObject).key_contains("x").first(3);
/// # let _ = fault;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    operations: Vec<Operation>,
    key_contains: Option<String>,
    hits: Hits,
}

impl Fault {
    /// A rule for every request.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, operations: Vec::new(), key_contains: None, hits: Hits::Always }
    }

    /// Only for this operation, or, if called again, for those named.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Only for keys with `part` in them, and for listings of a prefix with `part` in it. Requests with neither are
    /// then left alone, also `DeleteObjects`, unless the fault is [`FaultKind::ErrorInOkReply`].
    #[must_use]
    pub fn key_contains(mut self, part: impl Into<String>) -> Self {
        self.key_contains = Some(part.into());
        self
    }

    /// Which of the matching requests are hit. Default: [`Hits::Always`].
    #[must_use]
    pub fn hits(mut self, hits: Hits) -> Self {
        self.hits = hits;
        self
    }

    /// Short for [`Hits::First`].
    #[must_use]
    pub fn first(self, count: u64) -> Self {
        self.hits(Hits::First(count))
    }

    /// Short for [`Hits::Nth`].
    #[must_use]
    pub fn nth(self, number: u64) -> Self {
        self.hits(Hits::Nth(number))
    }

    /// Short for [`Hits::Percent`].
    #[must_use]
    pub fn percent(self, percent: f64, seed: u64) -> Self {
        self.hits(Hits::Percent { percent, seed })
    }

    fn is_about(&self, target: &Target, headers: &HeaderMap) -> bool {
        let operation = self.operations.is_empty() || self.operations.contains(&target.operation);
        let key = self.key_contains.as_ref();
        operation
            && (self.fails_keys_of(target)
                || key.is_none_or(|part| !target.key.is_empty() && target.key.contains(part.as_str())))
            && self.kind.applies_to(target, headers)
    }

    /// Whether it is about single keys of the request, which are in its body.
    fn fails_keys_of(&self, target: &Target) -> bool {
        self.kind == FaultKind::ErrorInOkReply && target.operation == Operation::DeleteObjects
    }
}

/// The faults of a running server; changes count from the next request on. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FaultHandle {
    rules: Arc<Mutex<Vec<Rule>>>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    /// Requests that the rule was about.
    seen: u64,
    random: fastrand::Rng,
}

impl FaultHandle {
    /// Adds a rule after those that are there.
    pub fn add(&self, fault: Fault) {
        self.rules().push(Rule::new(fault));
    }

    /// Replaces all rules, and begins to count anew.
    pub fn set(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.rules() = faults.into_iter().map(Rule::new).collect();
    }

    /// Removes all rules: the server behaves.
    pub fn clear(&self) {
        self.set([]);
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do to a request. Every rule that is about it counts it, whether or not another hits.
    pub(crate) fn plan(&self, target: &Target, headers: &HeaderMap) -> Plan {
        let mut plan = Plan::default();
        for rule in self.rules().iter_mut().filter(|rule| rule.fault.is_about(target, headers)) {
            if rule.hits() {
                plan.add(&rule.fault, target);
            }
        }
        plan
    }
}

impl Rule {
    fn new(fault: Fault) -> Self {
        let seed = match fault.hits {
            Hits::Percent { seed, .. } => seed,
            _ => 0,
        };
        Self { fault, seen: 0, random: fastrand::Rng::with_seed(seed) }
    }

    fn hits(&mut self) -> bool {
        self.seen += 1;
        match self.fault.hits {
            Hits::Always => true,
            Hits::First(count) => self.seen <= count,
            Hits::Nth(number) => self.seen == number,
            Hits::Percent { percent, .. } => self.random.f64() * 100.0 < percent,
        }
    }
}

/// What to do to one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) latency: Duration,
    pub(crate) quirks: Quirks,
    pub(crate) failing_keys: FailingKeys,
    /// The first fault that decides the fate of the request; only one can.
    pub(crate) fate: Option<FaultKind>,
    /// How many faults went into the plan.
    pub(crate) faults: u64,
}

impl Plan {
    fn add(&mut self, fault: &Fault, target: &Target) {
        match &fault.kind {
            _ if fault.fails_keys_of(target) => {
                self.failing_keys.add(fault.key_contains.as_deref().unwrap_or_default());
            }
            FaultKind::Latency(latency) => self.latency += *latency,
            FaultKind::WrongChecksum => self.quirks.wrong_checksums = true,
            FaultKind::NoChecksums => self.quirks.no_checksums = true,
            FaultKind::ConditionsIgnored => self.quirks.no_conditions = true,
            _ if self.fate.is_some() => return,
            kind => self.fate = Some(kind.clone()),
        }
        self.faults += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(operation: Operation, key: &str) -> Target {
        Target { operation, key: key.into() }
    }

    fn hits(faults: &FaultHandle, target: &Target, count: usize) -> Vec<bool> {
        (0..count).map(|_| faults.plan(target, &HeaderMap::new()).faults > 0).collect()
    }

    #[test]
    fn rules_choose_operation_and_key() {
        let faults = FaultHandle::default();
        faults.add(Fault::new(FaultKind::SlowDown).on(Operation::PutObject).key_contains("x"));
        assert_eq!(hits(&faults, &target(Operation::PutObject, "axb"), 1), [true]);
        assert_eq!(hits(&faults, &target(Operation::PutObject, "ab"), 1), [false]);
        assert_eq!(hits(&faults, &target(Operation::GetObject, "axb"), 1), [false]);
        faults.clear();
        assert_eq!(hits(&faults, &target(Operation::PutObject, "axb"), 1), [false]);
    }

    #[test]
    fn rules_count_only_what_they_are_about() {
        let faults = FaultHandle::default();
        faults.add(Fault::new(FaultKind::SlowDown).on(Operation::PutObject).first(2));
        faults.add(Fault::new(FaultKind::SlowDown).on(Operation::HeadObject).nth(2));
        assert_eq!(hits(&faults, &target(Operation::GetObject, "k"), 3), [false; 3]);
        assert_eq!(hits(&faults, &target(Operation::PutObject, "k"), 3), [true, true, false]);
        assert_eq!(hits(&faults, &target(Operation::HeadObject, "k"), 3), [false, true, false]);
    }

    #[test]
    fn chance_depends_on_the_seed_alone() {
        let run = |seed| {
            let faults = FaultHandle::default();
            faults.add(Fault::new(FaultKind::SlowDown).percent(30.0, seed));
            hits(&faults, &target(Operation::PutObject, "k"), 1_000)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let count = run(7).into_iter().filter(|hit| *hit).count();
        assert!((250..350).contains(&count), "{count} of 1,000 at 30 %");
    }

    #[test]
    fn one_fate_and_any_quirks() {
        let faults = FaultHandle::default();
        faults.set([
            Fault::new(FaultKind::Latency(Duration::from_millis(1))),
            Fault::new(FaultKind::Hang),
            Fault::new(FaultKind::SlowDown),
            Fault::new(FaultKind::Latency(Duration::from_millis(2))),
            Fault::new(FaultKind::WrongChecksum),
        ]);
        let plan = faults.plan(&target(Operation::PutObject, "k"), &HeaderMap::new());
        assert_eq!(plan.latency, Duration::from_millis(3));
        assert_eq!(plan.fate, Some(FaultKind::Hang));
        assert!(plan.quirks.wrong_checksums);
        assert_eq!(plan.faults, 4);
    }

    #[test]
    fn condition_faults_leave_unconditional_writes_alone() {
        let faults = FaultHandle::default();
        faults.add(Fault::new(FaultKind::NoConditionalWrites).first(1));
        let put = target(Operation::PutObject, "k");
        assert_eq!(hits(&faults, &put, 2), [false, false]);
        let headers = HeaderMap::from_iter([(http::header::IF_NONE_MATCH, "*".parse().unwrap())]);
        assert_eq!(faults.plan(&put, &headers).faults, 1);
    }
}
