//! `backup slack --test`: whether alerts arrive.

use serde_json::json;

use crate::cli::Common;
use crate::console;
use crate::exit::{Exit, Stop};
use crate::session;

pub(crate) async fn test(common: &Common) -> Result<Exit, Stop> {
    let opened = session::open_quietly(common).await?;
    let delivery = opened.backup.test_slack().await.map_err(|error| match Stop::of(&error) {
        // The settings can be read; it is Slack that does not take them.
        Stop { exit: Exit::Usage, message } if opened.settings.slack.is_some() => Stop::failed(message),
        stop => stop,
    })?;
    if common.json {
        return console::show(&json!({ "arrived": true, "alerts": delivery }).to_string());
    }
    let more = match delivery.sent {
        0 => String::new(),
        1 => ", and an alert that had waited".to_owned(),
        more => format!(", and {more} alerts that had waited"),
    };
    console::show(&format!("the test message is in Slack{more}"))
}
