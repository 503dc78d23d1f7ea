//! Warnings of dependencies. One test only, because the receivers are global to the process.

mod common;

use std::io::{self, Write};

use common::{TestClock, TestConsole};
use s3backup_logging::{Console, Error, Level, LoggerManager};

/// A console that logs about its own work, as a terminal library might.
struct Chatty(TestConsole);

impl Write for Chatty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        tracing::warn!("I am writing");
        log::warn!("I am writing");
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn warnings_of_dependencies_are_logged_and_nothing_below() {
    let console = TestConsole::default();
    let logging = LoggerManager::builder("job")
        .level(Level::Trace)
        .clock(TestClock::at("2025-11-24T11:00:00Z").clock())
        .console(Console::Writer { writer: Box::new(Chatty(console.clone())), colour: false })
        .build();
    logging.capture_dependencies().unwrap();
    assert!(matches!(logging.capture_dependencies(), Err(Error::TracingTaken(_))));

    let span = tracing::info_span!("request", secret = "token");
    let _entered = span.enter();
    let line = line!() + 1;
    tracing::warn!(target: "aws_smithy", attempt = 3, host = "s3.local", "slow\nreply");
    tracing::error!(error = %"reset", "connection lost");
    tracing::info!("authorization: secret");
    log::warn!(target: "rustls", "certificate {} expires", 7);
    log::error!("alert");
    log::info!("authorization: secret");
    log::debug!("authorization: secret");
    logging.flush();

    let time = "2025-11-24T11:00:00.000+00:00";
    let here = "s3backup-logging/tests/capture.rs";
    let expected = [
        format!(r"{time} WARNING slow\nreply target=aws_smithy attempt=3 host=s3.local [{here}:{line}]"),
        format!("{time} ERROR   connection lost target=capture error=reset [{here}:{}]", line + 1),
        format!("{time} WARNING certificate 7 expires target=rustls [{here}:{}]", line + 3),
        format!("{time} ERROR   alert target=capture [{here}:{}]", line + 4),
    ];
    assert_eq!(console.text().lines().collect::<Vec<_>>(), expected);
    logging.finish();
    tracing::warn!("too late, and harmless");
}
