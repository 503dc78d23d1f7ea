//! What the engine says, taken into the record and told to whoever watches.

use std::collections::VecDeque;

use s3backup_model::Event;
use s3backup_transfer::Update;

use crate::events::Emitter;
use crate::record::{Proved, Record};

/// What is to be told of the updates that were taken in.
#[derive(Default)]
pub(crate) struct Said {
    /// Bytes that arrived and were not told of.
    sent_bytes: u64,
    events: VecDeque<Event>,
}

impl Said {
    /// Takes in one update; gives the file that it proves. What the record keeps is kept before anything is waited for, so that
    /// dropping the future loses an event at most.
    pub(crate) async fn take(
        &mut self,
        update: Update,
        record: &mut Record,
        events: &Emitter,
    ) -> Option<Proved> {
        match update {
            Update::Sent { bytes } => self.sent_bytes += bytes,
            Update::Retrying { key, attempt, delay, cause } => {
                self.events.push_back(Event::Retrying { key, attempt, delay, cause });
            }
            Update::Warning { message } => record.warn(events, message).await,
            Update::Done(done) => return record.done(events, *done, &mut self.events).await,
            _ => {}
        }
        None
    }

    /// Tells it. What it did not get to when the future is dropped is told by the next call.
    pub(crate) async fn tell(&mut self, events: &Emitter) {
        let bytes = std::mem::take(&mut self.sent_bytes);
        if bytes > 0 {
            self.events.push_front(Event::Sent { bytes });
        }
        events.emit_all(&mut self.events).await;
    }
}
