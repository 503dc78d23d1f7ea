//! Where an alert goes.

/// A message in a channel, as Slack names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRef {
    /// The channel's id (`C0123456789`).
    pub channel: String,
    /// Slack's name for the message in its channel.
    pub ts: String,
}

/// Where an alert goes. A webhook can only post: through one, each of these is a new message of the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place<'a> {
    /// A new message in the channel of the options.
    #[default]
    Channel,
    /// A new message in the thread of this one. Whoever follows the thread is notified.
    Thread(&'a MessageRef),
    /// This message, which then says what the alert says. Nobody is notified.
    Message(&'a MessageRef),
}

impl<'a> Place<'a> {
    /// The message that must be there already.
    pub(crate) fn message(self) -> Option<&'a MessageRef> {
        match self {
            Self::Channel => None,
            Self::Thread(message) | Self::Message(message) => Some(message),
        }
    }
}
