//! What an embedder and steps want said of a run.

use s3backup_core::{Error, Event, Fact, OnFailure, Outcome, RunReport, Step, alert};

use crate::bench::{Bench, failed, soon, watch, write};

fn shell(script: &str) -> Step {
    Step::new("make", ["sh", "-c", script])
}

fn said(report: &RunReport) -> Vec<(&str, &str)> {
    report.facts.iter().map(|fact| (fact.label.as_str(), fact.value.as_str())).collect()
}

#[tokio::test]
async fn an_embedder_and_steps_have_their_word_in_the_report_and_in_the_message() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let early = write(&bench.dir("early").join("facts"), "Trips: 1\nFrom: a task\n");
    let script = r#"echo 'Distance: 12,345 km' >> "$BACKUP_FACTS"; echo 'Trips: 17' >> "$BACKUP_FACTS"
        echo "$BACKUP_FACTS""#;
    let job = bench.builder().fact("Fleet", "200 vehicles").facts_file(early).step(shell(script));
    let (events, result) = watch(&job.step(shell("true")).build().unwrap()).await;
    let report = result.unwrap();
    let expected =
        [("Fleet", "200 vehicles"), ("Trips", "17"), ("From", "a task"), ("Distance", "12,345 km")];
    assert_eq!(said(&report), expected);
    assert_eq!(report.warnings.len(), 1, "the bucket's versioning alone: {:?}", report.warnings);
    assert_eq!(bench.stored_report(&report).await, report);
    let labels: Vec<String> =
        alert::of_run(&report, None).facts.into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels[4..], ["Duration", "Fleet", "Trips", "From", "Distance", "Destination", "Trigger"]);
    let place = events.iter().find_map(|event| match event {
        Event::StepOutput { line, .. } => Some(std::path::PathBuf::from(line)),
        _ => None,
    });
    assert!(!place.unwrap().parent().unwrap().exists(), "nothing of it is left");
}

#[tokio::test]
async fn a_report_without_facts_has_none_and_old_ones_are_read() {
    let bench = Bench::new().await;
    let report = soon(bench.backup().run()).await.unwrap();
    let mut json = serde_json::to_value(&report).unwrap();
    assert!(json.get("facts").is_none());
    json["facts"] = serde_json::json!([{ "label": "a", "value": "1", "unit": "of a newer version" }]);
    let newer: RunReport = serde_json::from_value(json).unwrap();
    assert_eq!(newer.facts, [Fact::new("a", "1").unwrap()]);
}

#[tokio::test]
async fn nonsense_of_a_step_is_a_warning() {
    let bench = Bench::new().await;
    bench.file("a", "a");
    let secret = bench.dir("elsewhere").join("secret");
    write(&secret, "Password: hush\n");
    let link = format!("ln -sf {} \"$BACKUP_FACTS\"", secret.display());
    for (script, words) in [
        ("yes 'a: \\377' | head -c 200000 > \"$BACKUP_FACTS\"", "only its first 64 KiB were read"),
        ("echo nonsense > \"$BACKUP_FACTS\"", "line 1 is no `label: value`"),
        ("rm \"$BACKUP_FACTS\"; mkfifo \"$BACKUP_FACTS\"", "it is no regular file"),
        ("rm \"$BACKUP_FACTS\"; mkdir -p \"$BACKUP_FACTS/a\"", "it is no regular file"),
        ("rm \"$BACKUP_FACTS\"", "No such file"),
        (&link, "it is a symbolic link"),
        ("echo \"Token: $TOKEN\" >> \"$BACKUP_FACTS\"", "a secret of the backup"),
        (
            "for n in $(seq 30); do echo \"fact $n: $n\"; done > \"$BACKUP_FACTS\"",
            "the first 10 are left out",
        ),
    ] {
        let mut step = shell(script);
        step.env.insert("TOKEN".to_owned(), "xoxb-hush".to_owned());
        let job = bench.builder().withhold("xoxb-hush".into()).step(step);
        let report = soon(job.build().unwrap().run()).await.unwrap();
        assert_eq!(report.outcome, Outcome::Success, "{script}");
        let mut told = report.warnings.iter().filter(|told| told.starts_with("the facts of step `make`: "));
        assert!(told.any(|told| told.contains(words)), "{script}: {:?}", report.warnings);
        assert!(report.facts.len() <= 20);
        assert!(!serde_json::to_string(&report).unwrap().contains("hush"), "{script}");
    }
    let job = bench.builder().facts_file("/nowhere/at/all");
    let report = soon(job.build().unwrap().run()).await.unwrap();
    let missing = "the facts of /nowhere/at/all: it cannot be read: No such file";
    assert!(report.warnings.iter().any(|told| told.starts_with(missing)), "{:?}", report.warnings);
}

#[tokio::test]
async fn a_run_that_fails_says_what_was_noted_before() {
    let bench = Bench::new().await;
    let noting = shell("echo 'Distance: 1 km' >> \"$BACKUP_FACTS\"; exit 3");
    let mut lenient = noting.clone();
    lenient.on_failure = OnFailure::Continue;
    let job = bench.builder().fact("Fleet", "200").step(lenient).step(noting).step(shell("true"));
    let report = failed(soon(job.build().unwrap().run()).await);
    assert_eq!(said(&report), [("Fleet", "200"), ("Distance", "1 km")]);
    let labels: Vec<String> =
        alert::of_run(&report, None).facts.into_iter().map(|(label, _)| label).collect();
    assert_eq!(labels[4..8], ["Duration", "Step make", "Step make", "Step make"], "trouble comes first");
    assert_eq!(labels[8..10], ["Fleet", "Distance"]);
}

#[tokio::test]
async fn a_fact_that_is_none_is_refused_when_the_backup_is_built() {
    let bench = Bench::new().await;
    let numbers = (0..21).fold(bench.builder(), |job, number| job.fact(number.to_string(), "1"));
    for (job, words) in [
        (bench.builder().fact("", "1"), "the label of 1 to 60"),
        (bench.builder().fact("a", "1\n2"), "\"a\" is not a fact"),
        (numbers, "there are 21, and a report has room for 20"),
    ] {
        let Err(Error::Invalid { what, why }) = job.build() else { panic!("it was built: {words}") };
        assert_eq!(what, "the facts");
        assert!(why.contains(words), "{why}");
    }
}
