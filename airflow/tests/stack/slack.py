"""A Slack that takes every message: `slack.py PORT FILE` appends each as a line of JSON to FILE."""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Slack(BaseHTTPRequestHandler):
    file: Path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        method = self.path.rsplit("/", 1)[-1]
        stamp = f"{time.time():.6f}"
        is_json = "json" in self.headers.get("content-type", "")
        message = json.loads(body) if is_json and body else {"form": body.decode()}
        with self.file.open("a") as lines:
            lines.write(json.dumps({"method": method, "ts": stamp, "message": message}) + "\n")
        self.reply(
            {"ok": True, "channel": "C1", "ts": message.get("ts", stamp), "team": "stack", "user": "backup"}
        )

    def do_GET(self) -> None:
        self.reply({"ok": True, "channel": {"id": "C1", "name": "stack", "is_member": True}})

    def reply(self, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the file tells it."""


def messages(file: Path) -> list[dict]:
    """What is new in the channel: neither answers in a thread nor messages that were brought up to date."""
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        line["message"]
        for line in lines
        if line["method"] == "chat.postMessage" and "thread_ts" not in line["message"]
    ]


if __name__ == "__main__":
    Slack.file = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Slack).serve_forever()
