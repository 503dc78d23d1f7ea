//! A folder with a configuration in it, and a request that sees nothing of the machine.
#![allow(clippy::unwrap_used, dead_code, reason = "a test may fail at any line, and each uses what it needs")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use s3backup_config::{Error, Loaded, Request, load};

pub(crate) struct Folder {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) request: Request,
}

impl Folder {
    /// An empty folder; the caller is the user who runs the test.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let request = Request {
            environment: vec![("HOME".to_owned(), "/home/fleet".to_owned())],
            current_dir: dir.path().to_owned(),
            user: Request::of_process().user,
            host_name: "gateway 1.local".to_owned(),
            ..Request::default()
        };
        Self { dir, request }
    }

    /// A folder with `backup.toml`.
    pub(crate) fn with(text: &str) -> Self {
        let folder = Self::new();
        folder.write("backup.toml", text);
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        self.mode(name, 0o600);
        path
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        let path = self.dir.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.request.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn job(mut self, name: &str) -> Self {
        self.request.job = Some(name.to_owned());
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, Error> {
        load(&self.request)
    }

    /// What is said, with this folder's name taken out.
    pub(crate) fn said(&self) -> String {
        let said = match self.load() {
            Ok(_) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        };
        said.replace(self.dir.path().to_str().unwrap(), "DIR")
    }
}

/// The least that loads.
pub(crate) const LEAST: &str = "[[source]]\npath = \"data\"\n[destination]\nbucket = \"b\"\n";
