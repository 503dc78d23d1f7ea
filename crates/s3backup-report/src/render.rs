//! The page as a whole.

use std::fmt::Write as _;

use crate::chart::{self, Measure};
use crate::escape::Text;
use crate::verdict::{Mood, Verdict, verdict};
use crate::{JobPage, Page, calendar, tables};

const STYLE: &str = include_str!("style.css");

/// The `Content-Security-Policy` under which the page works: nothing is loaded, nothing is run, and its one stylesheet is the
/// one that belongs to it. The icon is in the page.
pub const CSP: &str = "default-src 'none'; style-src 'sha256-uTtRCS9A3kmegQ07fGQwpCRng/QALE8cA7iooKMuISk='; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How often a live page loads itself again, in seconds: while a run goes on, and else.
const REFRESH_RUNNING: u32 = 5;
const REFRESH_IDLE: u32 = 60;

/// One HTML document with all that the page knows. It needs nothing else and runs no script.
///
/// Its size is bounded: of each job the last year of days, 60 runs as charts and 20 as a table, and 50 failures.
pub fn render(page: &Page) -> String {
    let verdicts: Vec<Verdict> = page.jobs.iter().map(verdict).collect();
    let worst = verdicts.iter().map(|verdict| verdict.mood).max().unwrap_or(Mood::Unknown);
    let mut out = String::with_capacity((16 << 10) + page.jobs.len() * (128 << 10));
    out.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">");
    if page.live {
        let is_running = page.jobs.iter().any(|job| job.running.is_some());
        let seconds = if is_running { REFRESH_RUNNING } else { REFRESH_IDLE };
        let _ = write!(out, "<meta http-equiv=\"refresh\" content=\"{seconds}\">");
    }
    let summary = summary(page, &verdicts);
    let _ = write!(
        out,
        "<title>{} Backups: {}</title><link rel=\"icon\" href=\"{}\"><style>{STYLE}</style></head><body>",
        worst.sign(),
        Text(&summary),
        icon(worst)
    );
    out.push_str("<header class=\"top\"><h1>Backups</h1>");
    // Of one job its own section says it all.
    if page.jobs.len() != 1 {
        let _ = write!(out, "<p>{}</p>", Text(&summary));
    }
    out.push_str("</header>");
    if page.jobs.len() > 1 {
        out.push_str(&contents(page, &verdicts));
    }
    out.push_str("<main>");
    for ((job, verdict), number) in page.jobs.iter().zip(&verdicts).zip(1..) {
        section(&mut out, page, job, verdict, number);
    }
    let renewed = if page.live { "It renews itself." } else { "It does not renew itself." };
    let _ = write!(
        out,
        "</main><footer>Made {} by s3backup {}. {renewed}</footer></body></html>",
        tables::time(page.made_at),
        env!("CARGO_PKG_VERSION")
    );
    out
}

/// The page in one sentence.
fn summary(page: &Page, verdicts: &[Verdict]) -> String {
    match (page.jobs.as_slice(), verdicts) {
        ([], _) => "no job is known".to_owned(),
        ([job], [verdict]) => format!("{} on {}: {}", job.job, job.host, verdict.headline),
        (jobs, _) => {
            let well = verdicts.iter().filter(|verdict| verdict.mood <= Mood::Busy).count();
            if well == jobs.len() {
                format!("all {well} jobs are well")
            } else {
                format!("{well} of {} jobs are well", jobs.len())
            }
        }
    }
}

/// A picture of the worst verdict, for the tab of a browser.
fn icon(mood: Mood) -> String {
    let colour = match mood {
        Mood::Good => "1a7f37",
        Mood::Busy => "0969da",
        Mood::Unknown => "59636e",
        Mood::Warning => "9a6700",
        Mood::Bad => "cf222e",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='8' fill='%23{colour}'/%3E%3Ctext x='8' y='12' font-size='11' text-anchor='middle' fill='white'%3E{}%3C/text%3E%3C/svg%3E",
        mood.sign()
    )
}

/// The jobs with their verdicts, and the way to each.
fn contents(page: &Page, verdicts: &[Verdict]) -> String {
    let mut out = "<nav aria-label=\"Jobs\"><ul>".to_owned();
    for ((job, verdict), number) in page.jobs.iter().zip(verdicts).zip(1..) {
        let _ = write!(
            out,
            "<li class=\"{}\"><a href=\"#job-{number}\"><span class=\"sign\" aria-hidden=\"true\">{}</span><span><strong>{}</strong> <small>on {}</small><br>{}</span></a></li>",
            verdict.mood.class(),
            verdict.mood.sign(),
            Text(job.job.as_str()),
            Text(job.host.as_str()),
            Text(&verdict.headline)
        );
    }
    out.push_str("</ul></nav>");
    out
}

fn section(out: &mut String, page: &Page, job: &JobPage, verdict: &Verdict, number: u32) {
    let _ = write!(
        out,
        "<section class=\"job\" aria-labelledby=\"job-{number}\"><h2 id=\"job-{number}\">{} <small>on {} to <span class=\"place\">{}</span></small></h2><div class=\"verdict {}\"><span class=\"sign\" aria-hidden=\"true\">{}</span><p><strong>{}</strong> {}</p></div>",
        Text(job.job.as_str()),
        Text(job.host.as_str()),
        Text(&job.destination),
        verdict.mood.class(),
        verdict.mood.sign(),
        Text(&verdict.headline),
        Text(&verdict.detail)
    );
    out.push_str(&tables::facts(job, page.made_at));
    let mut part = |title: &str, body: &str| {
        let _ = write!(out, "<div class=\"card\"><h3>{title}</h3>{body}</div>");
    };
    if let Some(running) = &job.running {
        part("The run that goes on", &tables::running(running, page.made_at));
    }
    if !job.troubles.is_empty() || job.alerts_waiting > 0 {
        part("Open troubles", &tables::troubles(&job.troubles, job.alerts_waiting));
    }
    part("Days", &calendar::table(job, page.made_at));
    if !job.runs.is_empty() {
        let charts = [Measure::Files, Measure::Bytes, Measure::Duration].map(|measure| {
            let (title, bars) = (measure.title(), chart::bars(&job.runs, measure));
            format!("<figure><figcaption>{title}</figcaption>{bars}</figure>")
        });
        let title = match job.runs.len().min(chart::RUNS) {
            1 => "The last run".to_owned(),
            count => format!("The last {count} runs"),
        };
        part(&title, &format!("<div class=\"charts\">{}</div>", charts.concat()));
    }
    if let Some(failures) = &job.failures {
        part("Last failures", &tables::failures(failures, job));
    }
    if !job.runs.is_empty() {
        part("Runs", &tables::runs(&job.runs));
    }
    out.push_str("</section>");
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_policy_names_the_stylesheet() {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        assert!(CSP.contains(&format!("style-src 'sha256-{hash}'")), "the hash of style.css is {hash}");
        assert!(!STYLE.contains("</"), "it would end before its end");
    }
}
