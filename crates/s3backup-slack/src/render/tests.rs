//! What messages look like, and what holds for every one of them.

use proptest::prelude::*;
use s3backup_model::{FailureKind, Name, RunId};

use super::*;

fn alert() -> Alert {
    let failure = |path: &str, kind, message: &str, attempts| Failure {
        path: path.to_owned(),
        kind,
        message: message.to_owned(),
        attempts,
    };
    Alert {
        kind: AlertKind::Partial,
        job: Name::lossy("telemetry"),
        host: Name::lossy("gateway-1"),
        at: "2026-11-24T20:05:13+09:00".parse().unwrap(),
        headline: "telemetry on gateway-1: 12 of 4,000 files are not in the bucket".to_owned(),
        message: "The next run tries them again.".to_owned(),
        run_id: Some(RunId::new("2026-11-24T11:00:00Z".parse().unwrap(), 0x7f3a_91c2)),
        facts: vec![
            ("Uploaded".to_owned(), "3,988 files, 1.2 GiB".to_owned()),
            ("Empty".to_owned(), String::new()),
            ("Next due".to_owned(), "2026-11-25 20:00".to_owned()),
        ],
        failures: vec![
            failure("/data/trips/v1/a`b.json", FailureKind::Changed, "it changed <each> time", 3),
            failure("/data/trips/v1/c.json", FailureKind::Unreadable, "permission denied", 1),
        ],
        failed_total: 12,
        warnings: vec!["the bucket has no versioning".to_owned()],
    }
}

#[test]
fn a_message_reads_so() {
    let message = render(&alert(), &["@here".to_owned()], &Limits::default());
    let mrkdwn = |text: &str| json!({"type": "mrkdwn", "text": text, "verbatim": true});
    let section = |text: &str| json!({"type": "section", "text": mrkdwn(text)});
    let headline = ":warning: telemetry on gateway-1: 12 of 4,000 files are not in the bucket";
    let expected = json!({
        "text": headline,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": headline, "emoji": true}},
            section("The next run tries them again."),
            {"type": "section", "fields": [
                mrkdwn("*Uploaded*\n3,988 files, 1.2 GiB"),
                mrkdwn("*Next due*\n2026-11-25 20:00"),
            ]},
            section(concat!(
                "*Failures* (12)",
                "\n• `/data/trips/v1/aˋb.json` changed: it changed &lt;each&gt; time (3 attempts)",
                "\n• `/data/trips/v1/c.json` unreadable: permission denied",
                "\nand 10 more",
            )),
            section("*Warnings*\n• the bucket has no versioning"),
            {"type": "context", "elements": [mrkdwn(concat!(
                "partial · telemetry on gateway-1 · run 20261124T110000.000Z-7f3a91c2",
                " · 2026-11-24 20:05:13 +09:00",
            ))]},
        ],
    });
    assert_eq!(message, expected);
}

#[test]
fn only_urgent_alerts_mention() {
    let mention = ["@here".to_owned(), "U123".to_owned(), "nobody".to_owned()];
    for kind in [AlertKind::Success, AlertKind::Partial, AlertKind::Recovered, AlertKind::Differs] {
        let message = render(&Alert { kind, ..alert() }, &mention, &Limits::default());
        assert!(!message.to_string().contains("<!here>"), "{kind:?}");
    }
    for kind in [AlertKind::Failed, AlertKind::Late] {
        let message = render(&Alert { kind, ..alert() }, &mention, &Limits::default());
        assert!(message["text"].as_str().unwrap().starts_with("<!here> <@U123> :"));
        // Beside blocks, the text alone notifies nobody.
        let opening = message["blocks"][1]["text"]["text"].as_str().unwrap();
        assert_eq!(opening, "<!here> <@U123>\nThe next run tries them again.");
    }
}

#[test]
fn a_long_headline_is_whole_in_the_opening() {
    let headline = "telemetry on gateway-1 failed because ".repeat(8);
    let message = render(&Alert { headline: headline.clone(), ..alert() }, &[], &Limits::default());
    assert_eq!(width(message["blocks"][0]["text"]["text"].as_str().unwrap()), 150);
    let opening = message["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(opening.starts_with(headline.trim()), "{opening}");
}

#[test]
fn nothing_to_say_is_still_a_message() {
    let empty = Alert {
        headline: " \n".to_owned(),
        message: String::new(),
        facts: vec![(String::new(), String::new())],
        failures: Vec::new(),
        failed_total: 0,
        warnings: Vec::new(),
        run_id: None,
        ..alert()
    };
    let message = render(&empty, &[], &Limits::default());
    assert_eq!(message["text"], ":warning: telemetry on gateway-1: partial");
    assert_eq!(message["blocks"].as_array().unwrap().len(), 2);
}

#[test]
fn what_does_not_fit_is_counted() {
    let many = Alert {
        facts: (0..30).map(|n| (format!("Fact {n}"), "x".to_owned())).collect(),
        failures: vec![alert().failures[0].clone(); 50],
        failed_total: 5_000,
        warnings: (0..9).map(|n| format!("warning {n}")).collect(),
        ..alert()
    };
    let text = render(&many, &[], &Limits::default()).to_string();
    assert!(text.contains("and 4990 more"), "{text}");
    assert!(text.contains("and 4 more"), "{text}");
    assert!(text.contains("10 facts not shown"), "{text}");
}

#[test]
fn a_long_path_keeps_its_end() {
    let mut long = alert();
    long.failures[0].path = format!("/data/{}/trip.json", "deep/".repeat(100));
    let text = render(&long, &[], &Limits::default()).to_string();
    assert!(text.contains("`…") && text.contains("/trip.json` changed"), "{text}");
}

#[test]
fn plain_text_says_the_same() {
    let mentions = [Mention::parse("@here").unwrap()];
    let alert = Alert { kind: AlertKind::Late, ..alert() };
    let message = Message {
        alert: &alert,
        mentions: &mentions,
        limits: &Limits::default(),
        note: Some("may be a repeat"),
    };
    let plain = message.plain();
    assert!(plain.get("blocks").is_none());
    let text = plain["text"].as_str().unwrap();
    for part in [
        "<!here> :alarm_clock: telemetry on",
        "tries them",
        "• Uploaded: 3,988 files",
        "and 10 more",
        "no versioning",
        "may be a repeat · late",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Texts that try to break out, among any others.
fn hostile() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => prop::sample::select(vec![
            "<!channel>", "<!here>", "<@U123>", "@here", "@channel", "<http://x|y>", "&", "&amp;", "<", ">", "`", "```",
            "\n", "\r\n", "\t", "\0", "\u{7f}", "\u{202e}", "\u{2066}", "\u{feff}", "\u{e0041}", "*", "_", "~", "🚗",
            "한글", "é", "e\u{301}", " ", "…",
        ])
        .prop_map(str::to_owned),
        1 => any::<String>(),
        1 => ".{0,40}",
    ];
    let short = prop::collection::vec(token.clone(), 0..6).prop_map(|tokens| tokens.concat());
    let long = (token, 1_usize..4_000).prop_map(|(token, times)| token.repeat(times));
    prop_oneof![6 => short, 1 => long]
}

prop_compose! {
    fn hostile_alert()(
        (headline, message) in (hostile(), hostile()),
        facts in prop::collection::vec((hostile(), hostile()), 0..40),
        failures in prop::collection::vec((hostile(), hostile(), 0_u32..3), 0..15),
        failed_total in prop_oneof![0_u64..20, Just(u64::MAX)],
        warnings in prop::collection::vec(hostile(), 0..8),
        run_id in prop::option::of(hostile()),
        kind in prop::sample::select(vec![AlertKind::Failed, AlertKind::Partial]),
    ) -> Alert {
        let run_id = run_id.map(|text| serde_json::from_value(Value::from(text)).unwrap());
        let failures = failures
            .into_iter()
            .map(|(path, message, attempts)| Failure { path, kind: FailureKind::Other, message, attempts })
            .collect();
        Alert { kind, headline, message, run_id, facts, failures, failed_total, warnings, ..alert() }
    }
}

prop_compose! {
    fn any_limits()(
        blocks in 0_usize..60,
        header_chars in 0_usize..200,
        section_chars in 0_usize..4_000,
        fields_per_section in 0_usize..12,
        field_chars in 0_usize..600,
        text_chars in 0_usize..5_000,
        total_chars in 0_usize..12_000,
        (facts, failures, warnings) in (0_usize..30, 0_usize..15, 0_usize..8),
    ) -> Limits {
        Limits {
            blocks, header_chars, section_chars, fields_per_section, field_chars, text_chars, total_chars, facts,
            failures, warnings,
        }
    }
}

/// All that Slack demands of a message, and all that a reader may trust in.
fn check(message: &Value, limits: &Limits, urgent: bool) -> Result<(), TestCaseError> {
    let text = message["text"].as_str().unwrap();
    check_text(text, limits.text_chars.max(1), urgent)?;
    let no_blocks = Vec::new();
    let blocks = match message.get("blocks") {
        Some(blocks) => blocks.as_array().unwrap(),
        None => &no_blocks,
    };
    prop_assert!(message.get("blocks").is_none_or(|_| !blocks.is_empty()));
    prop_assert!(blocks.len() <= limits.blocks);
    let mut total = 0;
    for block in blocks {
        let (texts, limit) = match block["type"].as_str().unwrap() {
            "header" => {
                prop_assert_eq!(&block["text"]["type"], "plain_text");
                (vec![&block["text"]], limits.header_chars)
            }
            "section" if block.get("fields").is_some() => {
                let fields = block["fields"].as_array().unwrap();
                prop_assert!((1..=limits.fields_per_section).contains(&fields.len()));
                (fields.iter().collect(), limits.field_chars)
            }
            "section" => (vec![&block["text"]], limits.section_chars),
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                prop_assert!((1..=10).contains(&elements.len()));
                (elements.iter().collect(), limits.section_chars)
            }
            other => return Err(TestCaseError::fail(format!("a block {other}"))),
        };
        for object in texts {
            let text = object["text"].as_str().unwrap();
            check_text(text, limit, urgent)?;
            prop_assert!(object["type"] == "plain_text" || object["verbatim"] == true);
            total += width(text);
        }
    }
    prop_assert!(total <= limits.total_chars, "{} of {}", total, limits.total_chars);
    Ok(())
}

fn check_text(text: &str, limit: usize, urgent: bool) -> Result<(), TestCaseError> {
    prop_assert!(!text.trim().is_empty());
    prop_assert!(width(text) <= limit, "{} of {}: {:?}", width(text), limit, text);
    let own =
        if urgent { text.replace("<!here>", "").replace("<!subteam^S123>", "") } else { text.to_owned() };
    prop_assert!(!own.contains(['<', '>']), "{:?}", own);
    let unescaped = own.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
    prop_assert!(!unescaped.contains('&'), "{:?}", own);
    prop_assert!(!own.contains("```"));
    let unseen = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    prop_assert!(!own.contains(unseen), "{:?}", own);
    Ok(())
}

/// A cut may leave the beginning of a longer word, which pings as little as the word did.
fn is_ping(text: &str) -> bool {
    ["@here", "@channel"].iter().any(|word| {
        let harmless = |c: char| c.is_alphanumeric() || c == '…';
        text.match_indices(word).any(|(at, word)| !text[at + word.len()..].starts_with(harmless))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn every_message_is_one_that_slack_takes(alert in hostile_alert(), other in any_limits(), note: bool) {
        let mentions = [Mention::parse("@here").unwrap(), Mention::parse("S123").unwrap()];
        let urgent = alert.kind.is_urgent();
        for limits in [&Limits::default(), &other] {
            let note = note.then_some("may be a repeat");
            let message = Message { alert: &alert, mentions: &mentions, limits, note };
            check(&message.with_blocks(), limits, urgent)?;
            // In code, as paths are, it is no mention anywhere.
            prop_assert!(!is_ping(&message.title()) && !is_ping(&message.opening(3_000)));
            check(&message.plain(), limits, urgent)?;
        }
    }
}
