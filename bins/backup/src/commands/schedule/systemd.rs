//! What the daemon says to systemd, over the socket of `sd_notify(3)`; nothing where there is none.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A manager that takes nothing for so long is not waited for.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// How often the status line is brought up to date where there is no watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// The way to systemd.
#[derive(Debug)]
pub(super) struct Systemd {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// As the environment of the process says.
    pub(super) fn of_process() -> io::Result<Self> {
        let text = |name| std::env::var(name).ok();
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = socket.map(|name| connect(name.as_encoded_bytes())).transpose()?;
        let is_ours = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = text("WATCHDOG_USEC").filter(|_| is_ours && socket.is_some());
        let watchdog = watchdog.and_then(|usec| usec.parse().ok()).map(Duration::from_micros);
        Ok(Self { socket, watchdog: watchdog.filter(|every| !every.is_zero()) })
    }

    /// How often [`beat`](Self::beat) is to be called.
    pub(super) fn pace(&self) -> Duration {
        self.watchdog.map_or(STATUS_EVERY, |within| (within / 2).min(STATUS_EVERY))
    }

    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    /// With the time, so that the manager knows to which reload the next `READY=1` belongs.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let usec = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// Says how it goes, and that the process lives if it does: whoever hangs is started anew.
    pub(super) fn beat(&self, status: &str, is_alive: bool) {
        let status = status.replace('\n', " ");
        let alive = if is_alive && self.watchdog.is_some() { "\nWATCHDOG=1" } else { "" };
        self.say(&format!("STATUS={status}{alive}"));
    }

    /// One that is lost is not worth more than the next: a manager that is gone starts the process anew.
    fn say(&self, state: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }
}

/// A path, or with `@` before it a name that is no file.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::str::from_utf8(name).map_err(io::Error::other)?)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(SEND_LIMIT))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path_or_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let hidden = format!("s3backup-test-{}", std::process::id());
        let by_name = SocketAddr::from_abstract_name(&hidden).unwrap();
        let cases = [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{hidden}")),
        ];
        for (manager, name) in cases {
            let systemd = Systemd {
                socket: Some(connect(name.as_bytes()).unwrap()),
                watchdog: Some(Duration::from_secs(10)),
            };
            assert_eq!(systemd.pace(), Duration::from_secs(5));
            systemd.beat("two\nlines", false);
            systemd.beat("well", true);
            let mut heard = [0; 64];
            let mut next = || {
                let length = manager.recv(&mut heard).unwrap();
                String::from_utf8_lossy(&heard[..length]).into_owned()
            };
            assert_eq!([next(), next()], ["STATUS=two lines", "STATUS=well\nWATCHDOG=1"]);
        }
        assert!(connect(b"/nowhere/notify").is_err());
    }
}
