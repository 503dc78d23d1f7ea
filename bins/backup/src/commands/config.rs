//! `backup config`: what the settings are, and where each comes from.

use s3backup_core::{Trigger, line_of};
use serde_json::json;

use crate::cli::Common;
use crate::exit::{Exit, Stop};
use crate::{console, session};

pub(crate) fn run(common: &Common) -> Result<Exit, Stop> {
    let loaded = session::load(common)?;
    // Globs and prefixes are core's to judge: what `run` would refuse is refused here, too.
    let backup = loaded.settings.backup(Trigger::Manual).build();
    backup.map_err(|error| Stop::usage(line_of(&error)))?;
    for warning in &loaded.warnings {
        console::say_warning(warning);
    }
    let printed = |error: std::io::Error| Stop::failed(format!("cannot print the configuration: {error}"));
    let values = loaded.explain();
    if common.json {
        let values: Vec<_> = values
            .iter()
            .map(|value| json!({ "key": value.key, "value": value.value, "source": value.source }))
            .collect();
        console::print(&json!({ "file": loaded.file, "values": values }).to_string()).map_err(printed)?;
        return Ok(Exit::Success);
    }
    let width =
        values.iter().map(|value| value.key.len() + value.value.len() + 3).max().unwrap_or_default().min(72);
    for value in values {
        let setting = format!("{} = {}", value.key, value.value);
        console::print(&format!("{setting:<width$}  # {}", value.source)).map_err(printed)?;
    }
    Ok(Exit::Success)
}
