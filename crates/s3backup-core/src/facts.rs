//! Facts that steps, or whoever ran before, want said of the run: read from a file, and as hostile as anything from outside.

use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use s3backup_model::{Fact, RunReport};
use tempfile::TempDir;

/// How much of a file is read: many times what a report has room for.
const MAX_BYTES: u64 = 64 << 10;

/// The file in which one step notes its facts, in a folder that nobody else may enter. Dropping it removes both.
pub(crate) struct Notebook(TempDir);

impl Notebook {
    pub(crate) fn new() -> io::Result<Self> {
        let private = Permissions::from_mode(0o700);
        let notebook =
            Self(tempfile::Builder::new().prefix("s3backup-facts-").permissions(private).tempdir()?);
        File::create_new(notebook.path())?;
        Ok(notebook)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("facts")
    }
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) facts: Vec<Fact>,
    /// What is the matter with it, for a person; it says nothing of what is in there.
    pub(crate) problems: Vec<String>,
}

impl Noted {
    /// Reads a file of lines `label: value`, of which each label counts once, as it came last. A file that cannot be read is a
    /// problem like any other.
    pub(crate) async fn read(path: PathBuf) -> Self {
        let reading = tokio::task::spawn_blocking(move || text_of(&path));
        match reading.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok((text, is_whole)) => Self::parse(&text, is_whole),
            Err(why) => Self { facts: Vec::new(), problems: vec![format!("it cannot be read: {why}")] },
        }
    }

    fn parse(text: &str, is_whole: bool) -> Self {
        let mut noted = Self::default();
        let (mut odd, mut cut) = (Vec::new(), Vec::new());
        let mut left_out = 0;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() {
                continue;
            }
            let Some((label, value)) = line.split_once(':') else {
                odd.push(number);
                continue;
            };
            match Fact::lossy(label, value) {
                Some(fact) => {
                    if fact.label != label.trim() || fact.value != value.trim() {
                        cut.push(number);
                    }
                    left_out += add(&mut noted.facts, fact);
                }
                None => odd.push(number),
            }
        }
        noted.problems.extend(lines(&odd, "no `label: value` and left out"));
        let limits = format!(
            "changed: a label has at most {} and a value at most {} characters, none of them a control character",
            Fact::MAX_LABEL_CHARS,
            Fact::MAX_VALUE_CHARS
        );
        noted.problems.extend(lines(&cut, &limits));
        noted.problems.extend(too_many(left_out));
        if !is_whole {
            noted.problems.push(format!("only its first {} KiB were read", MAX_BYTES >> 10));
        }
        noted
    }

    /// Leaves out what gives a secret of this process away.
    pub(crate) fn without(mut self, secrets: &[String]) -> Self {
        let has = |text: &str| secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret));
        let before = self.facts.len();
        self.facts.retain(|fact| !has(&fact.label) && !has(&fact.value));
        if self.facts.len() < before {
            self.problems.push("a fact that has a secret of the backup in it was left out".to_owned());
        }
        self
    }

    /// Tells the facts of one of several days apart.
    pub(crate) fn of_day(mut self, day: NaiveDate) -> Self {
        for fact in &mut self.facts {
            let day = format!(" {day}");
            let room = Fact::MAX_LABEL_CHARS.saturating_sub(day.len());
            fact.label = fact.label.chars().take(room).chain(day.chars()).collect();
        }
        self
    }

    /// Says whose they are.
    pub(crate) fn of(mut self, whose: &str) -> Self {
        for problem in &mut self.problems {
            *problem = format!("the facts of {whose}: {problem}");
        }
        self
    }
}

/// Adds a fact in place of one with the same label; says how many had to make room.
fn add(facts: &mut Vec<Fact>, fact: Fact) -> usize {
    if let Some(same) = facts.iter_mut().find(|known| known.label == fact.label) {
        *same = fact;
        return 0;
    }
    facts.push(fact);
    let more = facts.len().saturating_sub(RunReport::MAX_FACTS);
    facts.drain(..more);
    more
}

/// Adds facts to those of a run; says what is to be told of that.
pub(crate) fn merge(facts: &mut Vec<Fact>, new: Vec<Fact>) -> Option<String> {
    too_many(new.into_iter().map(|fact| add(facts, fact)).sum())
}

fn too_many(left_out: usize) -> Option<String> {
    let most = RunReport::MAX_FACTS;
    (left_out > 0)
        .then(|| format!("a report has room for {most} facts, so the first {left_out} are left out"))
}

/// What is the matter with some lines.
fn lines(numbers: &[u32], what: &str) -> Option<String> {
    match numbers {
        [] => None,
        [one] => Some(format!("line {one} is {what}")),
        [first, more @ ..] => Some(format!("line {first} and {} more are {what}", more.len())),
    }
}

/// What a file holds, and whether that is all of it. A link is not followed, and nothing is waited for that is no file.
fn text_of(path: &Path) -> Result<(String, bool), String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err("it is a symbolic link".to_owned()),
        Err(error) => return Err(io::Error::from(error).to_string()),
    };
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let is_whole = bytes.len() as u64 <= MAX_BYTES;
    if !is_whole {
        // The last line is not whole.
        let end = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or_default();
        bytes.truncate(end);
    }
    Ok((String::from_utf8_lossy(&bytes).into_owned(), is_whole))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn fact(label: &str, value: &str) -> Fact {
        Fact::new(label, value).unwrap()
    }

    #[test]
    fn lines_are_facts_and_the_last_of_a_label_counts() {
        let noted = Noted::parse("Distance: 1 km\r\n\n Events :17\nDistance: 12,345 km: far\n", true);
        assert_eq!(noted.facts, [fact("Distance", "12,345 km: far"), fact("Events", "17")]);
        assert_eq!(noted.problems, [""; 0]);
    }

    #[test]
    fn nonsense_is_told_without_its_words() {
        let long = "x".repeat(300);
        let text = format!("hush\n: 1\na:\n\u{1b}b: 2\n{long}: 3\nc: {long}\nd: 4");
        let noted = Noted::parse(&text, false).of("step `make`");
        let labels: Vec<_> = noted.facts.iter().map(|fact| fact.label.chars().count()).collect();
        assert_eq!(labels, [1, 60, 1, 1]);
        assert_eq!(
            noted.problems,
            [
                "the facts of step `make`: line 1 and 2 more are no `label: value` and left out",
                "the facts of step `make`: line 4 and 2 more are changed: a label has at most 60 and a value at most 200 characters, none of them a control character",
                "the facts of step `make`: only its first 64 KiB were read",
            ]
        );
    }

    #[test]
    fn of_too_many_the_last_ones_count() {
        let text = (0..23).map(|number| format!("fact {number}: {number}")).collect::<Vec<_>>().join("\n");
        let noted = Noted::parse(&text, true);
        assert_eq!((noted.facts.len(), noted.facts[0].label.as_str()), (20, "fact 3"));
        assert_eq!(noted.problems, ["a report has room for 20 facts, so the first 3 are left out"]);
        let mut facts = noted.facts;
        let told = merge(&mut facts, vec![fact("fact 22", "again"), fact("new", "1")]);
        assert_eq!(told.as_deref(), Some("a report has room for 20 facts, so the first 1 are left out"));
        assert_eq!((facts[18].value.as_str(), facts[19].label.as_str()), ("again", "new"));
    }

    #[test]
    fn a_secret_is_not_said() {
        let noted =
            Noted::parse("a: xoxb-1\nxoxb-1: b\nc: d", true).without(&["xoxb-1".to_owned(), String::new()]);
        assert_eq!(noted.facts, [fact("c", "d")]);
        assert_eq!(noted.problems.len(), 1);
        assert!(!noted.problems[0].contains("xoxb"));
    }

    #[test]
    fn days_are_told_apart_however_long_the_label_is() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
        let noted = Noted::parse(&format!("Distance: 1 km\n{}: 2", "é".repeat(60)), true).of_day(day);
        let labels: Vec<&str> = noted.facts.iter().map(|fact| fact.label.as_str()).collect();
        assert_eq!(labels, ["Distance 2026-11-23", &format!("{} 2026-11-23", "é".repeat(49))]);
    }

    #[test]
    fn only_a_regular_file_is_read_and_not_all_of_a_large_one() {
        let notebook = Notebook::new().unwrap();
        let path = notebook.path();
        let folder = path.parent().unwrap().to_owned();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(text_of(&path), Ok((String::new(), true)));
        let line = format!("{}\n", "a: 1".repeat(100));
        std::fs::write(&path, line.repeat(1000)).unwrap();
        let (text, is_whole) = text_of(&path).unwrap();
        assert!(!is_whole && text.len() < 64 << 10 && text.ends_with("a: 1"), "{}", text.len());
        std::fs::remove_file(&path).unwrap();
        assert!(text_of(&path).unwrap_err().contains("No such file"));
        symlink("/etc/passwd", &path).unwrap();
        assert_eq!(text_of(&path), Err("it is a symbolic link".to_owned()));
        assert_eq!(text_of(&folder), Err("it is no regular file".to_owned()));
        drop(notebook);
        assert!(!folder.exists());
    }
}
