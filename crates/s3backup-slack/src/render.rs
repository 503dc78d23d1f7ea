//! Alerts as messages: form is added here, never facts.

use std::fmt::Write as _;

use s3backup_model::{Alert, AlertKind, Failure};
use serde_json::{Value, json};

use crate::Limits;
use crate::mention::Mention;
use crate::text::{Place, clip, clip_start, width};

/// The message for an alert, as `chat.postMessage` and webhooks take it, without the channel.
///
/// `blocks` are for readers, `text` stands alone in notifications. `mention` (see
/// [`SlackOptions::mention`](crate::SlackOptions::mention)) goes only with an urgent alert, and an entry that cannot
/// be a mention is left out. Whatever is in the alert, the message keeps to `limits`, has no empty part, and mentions
/// nobody else. What does not fit is counted in the message.
///
/// ```
/// use s3backup_model::{Alert, AlertKind, Name};
/// use s3backup_slack::{Limits, render};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let alert = Alert {
///     kind: AlertKind::Failed,
///     job: Name::new("telemetry")?,
///     host: Name::new("gateway-1")?,
///     at: "2026-11-24T20:05:13+09:00".parse()?,
///     headline: "telemetry on gateway-1 failed: no credentials".to_owned(),
///     message: "Set AWS_PROFILE, or attach a role to the machine.".to_owned(),
///     run_id: None,
///     facts: vec![("Next due".to_owned(), "2026-11-25 20:00".to_owned())],
///     failures: Vec::new(),
///     failed_total: 0,
///     warnings: Vec::new(),
/// };
/// let message = render(&alert, &["@here".to_owned()], &Limits::default());
/// assert_eq!(message["text"], "<!here> :x: telemetry on gateway-1 failed: no credentials");
/// assert_eq!(message["blocks"][0]["type"], "header");
/// # Ok(())
/// # }
/// ```
pub fn render(alert: &Alert, mention: &[String], limits: &Limits) -> Value {
    let mentions: Vec<_> = mention.iter().filter_map(|text| Mention::parse(text)).collect();
    Message { alert, mentions: &mentions, limits, note: None }.with_blocks()
}

/// An alert and how it is to be shown.
pub(crate) struct Message<'a> {
    pub(crate) alert: &'a Alert,
    pub(crate) mentions: &'a [Mention],
    pub(crate) limits: &'a Limits,
    /// A word about the message itself.
    pub(crate) note: Option<&'static str>,
}

impl Message<'_> {
    /// With blocks, and a short text for notifications.
    pub(crate) fn with_blocks(&self) -> Value {
        let mut message = envelope(&self.title());
        let blocks = self.blocks();
        if !blocks.is_empty() {
            message["blocks"] = Value::Array(blocks);
        }
        message
    }

    /// Without blocks, for a server that does not take them: the text says the most important by itself.
    pub(crate) fn plain(&self) -> Value {
        let mut text = self.title();
        let tail = self.context(self.limits.text_chars.saturating_sub(width(&text)) / 4, 0);
        let mut left = self.limits.text_chars.saturating_sub(width(&text) + width(&tail) + 1);
        let mut add = |part: String| {
            if !part.is_empty() && width(&part) < left {
                left -= width(&part) + 1;
                text.push('\n');
                text.push_str(&part);
            }
            left.saturating_sub(1)
        };
        let room = add(String::new());
        let room = add(clip(&self.alert.message, room / 2, Place::Lines));
        let room = add(self.fact_list(room / 2));
        let room = add(self.failures(room));
        add(self.warnings(room));
        if !tail.is_empty() {
            text.push('\n');
            text.push_str(&tail);
        }
        envelope(&text)
    }

    /// Mentions, emoji and headline. Never empty.
    fn title(&self) -> String {
        let limit = self.limits.text_chars.max(1);
        let mentions = self.mentions(limit / 2);
        let mut text = join_words(&mentions, emoji(self.alert.kind));
        if width(&text) + 2 > limit {
            // No room for form: a word of the headline is worth more.
            return clip(&self.headline(), limit, Place::Line);
        }
        text.push(' ');
        let left = limit - width(&text);
        text.push_str(&clip(&self.headline(), left, Place::Line));
        text
    }

    fn headline(&self) -> String {
        let alert = self.alert;
        if alert.headline.trim().is_empty() {
            format!("{} on {}: {}", alert.job, alert.host, alert.kind.as_str())
        } else {
            alert.headline.clone()
        }
    }

    /// As many mentions as fit; none unless somebody must act.
    fn mentions(&self, limit: usize) -> String {
        let mut text = String::new();
        if self.alert.kind.is_urgent() {
            for mention in self.mentions {
                let longer = join_words(&text, mention.as_str());
                if width(&longer) <= limit {
                    text = longer;
                }
            }
        }
        text
    }

    fn blocks(&self) -> Vec<Value> {
        let limits = self.limits;
        // What closes the message comes out of the total first, so that it is there however long the rest is.
        let facts = self.fact_sections();
        let hidden = self.facts().count() - facts.iter().map(Vec::len).sum::<usize>();
        let closing = self.context(limits.section_chars.min(limits.total_chars / 10), hidden);
        let mut blocks = Blocks {
            done: Vec::new(),
            left: limits.total_chars.saturating_sub(width(&closing)),
            places: limits.blocks.saturating_sub(1),
        };
        let share = |tenths: usize| limits.section_chars.min(limits.total_chars / 10 * tenths);

        blocks.push_header(&self.header());
        blocks.push_section(&self.opening(share(3).min(blocks.left)));
        for fields in facts {
            blocks.push_fields(&fields);
        }
        blocks.push_section(&self.failures(share(3).min(blocks.left)));
        blocks.push_section(&self.warnings(share(1).min(blocks.left)));
        if limits.blocks > 0 && !closing.is_empty() && width(&closing) <= limits.total_chars {
            blocks.done.push(json!({"type": "context", "elements": [mrkdwn(&closing)]}));
        }
        blocks.done
    }

    fn header(&self) -> String {
        let limit = self.limits.header_chars.min(self.limits.total_chars / 10);
        let emoji = emoji(self.alert.kind);
        let left = limit.saturating_sub(width(emoji) + 1);
        if left < 2 {
            return String::new();
        }
        format!("{emoji} {}", clip(&self.headline(), left, Place::Line))
    }

    /// Mentions and message; and the headline, where the header could not hold all of it.
    fn opening(&self, limit: usize) -> String {
        let mut lines = Vec::new();
        let mentions = self.mentions(limit / 4);
        if !mentions.is_empty() {
            lines.push(mentions);
        }
        let used = |lines: &[String]| lines.iter().map(|line| width(line) + 1).sum::<usize>();
        if self.header().is_empty() || self.header().ends_with('…') {
            let room = limit.saturating_sub(used(&lines)) / 2;
            lines.push(clip(&self.headline(), room, Place::Line));
        }
        lines.push(clip(&self.alert.message, limit.saturating_sub(used(&lines)), Place::Lines));
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// Facts that say something.
    fn facts(&self) -> impl Iterator<Item = String> {
        let field = |(label, value): &(String, String)| fact(label, value, self.limits.field_chars);
        self.alert.facts.iter().map(field).filter(|field| !field.is_empty())
    }

    /// The facts that fit, by section.
    fn fact_sections(&self) -> Vec<Vec<String>> {
        let limits = self.limits;
        let sections = limits.blocks.saturating_sub(OTHER_BLOCKS);
        let mut left = limits.total_chars / 10 * 2;
        let fits = |field: &String| {
            let fits = width(field) <= left;
            left = left.saturating_sub(width(field));
            fits
        };
        let most = limits.facts.min(limits.fields_per_section.saturating_mul(sections));
        let fields: Vec<_> = self.facts().take(most).take_while(fits).collect();
        fields.chunks(limits.fields_per_section.max(1)).map(<[String]>::to_vec).collect()
    }

    fn fact_list(&self, limit: usize) -> String {
        let line = |(label, value): &(String, String)| {
            let (label, value) = (clip(label, 100, Place::Line), clip(value, FACT_CHARS, Place::Line));
            if label.is_empty() { value } else { format!("{label}: {value}") }
        };
        let lines = self.alert.facts.iter().filter(|(_, value)| !value.trim().is_empty()).map(line);
        let total = self.facts().count() as u64;
        if total == 0 { String::new() } else { list("*Facts*", lines, total, limit) }
    }

    fn failures(&self, limit: usize) -> String {
        let listed = &self.alert.failures;
        let total = self.alert.failed_total.max(listed.len() as u64);
        if total == 0 {
            return String::new();
        }
        let shown = listed.iter().take(self.limits.failures).map(failure);
        list(&format!("*Failures* ({total})"), shown, total, limit)
    }

    fn warnings(&self, limit: usize) -> String {
        let all = &self.alert.warnings;
        if all.is_empty() {
            return String::new();
        }
        let shown = all.iter().take(self.limits.warnings).map(|text| clip(text, WARNING_CHARS, Place::Line));
        list("*Warnings*", shown, all.len() as u64, limit)
    }

    /// What the alert is about, for whoever searches the channel later.
    fn context(&self, limit: usize, facts_hidden: usize) -> String {
        let alert = self.alert;
        let mut parts = Vec::new();
        parts.extend(self.note.map(str::to_owned));
        parts.push(format!("{} · {} on {}", alert.kind.as_str(), alert.job, alert.host));
        parts.extend(alert.run_id.as_ref().map(|run_id| format!("run {run_id}")));
        if facts_hidden > 0 {
            parts.push(format!("{facts_hidden} facts not shown"));
        }
        parts.push(alert.at.format("%Y-%m-%d %H:%M:%S %:z").to_string());
        clip(&parts.join(" · "), limit, Place::Line)
    }
}

/// Blocks in the making, and the room that is left for them.
struct Blocks {
    done: Vec<Value>,
    left: usize,
    places: usize,
}

impl Blocks {
    fn push(&mut self, width: usize, block: Value) {
        if width > 0 && width <= self.left && self.places > 0 {
            self.left -= width;
            self.places -= 1;
            self.done.push(block);
        }
    }

    fn push_header(&mut self, text: &str) {
        let plain = json!({"type": "plain_text", "text": text, "emoji": true});
        self.push(width(text), json!({"type": "header", "text": plain}));
    }

    fn push_section(&mut self, text: &str) {
        self.push(width(text), json!({"type": "section", "text": mrkdwn(text)}));
    }

    fn push_fields(&mut self, fields: &[String]) {
        let width = fields.iter().map(|field| width(field)).sum();
        let fields: Vec<_> = fields.iter().map(|field| mrkdwn(field)).collect();
        self.push(width, json!({"type": "section", "fields": fields}));
    }
}

/// Header, opening, failures, warnings, context.
const OTHER_BLOCKS: usize = 5;
const FACT_CHARS: usize = 300;
const WARNING_CHARS: usize = 300;
const PATH_CHARS: usize = 200;
const REASON_CHARS: usize = 300;

/// A message with no blocks yet. Nothing in it becomes a link, a mention or a preview unless it says so itself.
fn envelope(text: &str) -> Value {
    json!({"text": text, "parse": "none", "link_names": false, "unfurl_links": false, "unfurl_media": false})
}

/// `verbatim` keeps Slack from making links and mentions of plain text.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

fn emoji(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Success => ":white_check_mark:",
        AlertKind::Partial => ":warning:",
        AlertKind::Failed => ":x:",
        AlertKind::Late => ":alarm_clock:",
        AlertKind::LongRunning => ":hourglass_flowing_sand:",
        AlertKind::Recovered => ":large_green_circle:",
        AlertKind::Shrunk => ":chart_with_downwards_trend:",
        AlertKind::Differs => ":mag:",
        AlertKind::Unwatched => ":see_no_evil:",
    }
}

fn fact(label: &str, value: &str, limit: usize) -> String {
    let label = clip(label, limit / 4, Place::Line);
    let value = clip(value, limit.saturating_sub(width(&label) + 3), Place::Lines);
    match (label.is_empty(), value.is_empty()) {
        (_, true) => String::new(),
        (true, false) => value,
        (false, false) => format!("*{label}*\n{value}"),
    }
}

fn failure(failure: &Failure) -> String {
    let mut line = match clip_start(&failure.path, PATH_CHARS, Place::Code) {
        path if path.is_empty() => String::new(),
        path => format!("`{path}` "),
    };
    line.push_str(failure.kind.as_str());
    let reason = clip(&failure.message, REASON_CHARS, Place::Line);
    if !reason.is_empty() {
        line.push_str(": ");
        line.push_str(&reason);
    }
    if failure.attempts > 1 {
        let _ = write!(line, " ({} attempts)", failure.attempts);
    }
    line
}

/// A heading, and a bullet for each line that fits whole, with the count of those that are not shown.
fn list(heading: &str, lines: impl Iterator<Item = String>, total: u64, limit: usize) -> String {
    let more = |shown: u64| match total.saturating_sub(shown) {
        0 => String::new(),
        hidden if shown == 0 => format!("\n{hidden} not shown"),
        hidden => format!("\nand {hidden} more"),
    };
    let mut text = heading.to_owned();
    let mut shown = 0;
    for line in lines {
        let bullet = format!("\n• {line}");
        if width(&text) + width(&bullet) + width(&more(shown + 1)) > limit {
            break;
        }
        text.push_str(&bullet);
        shown += 1;
    }
    text.push_str(&more(shown));
    if width(&text) <= limit { text } else { String::new() }
}

fn join_words(left: &str, right: &str) -> String {
    if left.is_empty() { right.to_owned() } else { format!("{left} {right}") }
}

#[cfg(test)]
mod tests;
