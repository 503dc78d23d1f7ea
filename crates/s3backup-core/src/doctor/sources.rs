//! What is backed up, and the programs that make it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::{Check, blocking, disk};
use crate::options::{Source, Step};

/// Entries of a directory that are counted; more are "more than".
const COUNTED: usize = 10_000;

/// Each source by itself: one that hangs in a dead mount hides no other.
pub(super) async fn check(sources: &[Source]) -> Vec<Check> {
    let looks = sources.iter().map(|source| {
        let path = source.path.clone();
        blocking("source", move || vec![look(&path)])
    });
    futures::future::join_all(looks).await.concat()
}

fn look(path: &Path) -> Check {
    const NAME: &str = "source";
    let shown = path.display();
    let entries = match count(path) {
        Ok(entries) => entries,
        Err(error) => {
            let mend = match error.kind() {
                io::ErrorKind::NotFound => format!("mount or make {shown}, or correct `[[source]] path`"),
                io::ErrorKind::PermissionDenied => {
                    format!("let the user that runs the backup read it: setfacl -R -m u:USER:rX {shown}")
                }
                _ => format!("look what is the matter with {shown}"),
            };
            return Check::fail(NAME, format!("{shown} cannot be read: {error}. Runs fail without it"), mend);
        }
    };
    let on = disk::kind(path).map_or_else(String::new, |kind| format!(", on {}", disk::kind_name(kind)));
    match entries {
        0 => Check::warn(
            NAME,
            format!("{shown} is empty{on}: there is nothing to back up, or something is not mounted"),
            format!("look whether {shown} is the directory that was meant, and whether it is mounted"),
        ),
        COUNTED.. => Check::ok(NAME, format!("{shown}: more than {COUNTED} entries at its top{on}")),
        1 => Check::ok(NAME, format!("{shown}: 1 entry at its top{on}")),
        _ => Check::ok(NAME, format!("{shown}: {entries} entries at its top{on}")),
    }
}

fn count(path: &Path) -> io::Result<usize> {
    let mut entries = 0;
    for entry in fs::read_dir(path)?.take(COUNTED) {
        entry?;
        entries += 1;
    }
    Ok(entries)
}

pub(super) async fn check_steps(steps: &[Step]) -> Vec<Check> {
    let steps = steps.to_vec();
    if steps.is_empty() {
        return Vec::new();
    }
    blocking("step", move || steps.iter().map(look_at_step).collect()).await
}

fn look_at_step(step: &Step) -> Check {
    const NAME: &str = "step";
    let program = step.command.first().map_or("", String::as_str);
    if let Some(cwd) = step.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        let message = format!("{}: its working directory {} is not there", step.name, cwd.display());
        return Check::fail(NAME, message, "make it, or correct `cwd`");
    }
    let path = step.env.get("PATH").cloned().or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
    match find(program, step.cwd.as_deref(), &path) {
        Some(found) => Check::ok(NAME, format!("{}: {}", step.name, found.display())),
        None => Check::fail(
            NAME,
            format!("{}: `{program}` is no program that this user can run", step.name),
            "install it, give its whole path, or make it executable: chmod +x",
        ),
    }
}

/// Where a program is, as the system would look for it: a name without a slash on the path.
pub(super) fn find(program: &str, cwd: Option<&Path>, path: &str) -> Option<PathBuf> {
    let is_program = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let file = cwd.unwrap_or(Path::new("")).join(program);
        return is_program(&file).then_some(file);
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| is_program(file))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::CheckState;
    use super::*;

    #[test]
    fn sources_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).state, CheckState::Warn, "it is empty");
        fs::write(dir.path().join("a"), "").unwrap();
        let one = look(dir.path());
        assert!(one.state == CheckState::Ok && one.message.contains("1 entry"), "{one:?}");
        let missing = look(&dir.path().join("none"));
        assert!(missing.state == CheckState::Fail && missing.mend.unwrap().contains("mount"));
        assert_eq!(look(&dir.path().join("a")).state, CheckState::Fail, "it is a file");
    }

    #[test]
    fn programs_are_found_as_the_system_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("make-data");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        let mut step = Step::new("make", ["make-data"]);
        step.env.insert("PATH".to_owned(), dir.path().display().to_string());
        assert_eq!(look_at_step(&step).state, CheckState::Fail, "it is not executable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(look_at_step(&step).state, CheckState::Ok);
        step.command = vec!["./make-data".to_owned()];
        assert_eq!(look_at_step(&step).state, CheckState::Fail, "it is somewhere else");
        step.cwd = Some(dir.path().to_owned());
        assert_eq!(look_at_step(&step).state, CheckState::Ok);
        step.cwd = Some(dir.path().join("none"));
        assert!(look_at_step(&step).message.contains("working directory"));
    }
}
