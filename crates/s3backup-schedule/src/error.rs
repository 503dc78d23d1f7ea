//! Why a text is no schedule.

/// The longest text that an error repeats.
const MAX_SHOWN_CHARS: usize = 60;

/// What keeps a text from being a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no cron expression.
    #[error(
        "{cron:?} is not a cron expression: {why}; write minute, hour, day of month, month and day of week, such as \
         \"0 20 * * *\" for every day at 20:00"
    )]
    Invalid {
        /// The text; its beginning if it is long.
        cron: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such day: 30 February.
    #[error("{cron:?} is never due: no month that it names has such a day")]
    NeverDue {
        /// The cron expression.
        cron: String,
    },
}

impl Error {
    pub(crate) fn invalid(cron: &str, why: impl Into<String>) -> Self {
        Self::Invalid { cron: shown(cron), why: why.into() }
    }
}

/// A text, cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
