//! `backup schedule`: the daemon as systemd, a browser and a monitoring system see it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use s3backup_local_s3::{Fault, FaultKind, Operation};

use crate::world::{World, assert_no_secret};

/// How long a test waits for what must happen soon.
const PATIENCE: Duration = Duration::from_secs(30);

const YEARLY: &str = "[schedule]\ncron = \"0 0 1 1 *\"\n";

/// A daemon that runs; it is killed at the end of the test.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    address: String,
}

impl Daemon {
    /// Starts it and waits until it listens.
    fn start(world: &World) -> Self {
        Self::of(world.command(&["schedule", "--listen", "127.0.0.1:0"]))
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        // Ends with the daemon.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut daemon = Self { child, lines, seen: Vec::new(), address: String::new() };
        let line = daemon.wait_for("listening on http://");
        let address = line.split("http://").nth(1).unwrap().split_whitespace().next().unwrap();
        daemon.address = address.replace("0.0.0.0", "127.0.0.1");
        daemon
    }

    /// Waits until it logs this.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("it does not say {text:?} but:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Tells it to end, and gives its exit code.
    fn end(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "localhost", "")
    }

    fn ask(&self, method: &str, path: &str, host: &str, more: &str) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// Asks until the answer has this status.
    #[track_caller]
    fn get_until(&self, path: &str, status: u16) -> Reply {
        let begun = Instant::now();
        loop {
            let reply = self.get(path);
            if reply.status == status {
                return reply;
            }
            assert!(begun.elapsed() < PATIENCE, "it stays {reply:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the page says of a job with a run that goes on.
const RUNNING: &str = ": Running</title>";

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

/// A job whose only run failed because its source was not there, and which has a schedule since then.
fn behind() -> World {
    let world = World::new();
    std::fs::remove_dir(world.path("data")).unwrap();
    world.run(&["run"]).expect(1);
    world.file("a", b"1");
    world.configure(YEARLY);
    world
}

fn runs(world: &World) -> Vec<serde_json::Value> {
    world.run(&["history", "--json"]).expect(0).json().as_array().unwrap().clone()
}

#[test]
fn what_is_overdue_runs_once_and_the_daemon_says_how_it_stands() {
    let world = behind();
    let mut daemon = Daemon::start(&world);
    daemon.wait_for("run finished");
    daemon.wait_for("next run");
    let health = daemon.get_until("/healthz", 200);
    assert_eq!(health.body, "ok\n");
    let metrics = daemon.get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("backup_last_success_timestamp_seconds{"), "{}", metrics.body);
    assert!(daemon.get("/").body.contains("telemetry"));
    assert_eq!(daemon.end(), Some(0));

    let runs = runs(&world);
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs[0]["summary"]["trigger"], "catch-up");
    assert_eq!(runs[0]["summary"]["outcome"], "success");
    assert!(world.log("info_log_telemetry_").contains("run finished"));
    assert!(world.log("info_log_schedule_").contains("listening on"));

    let mut again = Daemon::start(&world);
    again.get_until("/healthz", 200);
    assert_eq!(again.end(), Some(0));
    assert_eq!(self::runs(&world).len(), 2, "nothing is due");
}

#[test]
fn a_run_that_fails_is_tried_again_soon() {
    let world = behind();
    std::fs::remove_dir_all(world.path("data")).unwrap();
    let mut daemon = Daemon::start(&world);
    daemon.wait_for("run failed");
    let line = daemon.wait_for("next run");
    assert!(!line.contains("-01-01 00:00"), "{line}");
    let health = daemon.get("/healthz");
    assert_eq!(health.status, 200, "the schedule is new, and nothing is late by it: {}", health.body);
    assert_eq!(daemon.end(), Some(0));
}

#[test]
fn two_daemons_do_not_run_a_job_twice() {
    let world = behind();
    world.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::PutObject).key_contains("trips/a"));
    let before = world.server.stats().faults;
    let mut first = Daemon::start(&world);
    let begun = Instant::now();
    while world.server.stats().faults == before {
        assert!(begun.elapsed() < PATIENCE, "the upload did not begin");
        std::thread::yield_now();
    }
    let page = first.get("/").body;
    assert!(page.contains(RUNNING), "{page}");
    let mut second = Daemon::start(&world);
    let begun = Instant::now();
    while !second.get("/").body.contains("-01-01") {
        assert!(
            begun.elapsed() < PATIENCE,
            "it does not wait for the next due time: {}",
            second.get("/").body
        );
        std::thread::yield_now();
    }
    assert!(!second.get("/").body.contains(RUNNING));
    assert_eq!(first.end(), Some(0));
    assert_eq!(second.end(), Some(0));
    assert_eq!(runs(&world).len(), 2);
}

#[test]
fn sigterm_ends_the_daemon_and_its_run_within_the_grace() {
    let world = behind();
    world.file("slow", &vec![1; 20 << 20]);
    world.server.faults().add(Fault::new(FaultKind::Hang).on(Operation::UploadPart));
    let mut daemon = Daemon::start(&world);
    let begun = Instant::now();
    while world.server.stats().of(Operation::UploadPart) == 0 {
        assert!(begun.elapsed() < PATIENCE, "the upload did not begin");
        std::thread::yield_now();
    }
    let told = Instant::now();
    assert_eq!(daemon.end(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(3), "it took {:?}", told.elapsed());
    assert_eq!(runs(&world)[0]["summary"]["outcome"], "interrupted");
}

#[test]
fn a_configuration_that_is_broken_while_it_runs_changes_nothing_and_is_told() {
    let world = World::new();
    world.configure(YEARLY);
    let mut daemon = Daemon::start(&world);
    daemon.get_until("/healthz", 200);
    world.configure("[schedule]\ncron = \"0 25 * * *\"\n");
    daemon.signal(Signal::HUP);
    let line = daemon.wait_for("The configuration from before holds");
    assert!(line.contains("the hour is"), "{line}");
    let health = daemon.get_until("/healthz", 503);
    assert!(health.body.contains("configuration is broken"), "{}", health.body);
    let begun = Instant::now();
    while world.slack.texts().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "nobody was told");
        std::thread::yield_now();
    }
    assert!(world.slack.all().contains("has a broken configuration"), "{}", world.slack.all());

    world.configure("");
    daemon.signal(Signal::HUP);
    daemon.wait_for("the job telemetry has none");
    world.configure("[schedule]\ncron = \"0 0 1 2 *\"\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for("the configuration was read again");
    daemon.get_until("/healthz", 200);
    let begun = Instant::now();
    while !daemon.get("/").body.contains("<code>0 0 1 2 *</code>") {
        assert!(begun.elapsed() < PATIENCE, "the new schedule is not taken: {}", daemon.get("/").body);
        std::thread::yield_now();
    }
    assert_eq!(daemon.end(), Some(0));
    assert_no_secret(&world, &daemon.seen.join("\n"));
}

#[test]
fn systemd_is_told_how_it_goes() {
    let world = World::new();
    world.configure(YEARLY);
    let manager = UnixDatagram::bind(world.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = |wanted: &str| {
        let mut bytes = [0; 1024];
        loop {
            let length = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    };
    let mut command = world.command(&["schedule", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "200000");
    let mut daemon = Daemon::of(command);
    heard("READY=1");
    heard("WATCHDOG=1");
    assert!(heard("STATUS=telemetry").contains("WATCHDOG=1"));
    daemon.signal(Signal::HUP);
    assert!(heard("RELOADING=1").contains("MONOTONIC_USEC="));
    heard("READY=1");
    daemon.signal(Signal::TERM);
    heard("STOPPING=1");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn only_whoever_may_sees_more_than_that_it_is_well() {
    let world = World::new();
    world.configure(YEARLY);
    let everywhere = ["schedule", "--listen", "0.0.0.0:0"];
    assert!(world.run(&everywhere).expect(2).err.contains("--allow-remote"));
    let all = [&everywhere[..], &["--allow-remote"]].concat();
    assert!(world.run(&all).expect(2).err.contains("needs a token"));
    std::fs::write(world.path("token"), "\n").unwrap();
    let all = [&all[..], &["--token-file", "token", "--host-name", "gw-1.example"]].concat();
    assert!(world.run(&all).expect(2).err.contains("it is empty"));

    std::fs::write(world.path("token"), "hush-1\n").unwrap();
    let mut daemon = Daemon::of(world.command(&all));
    for open in ["/healthz", "/metrics"] {
        daemon.get_until(open, 200);
    }
    for closed in ["/", "/nothing", "/healthz/", "//healthz"] {
        let reply = daemon.get(closed);
        assert_eq!(reply.status, 401, "{closed}: {reply:?}");
        assert!(reply.head.contains("www-authenticate: basic"), "{reply:?}");
        assert!(!reply.body.contains("telemetry"));
    }
    let with = |path: &str, host: &str| daemon.ask("GET", path, host, "authorization: Bearer hush-1\r\n");
    let page = with("/", "gw-1.example:9178");
    assert_eq!(page.status, 200);
    for header in [
        "content-security-policy: default-src 'none'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(page.head.contains(header), "{header} is not in {}", page.head);
    }
    let (one, other) = (with("/nothing", "localhost"), with("/other?x=%3Cscript%3E", "localhost"));
    assert_eq!((one.status, other.status), (404, 404));
    assert_eq!(one.body, other.body, "the path is not repeated");
    assert_eq!(with("/", "evil.example").status, 421);
    assert_eq!(daemon.ask("GET", "/healthz", "evil.example", "").status, 421);
    let posted = daemon.ask("POST", "/healthz", "localhost", "content-length: 0\r\n");
    assert!(posted.status == 405 && posted.head.contains("allow: get, head"), "{posted:?}");
    let head = daemon.ask("HEAD", "/healthz", "localhost", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // Few bytes: where some are left unread, the connection is reset, and the answer may be lost with it.
    let large = daemon.ask("GET", "/healthz", "localhost", &"x: y\r\n".repeat(100));
    assert_eq!(large.status, 431, "{large:?}");
    assert_eq!(daemon.end(), Some(0));
    assert!(!daemon.seen.join("\n").contains("hush-1"));
}

#[test]
fn no_step_sees_the_token() {
    let world = behind();
    let step = "[[step]]\nname = \"look\"\ncommand = [\"sh\", \"-c\", \"env > env.txt\"]\n";
    world.configure(&format!("{YEARLY}{step}"));
    let mut command = world.command(&["schedule", "--listen", "127.0.0.1:0", "--token-env", "STATUS_TOKEN"]);
    command.env("STATUS_TOKEN", "hush-2").env("OTHER", "seen");
    let mut daemon = Daemon::of(command);
    daemon.wait_for("run finished");
    let seen = std::fs::read_to_string(world.path("env.txt")).unwrap();
    assert!(seen.contains("OTHER=seen") && !seen.contains("hush-2"), "{seen}");
    assert_eq!(daemon.get("/").status, 401, "a token counts on loopback, too");
}

#[test]
fn a_start_that_cannot_be_is_told() {
    let world = World::new();
    let ended = world.run(&["schedule", "--listen", "127.0.0.1:0"]);
    assert!(ended.expect(2).err.contains("[schedule]"), "{}", ended.err);
    assert_eq!(world.slack.texts().len(), 1, "a daemon that does not start backs nothing up");

    world.configure(YEARLY);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = world.run(&["schedule", "--listen", &address]);
    assert!(ended.expect(1).err.contains("cannot listen on"), "{}", ended.err);
}
