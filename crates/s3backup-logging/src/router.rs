//! The root drain: stamps each record with its time and hands it to the lanes that want its level.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use slog::{BorrowedKV, Drain, Level, Never, OwnedKVList, Record, RecordStatic};

use crate::builder::Clock;
use crate::entry::Stamped;
use crate::lane::Lane;

/// A lane and the least severe level that it takes.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) lane: Arc<Lane>,
    pub(crate) level: Level,
}

pub(crate) struct Router {
    routes: Vec<Route>,
    clock: AssertUnwindSafe<Clock>,
}

impl Router {
    pub(crate) fn new(routes: Vec<Route>, clock: Clock) -> Self {
        Self { routes, clock: AssertUnwindSafe(clock) }
    }
}

impl Drain for Router {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if !self.is_enabled(record.level()) {
            return Ok(());
        }
        let header = RecordStatic { location: record.location(), tag: record.tag(), level: record.level() };
        let stamped = Stamped { values: record.kv(), time: (self.clock)() };
        let record = Record::new(&header, record.msg(), BorrowedKV(&stamped));
        for route in &self.routes {
            if record.level().is_at_least(route.level) {
                route.lane.log(&record, values);
            }
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.routes.iter().any(|route| level.is_at_least(route.level))
    }
}
