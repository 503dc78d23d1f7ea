//! Where the file is found, and which file is not trusted.

mod common;

use std::path::Path;

use common::{Folder, LEAST};
use s3backup_config::Error;

#[test]
fn places_in_their_order() {
    let mut folder = Folder::new();
    let config = folder.dir.path().join("config");
    folder.request.environment.push(("XDG_CONFIG_HOME".to_owned(), config.display().to_string()));
    let expected = "no configuration found; looked for DIR/backup.toml, DIR/config/s3backup/backup.toml, \
         /etc/s3backup/backup.toml; `backup init` writes one, `--config FILE` names one";
    assert_eq!(folder.said(), expected);

    folder.write("config/s3backup/backup.toml", &format!("job = \"xdg\"\n{LEAST}"));
    assert_eq!(folder.load().unwrap().settings.job.as_str(), "xdg");
    assert_eq!(folder.load().unwrap().settings.sources[0].path, config.join("s3backup/data"));

    folder.write("backup.toml", &format!("job = \"here\"\n{LEAST}"));
    assert_eq!(folder.load().unwrap().settings.job.as_str(), "here");

    folder.write("other/x.toml", &format!("job = \"variable\"\n{LEAST}"));
    folder.request.environment.push(("BACKUP_CONFIG".to_owned(), "./other/x.toml".to_owned()));
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.settings.job.as_str(), "variable");
    assert_eq!(loaded.settings.sources[0].path, folder.dir.path().join("other/data"));

    let named = folder.write("named.toml", &format!("job = \"named\"\n{LEAST}"));
    folder.request.file = Some(named);
    assert_eq!(folder.load().unwrap().settings.job.as_str(), "named");

    folder.request.file = Some("absent.toml".into());
    assert!(matches!(folder.load(), Err(Error::Read { path, .. }) if path == Path::new("absent.toml")));
    assert_eq!(folder.said(), "cannot read the configuration absent.toml");
}

#[test]
fn home_holds_the_place_where_xdg_is_not_set() {
    let mut folder = Folder::new();
    folder.write(".config/s3backup/backup.toml", LEAST);
    folder.request.environment = vec![("HOME".to_owned(), folder.dir.path().display().to_string())];
    folder.request.current_dir = folder.dir.path().join("elsewhere");
    assert!(folder.load().is_ok());
}

#[test]
fn a_file_that_others_can_write_must_be_named() {
    let mut folder = Folder::with(LEAST);
    for (mode, shown) in [(0o620, "620"), (0o602, "602"), (0o666, "666")] {
        folder.mode("backup.toml", mode);
        assert_eq!(
            folder.said(),
            format!(
                "backup.toml is not used: others than its owner can write it (mode {shown}); `chmod go-w backup.toml`, \
                 or name it with --config"
            )
        );
    }
    folder.request.file = Some("backup.toml".into());
    assert!(folder.load().is_ok());
    folder.request.file = None;
    folder.request.environment.push(("BACKUP_CONFIG".to_owned(), "backup.toml".to_owned()));
    assert!(folder.load().is_ok());
}

#[test]
fn a_file_of_somebody_else_must_be_named() {
    let mut folder = Folder::with(LEAST);
    let me = folder.request.user;
    folder.request.user = me + 1;
    // What root owns is trusted by everybody.
    if me == 0 {
        assert!(folder.load().is_ok());
        std::os::unix::fs::chown(folder.dir.path().join("backup.toml"), Some(4242), None).unwrap();
        assert_eq!(
            folder.said(),
            "backup.toml is not used: it belongs to user 4242, who is neither root nor the caller; `chown 1 \
             backup.toml`, or name it with --config"
        );
    } else {
        assert!(matches!(folder.load(), Err(Error::Untrusted { .. })));
    }
}

#[test]
fn a_place_that_cannot_be_read_does_not_give_way_to_the_next() {
    let mut folder = Folder::new();
    std::fs::create_dir(folder.dir.path().join("backup.toml")).unwrap();
    assert!(matches!(folder.load(), Err(Error::Read { .. })));
    folder.request.file = Some(folder.dir.path().to_owned());
    assert!(matches!(folder.load(), Err(Error::Read { .. })));
}
