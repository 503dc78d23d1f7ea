//! The time zone of the job beside that of the machine.

use std::fs;
use std::path::Path;

use chrono_tz::Tz;

use super::Check;

pub(super) fn check(root: &Path, job: Tz) -> Vec<Check> {
    vec![judge(job, of_machine(root).as_deref())]
}

fn judge(job: Tz, machine: Option<&str>) -> Check {
    const NAME: &str = "timezone";
    // Etc/UTC is UTC.
    let plain = |name: &str| name.trim_start_matches("Etc/").to_owned();
    let name = job.name();
    match machine {
        Some(machine) if plain(machine) != plain(name) => Check::ok(
            NAME,
            format!(
                "{name}; the machine's is {machine}: days and due times of the job are those of {name}, a crontab counts in {machine}"
            ),
        ),
        _ => Check::ok(NAME, name),
    }
}

/// The name of the machine's zone, where it says so.
fn of_machine(root: &Path) -> Option<String> {
    // /etc/localtime -> /usr/share/zoneinfo/Asia/Seoul
    let link = fs::read_link(root.join("etc/localtime")).ok();
    let named = link.and_then(|to| Some(to.to_str()?.rsplit_once("zoneinfo/")?.1.to_owned()));
    named.or_else(|| {
        let text = fs::read_to_string(root.join("etc/timezone")).ok()?;
        let name = text.trim();
        name.parse::<Tz>().ok().map(|_| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_zone_of_the_machine_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(of_machine(root.path()), None);
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/timezone"), "Etc/UTC\n").unwrap();
        assert_eq!(of_machine(root.path()).as_deref(), Some("Etc/UTC"));
        std::os::unix::fs::symlink("/usr/share/zoneinfo/Asia/Seoul", root.path().join("etc/localtime"))
            .unwrap();
        assert_eq!(of_machine(root.path()).as_deref(), Some("Asia/Seoul"));
        assert_eq!(judge(Tz::Asia__Seoul, Some("Asia/Seoul")).message, "Asia/Seoul");
        assert_eq!(judge(Tz::UTC, Some("Etc/UTC")).message, "UTC");
        assert!(judge(Tz::Asia__Seoul, Some("Etc/UTC")).message.contains("a crontab counts in Etc/UTC"));
    }
}
