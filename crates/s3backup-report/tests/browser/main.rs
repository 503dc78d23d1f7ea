//! The page in a real browser: headless Chromium, which is driven through a pipe and told to be as wide as a phone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests end with what they find"
)]

mod chromium;
#[path = "../sample/mod.rs"]
mod sample;
mod server;

use chromium::{Chromium, Look};
use s3backup_report::{CSP, Page, render};
use serde_json::Value;
use server::Server;

const LOOKS: [Look; 4] = [
    Look { width: 360, height: 800, is_dark: false },
    Look { width: 360, height: 800, is_dark: true },
    Look { width: 1280, height: 900, is_dark: false },
    Look { width: 1280, height: 900, is_dark: true },
];

/// Texts of which somebody with weak eyes could not read this much of a difference to what is behind them.
const WORST_CONTRAST: f64 = 4.5;

/// Measures the page, from the inside.
const MEASURE: &str = include_str!("measure.js");

fn pages() -> [(&'static str, Page); 3] {
    [("fleet", sample::fleet()), ("hostile", sample::hostile()), ("unknown", sample::unknown())]
}

#[test]
fn pages_look_right_at_every_width_and_in_either_light() {
    let pages = pages();
    let server = Server::start(pages.iter().map(|(_, page)| (render(page), CSP)).collect());
    let mut browser = Chromium::start();
    for (number, (name, page)) in pages.iter().enumerate() {
        for look in LOOKS {
            let shown = format!("{name} at {look:?}");
            let complaints = browser.open(&server.url(number), look);
            assert_eq!(complaints, Vec::<String>::new(), "{shown}: the console is silent");
            let found = browser.evaluate(MEASURE);
            check(&shown, page, look, &found);
        }
    }
}

fn check(shown: &str, page: &Page, look: Look, found: &Value) {
    assert_eq!(found["inner_width"], look.width, "{shown}");
    assert!(found["scroll_width"].as_u64() <= Some(look.width), "{shown}: it scrolls sideways: {found}");
    for (landmark, count) in
        [("header", 1), ("main", 1), ("footer", 1), ("nav", u64::from(page.jobs.len() > 1))]
    {
        assert_eq!(found["landmarks"][landmark], count, "{shown}: {landmark}");
    }
    assert_eq!(found["sections"], page.jobs.len(), "{shown}: each section has its name");
    for faults in
        ["skipped_headings", "cells_without_headers", "unnamed_pictures", "repeated_ids", "scripts", "faint"]
    {
        assert_eq!(found[faults], Value::Array(Vec::new()), "{shown}: {faults}");
    }
    assert!(found["least_contrast"].as_f64() >= Some(WORST_CONTRAST), "{shown}: {found}");
    assert_eq!(found["is_dark"], look.is_dark, "{shown}");
    assert_ne!(found["title"], "owned", "{shown}: a name of a file has run");
}

#[test]
fn a_policy_that_does_not_fit_shows_in_the_console() {
    // Or the silence of the others would prove nothing.
    let server = Server::start(vec![(render(&sample::unknown()), "default-src 'none'")]);
    let complaints = Chromium::start().open(&server.url(0), LOOKS[0]);
    assert!(complaints.iter().any(|text| text.contains("Content Security Policy")), "{complaints:?}");
}
