//! What a server has done so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Operation;

/// What a server has done so far; a copy that stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests by operation, counted on arrival, those hit by a fault included; operations never asked for are
    /// absent.
    pub requests: BTreeMap<Operation, u64>,
    /// Faults injected. A request that is hit by two (say latency and a reset) counts twice.
    pub faults: u64,
    /// Connections accepted.
    pub connections: u64,
    /// The most requests that were under way at once.
    pub peak_requests: u64,
}

impl Stats {
    /// How many requests asked for an operation.
    pub fn of(&self, operation: Operation) -> u64 {
        self.requests.get(&operation).copied().unwrap_or(0)
    }

    /// How many requests there were.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// The counters behind [`Stats`].
#[derive(Debug)]
pub(crate) struct Counters {
    requests: Vec<AtomicU64>,
    faults: AtomicU64,
    connections: AtomicU64,
    under_way: AtomicU64,
    peak: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: Operation::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            faults: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub(crate) fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn faults(&self, count: u64) {
        self.faults.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a request, which is under way until what this returns is dropped.
    pub(crate) fn request(&self, operation: Operation) -> UnderWay<'_> {
        if let Some(counter) = self.requests.get(operation as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(under_way, Ordering::Relaxed);
        UnderWay(self)
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let requests = Operation::ALL.iter().zip(&self.requests);
        Stats {
            requests: requests
                .map(|(operation, counter)| (*operation, count(counter)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            faults: count(&self.faults),
            connections: count(&self.connections),
            peak_requests: count(&self.peak),
        }
    }
}

/// A request under way.
pub(crate) struct UnderWay<'a>(&'a Counters);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
