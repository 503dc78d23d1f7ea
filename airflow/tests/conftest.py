"""What the tests share: an Airflow of their own, the fake binary, and a Slack that counts."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HOME = tempfile.mkdtemp(prefix="s3backup-airflow-test-")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
DAGS = Path(__file__).parent.parent / "dags"
FAKE = Path(__file__).parent / "fake_backup.py"

# Before anything imports Airflow: it reads them then.
for name in [
    n for n in os.environ if n.startswith(("AIRFLOW", "AWS_", "BACKUP_", "SLACK_", "S3BACKUP_SHARD"))
]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "TMPDIR": HOME,
    "NO_COLOR": "1",
}
tempfile.tempdir = HOME


def until(condition, what: str, limit_s: float = 20.0):
    """Wait for a condition, and return what it returns."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.01)
    return found


def is_running(pid: int) -> bool:
    """Whether a process goes on. One that has ended and that nobody has asked for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Fake:
    """The fake binary."""

    def __init__(self, monkeypatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._calls = folder / "calls"
        self.folder = folder
        monkeypatch.setenv("FAKE_BACKUP_CALLS", str(self._calls))
        self.does({})
        self.connect()

    def does(self, scripts: dict) -> None:
        self._monkeypatch.setenv("FAKE_BACKUP", json.dumps(scripts))

    def connect(self, **fields) -> None:
        extra = {"binary": str(FAKE)} | fields.pop("extra", {})
        connection = {"conn_type": "s3backup", "extra": extra} | fields
        self._monkeypatch.setenv("AIRFLOW_CONN_S3BACKUP_DEFAULT", json.dumps(connection))

    @property
    def calls(self) -> list[dict]:
        if not self._calls.exists():
            return []
        lines = self._calls.read_text().split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def pids(self) -> list[int]:
        return [pid for call in self.calls for pid in call["pids"]]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    fake = Fake(monkeypatch, tmp_path)
    yield fake
    assert not [pid for pid in fake.pids() if is_running(pid)], "a test left a process behind"


@pytest.fixture
def world(tmp_path, slack, monkeypatch):
    from world import World

    return World(tmp_path, slack, monkeypatch)


@pytest.fixture
def real(fake):
    """The real binary behind the connection."""
    from world import binary

    fake.connect(extra={"binary": binary(), "slack_token": "xoxb-1"})


class Slack:
    """A server that takes messages as Slack does, and counts them."""

    def __init__(self) -> None:
        self.posts: list[dict] = []
        self.answers: list[tuple[int, dict]] = []
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                slack.posts.append(
                    {
                        "path": self.path,
                        "authorization": self.headers["Authorization"],
                        **json.loads(body),
                    }
                )
                status, answer = slack.answers.pop(0) if slack.answers else (200, {"ok": True, "ts": "1.0"})
                answer = json.dumps(answer | {"channel": "C1"}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def texts(self) -> list[str]:
        """What was posted anew; the binary brings its messages up to date as well."""
        return [
            json.dumps(post, ensure_ascii=False)
            for post in self.posts
            if not post["path"].endswith("chat.update")
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def slack():
    slack = Slack()
    yield slack
    slack.close()


@pytest.fixture(autouse=True)
def _no_old_markers():
    for folder in Path(HOME).glob("s3backup-airflow-*"):
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def database():
    """Airflow's own, made once."""
    from airflow.utils.db import initdb

    initdb()


class Ti:
    """What operators and callbacks use of a task instance."""

    def __init__(self, **attributes) -> None:
        self.pushed: dict = {}
        self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number = "d", "r", "t", -1, 1
        self.start_date = None
        self.__dict__.update(attributes)

    def xcom_push(self, key, value):
        self.pushed[key] = value

    def xcom_pull(self, task_ids, key, map_indexes=None):
        return self.pushed.get(key)


@pytest.fixture
def ti():
    return Ti()
