//! Troubles, and alerts on their way.

use chrono::TimeDelta;
use s3backup_catalog::{AlertForm, AlertsWaiting, Catalog, NewAlert, Settled, Telling};
use s3backup_model::{Alert, AlertKind, Name, Trouble};

use crate::common::at;

const LEASE: TimeDelta = TimeDelta::seconds(100);

fn trouble(kind: AlertKind, due: i64) -> Trouble {
    Trouble { job: Name::new("telemetry").unwrap(), host: Name::new("gw-1").unwrap(), kind, due: at(due) }
}

fn alert(kind: AlertKind, headline: &str) -> Alert {
    Alert {
        kind,
        job: Name::new("telemetry").unwrap(),
        host: Name::new("gw-1").unwrap(),
        at: at(0).fixed_offset(),
        headline: headline.to_owned(),
        message: String::new(),
        run_id: None,
        facts: Vec::new(),
        failures: Vec::new(),
        failed_total: 0,
        warnings: Vec::new(),
    }
}

/// A failure that is noticed and told.
fn failed(due: i64, headline: &str) -> Telling {
    let (trouble, alert) = (trouble(AlertKind::Failed, due), alert(AlertKind::Failed, headline));
    let told = NewAlert {
        trouble: trouble.clone(),
        form: AlertForm::Message,
        alert: alert.clone(),
        held_until: None,
    };
    Telling { noticed: vec![(trouble, alert)], alerts: vec![told], ..Telling::default() }
}

fn later(seconds: i64) -> Settled {
    let why = Some("slack is down".to_owned());
    Settled::Later { next_try_at: at(seconds), why, maybe_posted: false, is_refused: false }
}

fn told() -> Settled {
    Settled::Told { message: Some(("C1".to_owned(), "1.5".to_owned())) }
}

fn claimed(catalog: &mut Catalog, seconds: i64) -> Option<String> {
    catalog.claim_alert(at(seconds), LEASE).unwrap().map(|row| row.alert.headline)
}

#[test]
fn an_alert_is_taken_by_one_at_a_time_until_it_is_told() {
    let mut catalog = Catalog::temporary().unwrap();
    catalog.tell(&failed(0, "no bucket"), at(1)).unwrap();
    let row = catalog.claim_alert(at(1), LEASE).unwrap().unwrap();
    assert_eq!((row.tries, row.maybe_posted, row.failing_since), (0, false, None));
    assert_eq!(claimed(&mut catalog, 100), None, "somebody has it");
    let again = catalog.claim_alert(at(101), LEASE).unwrap().unwrap();
    assert_eq!(
        (again.id, again.tries, again.maybe_posted),
        (row.id, 1, true),
        "who had it did not come back"
    );
    catalog.settle_alert(row.id, &later(200), at(102)).unwrap();
    assert_eq!(claimed(&mut catalog, 199), None);
    let waiting = catalog.alerts_waiting().unwrap();
    let expected = AlertsWaiting {
        waiting: 1,
        refused: 0,
        failing_since: Some(at(102)),
        why: Some("slack is down".to_owned()),
        next_try_at: Some(at(200)),
    };
    assert_eq!(waiting, expected);
    let row = catalog.claim_alert(at(200), LEASE).unwrap().unwrap();
    assert_eq!((row.maybe_posted, row.failing_since), (false, Some(at(102))));
    catalog.settle_alert(row.id, &told(), at(201)).unwrap();
    assert_eq!(catalog.alerts_waiting().unwrap(), AlertsWaiting::default());
    assert_eq!(claimed(&mut catalog, 9999), None);
    let known = catalog.trouble(&trouble(AlertKind::Failed, 0)).unwrap().unwrap();
    assert_eq!((known.message, known.told_at), (Some(("C1".to_owned(), "1.5".to_owned())), Some(at(201))));
}

#[test]
fn alerts_of_one_trouble_keep_their_order_and_do_not_hold_back_others() {
    let mut catalog = Catalog::temporary().unwrap();
    catalog.tell(&failed(0, "first"), at(1)).unwrap();
    let row = catalog.claim_alert(at(1), LEASE).unwrap().unwrap();
    catalog.settle_alert(row.id, &later(500), at(1)).unwrap();
    catalog.tell(&failed(0, "second"), at(2)).unwrap();
    catalog.tell(&failed(9, "of another"), at(3)).unwrap();
    assert_eq!(claimed(&mut catalog, 10).as_deref(), Some("of another"));
    assert_eq!(claimed(&mut catalog, 11), None);
    // One that nobody has tried says the newer thing instead.
    catalog.tell(&failed(0, "third"), at(12)).unwrap();
    let row = catalog.claim_alert(at(500), LEASE).unwrap().unwrap();
    assert_eq!(row.alert.headline, "first");
    catalog.settle_alert(row.id, &told(), at(500)).unwrap();
    let row = catalog.claim_alert(at(500), LEASE).unwrap();
    let headlines: Vec<_> =
        row.into_iter().map(|row| row.alert.headline).chain(claimed(&mut catalog, 500)).collect();
    assert!(
        headlines.contains(&"third".to_owned()) && !headlines.contains(&"second".to_owned()),
        "{headlines:?}"
    );
    let known = catalog.trouble(&trouble(AlertKind::Failed, 0)).unwrap().unwrap();
    assert_eq!((known.times, known.alert.headline.as_str(), known.since), (3, "third", at(1)));
}

#[test]
fn when_one_arrives_those_that_failed_are_tried_at_once() {
    let mut catalog = Catalog::temporary().unwrap();
    catalog.tell(&failed(0, "yesterday"), at(1)).unwrap();
    let row = catalog.claim_alert(at(1), LEASE).unwrap().unwrap();
    catalog.settle_alert(row.id, &later(3_000), at(1)).unwrap();
    catalog.tell(&failed(9, "today"), at(10)).unwrap();
    let row = catalog.claim_alert(at(10), LEASE).unwrap().unwrap();
    assert_eq!(row.alert.headline, "today");
    catalog.settle_alert(row.id, &told(), at(11)).unwrap();
    assert_eq!(claimed(&mut catalog, 11).as_deref(), Some("yesterday"));
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_back() {
    let mut catalog = Catalog::temporary().unwrap();
    let year = 365 * 86_400;
    catalog.tell(&failed(0, "from the future"), at(year)).unwrap();
    let row = catalog.claim_alert(at(year), LEASE).unwrap().unwrap();
    assert!(claimed(&mut catalog, 0).is_some(), "the lease");
    catalog.settle_alert(row.id, &later(year + 60), at(year)).unwrap();
    assert!(claimed(&mut catalog, 0).is_some(), "the next try");
}

#[test]
fn what_is_held_back_goes_out_later_or_with_its_trouble() {
    let mut catalog = Catalog::temporary().unwrap();
    let held = |due| {
        let mut telling = failed(due, "held");
        telling.alerts[0].held_until = Some(at(10_000));
        telling
    };
    for due in [0, 1] {
        catalog.tell(&held(due), at(1)).unwrap();
    }
    assert_eq!(claimed(&mut catalog, 9_999), None);
    assert_eq!(catalog.alerts_waiting().unwrap(), AlertsWaiting::default(), "it is no failure");
    assert!(catalog.open_troubles(9).unwrap().iter().all(|row| row.is_held));
    let over = Telling { ended: vec![trouble(AlertKind::Failed, 0)], ..Telling::default() };
    catalog.tell(&over, at(2)).unwrap();
    assert_eq!(catalog.open_troubles(9).unwrap().len(), 1);
    let row = catalog.claim_alert(at(10_000), LEASE).unwrap().unwrap();
    catalog.settle_alert(row.id, &told(), at(10_000)).unwrap();
    assert_eq!(claimed(&mut catalog, 10_000), None);
    catalog.tell(&held(5), at(3)).unwrap();
    catalog.hurry_alerts(false, at(4)).unwrap();
    assert_eq!(claimed(&mut catalog, 4), None);
    catalog.hurry_alerts(true, at(4)).unwrap();
    assert!(claimed(&mut catalog, 4).is_some());
}

#[test]
fn what_was_given_up_is_told_of_until_something_arrives() {
    let mut catalog = Catalog::temporary().unwrap();
    catalog.tell(&failed(0, "first"), at(1)).unwrap();
    let row = catalog.claim_alert(at(1), LEASE).unwrap().unwrap();
    catalog.settle_alert(row.id, &Settled::GivenUp { why: "no token".to_owned() }, at(2)).unwrap();
    let waiting = catalog.alerts_waiting().unwrap();
    assert_eq!((waiting.waiting, waiting.refused, waiting.why.as_deref()), (0, 1, Some("no token")));
    catalog.tell(&failed(9, "second"), at(3)).unwrap();
    let row = catalog.claim_alert(at(3), LEASE).unwrap().unwrap();
    catalog.settle_alert(row.id, &Settled::ToldOtherwise, at(4)).unwrap();
    assert_eq!(catalog.alerts_waiting().unwrap(), AlertsWaiting::default());
}

#[test]
fn the_tables_stay_small() {
    let mut catalog = Catalog::temporary().unwrap();
    for due in 0..1_100 {
        catalog.tell(&failed(due, "one of many"), at(due)).unwrap();
    }
    assert_eq!(catalog.alerts_waiting().unwrap().waiting, 1_000);
    for due in 1_100..2_300 {
        let mut telling = failed(due, "told");
        telling.ended = vec![trouble(AlertKind::Failed, due)];
        catalog.tell(&telling, at(due)).unwrap();
    }
    assert_eq!(catalog.alerts_waiting().unwrap().waiting, 1_000);
    assert!(catalog.trouble(&trouble(AlertKind::Failed, 1_100)).unwrap().is_none(), "long over");
    assert!(catalog.trouble(&trouble(AlertKind::Failed, 0)).unwrap().is_some(), "still open");
}

#[test]
fn how_a_run_ended_and_what_is_told_of_it_are_stored_together() {
    let (mut catalog, destination, _) = crate::common::scratch();
    let mut telling = failed(0, "it failed");
    telling.noticed[0].0.due = at(0);
    catalog.begin_run(destination, &crate::common::run(1), at(1), &telling).unwrap();
    assert_eq!(catalog.open_troubles(9).unwrap().len(), 1);
    assert_eq!(claimed(&mut catalog, 2).as_deref(), Some("it failed"));
}
