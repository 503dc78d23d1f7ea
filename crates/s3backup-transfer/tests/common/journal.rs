//! A journal of uploads in memory that keeps what was asked of it, and ways to interrupt what it remembers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use s3backup_model::Key;
use s3backup_transfer::{Engine, JournalError, OpenUpload, Update, Upload, UploadJournal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Said};

/// Outlives engines, as one on disk does.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    state: Mutex<State>,
    /// The call that fails.
    fails_at: Option<&'static str>,
}

#[derive(Debug, Default)]
struct State {
    intended: HashSet<Key>,
    open: HashMap<Key, OpenUpload>,
    calls: Vec<&'static str>,
}

impl Journal {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn failing_at(call: &'static str) -> Arc<Self> {
        Arc::new(Self { fails_at: Some(call), ..Self::default() })
    }

    /// What was asked since the last time.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// What it remembers to be open.
    pub(crate) fn open(&self) -> Vec<OpenUpload> {
        self.state.lock().unwrap().open.values().cloned().collect()
    }

    /// Changes what it remembers.
    pub(crate) fn meddle(&self, change: impl Fn(&mut OpenUpload)) {
        self.state.lock().unwrap().open.values_mut().for_each(change);
    }

    /// Keys of which an upload may be open whose id is not known.
    pub(crate) fn intended(&self) -> usize {
        self.state.lock().unwrap().intended.len()
    }

    fn note<T>(&self, call: &'static str, work: impl FnOnce(&mut State) -> T) -> Result<T, JournalError> {
        let mut state = self.state.lock().unwrap();
        state.calls.push(call);
        if self.fails_at == Some(call) {
            return Err("the disk is full".into());
        }
        Ok(work(&mut state))
    }
}

impl UploadJournal for Journal {
    fn intend(&self, key: &Key) -> Result<(), JournalError> {
        self.note("intend", |state| {
            state.intended.insert(key.clone());
        })
    }

    fn begun(&self, key: &Key, upload: &OpenUpload) -> Result<(), JournalError> {
        self.note("begun", |state| {
            assert!(state.intended.remove(key), "an upload is intended before it is begun");
            state.open.insert(key.clone(), upload.clone());
        })
    }

    fn find(&self, key: &Key) -> Result<Option<OpenUpload>, JournalError> {
        self.note("find", |state| state.open.get(key).cloned())
    }

    fn ended(&self, key: &Key) -> Result<(), JournalError> {
        self.note("ended", |state| {
            state.intended.remove(key);
            state.open.remove(key);
        })
    }
}

/// Sends `upload` and ends the run as soon as a part has arrived.
pub(crate) async fn interrupt(engine: Engine, upload: Upload) -> Said {
    let cancel = CancellationToken::new();
    let (to_engine, planned) = mpsc::channel(1);
    to_engine.try_send(upload).unwrap();
    drop(to_engine);
    // The engine waits for a listener that has not taken the last update: it cannot run far ahead.
    let (said, mut updates) = mpsc::channel(1);
    let mut heard = Said::default();
    let listening = async {
        while let Some(update) = updates.recv().await {
            if matches!(update, Update::Sent { .. }) {
                cancel.cancel();
            }
            heard.note(update);
        }
    };
    let both = futures::future::join(engine.run(planned, said, cancel.clone()), listening);
    tokio::time::timeout(PATIENCE, both).await.expect("the engine ends");
    heard
}
