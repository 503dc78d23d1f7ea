//! Whatever a file or a variable holds, the answer is settings or an error.

mod common;

use common::{Folder, LEAST};
use proptest::prelude::*;
use s3backup_config::{template, tolerant_start};

/// Pieces of configurations, and what breaks them.
fn piece() -> impl Strategy<Value = String> {
    let known = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ",",
        ":",
        "\n",
        "\"",
        "'''",
        "#",
        "\\",
        "- ",
        "  ",
        "job",
        "slack",
        "source",
        "step",
        "destination",
        "bucket",
        "token_env",
        "transfer",
        "memory",
        "\"64 MiB\"",
        "1",
        "-1",
        "1e999",
        "true",
        "null",
        "2026-11-23",
        "99999999999999999999 TiB",
        "\"day:yesterday\"",
        "[schedule]\n",
        "cron = \"* * * * *\"\n",
        "[prune]\n",
        "keep_daily = 1\n",
        "\"50%\"",
        "\"auto\"",
        "é",
        "\u{0}",
        "\u{feff}",
        "[slack]\n",
        "[[source]]\n",
        "path = \"x\"\n",
        "[job.a]\n",
        "job = \"a\"\n",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_panics(pieces in prop::collection::vec(piece(), 0..30), extension in 0..3_usize, after in any::<bool>()) {
        let mut folder = Folder::new();
        let name = ["b.toml", "b.yaml", "b.json"][extension];
        let text = pieces.concat();
        folder.write(name, &if after { format!("{}{text}", template()) } else { text });
        folder.request.file = Some(name.into());
        let _ = folder.load().map_err(|error| error.to_string());
        let _ = tolerant_start(&folder.request);
    }

    #[test]
    fn no_variable_panics(name in "[A-Z_]{0,8}", known in 0..6_usize, value in piece()) {
        let prefix = ["", "DESTINATION__", "SLACK__", "TRANSFER__MEMORY", "SOURCE", "JOB"][known];
        let folder = Folder::with(LEAST).variable(&format!("BACKUP_{prefix}{name}"), &value);
        let _ = folder.load().map_err(|error| error.to_string());
    }
}
