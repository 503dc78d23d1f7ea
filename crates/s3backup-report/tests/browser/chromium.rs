//! Headless Chromium, driven by its `DevTools` protocol over a pipe: no port, no driver, no other crate.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser that says nothing for so long will not say anything any more.
const PATIENCE: Duration = Duration::from_mins(2);

/// How wide the window is, in CSS pixels, and which colours the user prefers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) width: u64,
    pub(crate) height: u64,
    pub(crate) is_dark: bool,
}

/// A browser with one tab. It ends when it is dropped.
pub(crate) struct Chromium {
    process: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    /// What happened since the last page was opened.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Chromium {
    pub(crate) fn start() -> Self {
        let program = std::env::var("S3BACKUP_TEST_CHROMIUM").expect(
            "S3BACKUP_TEST_CHROMIUM must name a Chromium; run the tests by `cargo xtask test`, which finds or fetches one",
        );
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            // Chromium reads orders from descriptor 3 and answers on 4.
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#, &program])
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                // The test has ended.
                let Ok(()) = sender.send(serde_json::from_slice(&message).unwrap()) else { return };
            }
        });
        let mut browser =
            Self { process, orders, messages, session: None, sent: 0, events: Vec::new(), _profile: profile };
        let target = browser.order("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.order("Target.attachToTarget", &attached);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Log.enable", "Runtime.enable"] {
            browser.order(domain, &json!({}));
        }
        browser
    }

    /// Opens a page, and tells what the browser has to complain of: errors, violations of the policy, lines on the console.
    pub(crate) fn open(&mut self, url: &str, look: Look) -> Vec<String> {
        let Look { width, height, is_dark } = look;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.order("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.order("Emulation.setEmulatedMedia", &features);
        self.events.clear();
        let opened = self.order("Page.navigate", &json!({ "url": url }));
        assert_eq!(opened["errorText"], Value::Null, "{url}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.message();
            self.events.push(event);
        }
        // Whatever was logged before comes before the answer.
        self.evaluate("0");
        let is_complaint = |event: &&Value| {
            ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"]
                .contains(&event["method"].as_str().unwrap_or_default())
        };
        self.events.iter().filter(is_complaint).map(|event| event["params"].to_string()).collect()
    }

    /// What an expression comes to in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let wanted = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.order("Runtime.evaluate", &wanted);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{answer}");
        answer["result"]["value"].take()
    }

    /// Gives an order and waits for what comes of it.
    fn order(&mut self, method: &str, params: &Value) -> Value {
        self.sent += 1;
        let mut order = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.orders.write_all(&bytes).unwrap();
        loop {
            let mut message = self.message();
            if message["id"] == self.sent {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    fn message(&self) -> Value {
        self.messages.recv_timeout(PATIENCE).expect("Chromium answers")
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
