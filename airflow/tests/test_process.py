"""The child process: its lines, its document, and above all its end."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import FAKE, is_running, until

from airflow_provider_s3backup import process
from airflow_provider_s3backup.process import BackupProcess, parse_line

LOG = logging.getLogger("child")


def start(command="run"):
    return BackupProcess([str(FAKE), command], os.environ, LOG)


def started(fake):
    return until(lambda: fake.calls, "the fake binary has started")


def test_lines_have_their_level():
    assert parse_line("2026-11-29T08:50:08.000+09:00 WARNING the bucket has no versioning") == (
        logging.WARNING,
        "the bucket has no versioning",
    )
    assert parse_line("error: no such file") == (logging.ERROR, "error: no such file")
    assert parse_line("Usage: backup run") == (logging.INFO, "Usage: backup run")


def test_lines_are_logged_while_it_runs(fake, caplog):
    caplog.set_level("DEBUG")
    fake.does(
        {"run": {"stderr": ["2026-11-29T08:50:08.000+09:00 ERROR a\udcff" + "x" * 40_000], "hangs": True}}
    )
    child = start()
    try:
        until(lambda: len(caplog.records) >= 3, "a line that is too long comes in pieces, before the end")
        assert caplog.records[0].levelno == logging.ERROR
        assert all(len(record.getMessage()) <= process.MAX_LINE_BYTES for record in caplog.records)
    finally:
        child.terminate()
    assert child.wait().was_terminated


@pytest.mark.parametrize(
    ("script", "document"),
    [
        ({"document": {"outcome": "success"}}, {"outcome": "success"}),
        ({"stdout": "no json"}, None),
        ({}, None),
    ],
)
def test_the_document_is_what_it_printed(fake, script, document):
    fake.does({"run": script | {"exit": 3}})
    finished = start().wait()
    assert (finished.exit_code, finished.document) == (3, document)
    assert not finished.was_terminated


def test_more_than_a_document_is_not_kept(fake, monkeypatch):
    monkeypatch.setattr(process, "MAX_DOCUMENT_BYTES", 1000)
    fake.does({"run": {"stdout": "x", "times": 1_000_000}})
    child = start()
    assert child.wait().document is None
    assert len(child._printed) < 1000 + 2 * process.MAX_LINE_BYTES


def test_it_says_that_nobody_was_told(fake):
    fake.does({"run": {"stderr": ["error: nobody was told: Slack refuses"]}})
    assert start().wait().nobody_was_told


def test_a_polite_child_is_stopped_with_what_it_started(fake):
    fake.does({"run": {"hangs": True, "child": True, "on_term": {"outcome": "interrupted"}}})
    child = start()
    started(fake)
    begun = time.monotonic()
    child.terminate()
    assert time.monotonic() - begun < 3
    finished = child.wait()
    assert (finished.exit_code, finished.document) == (130, {"outcome": "interrupted"})
    assert finished.was_terminated
    until(lambda: not any(map(is_running, fake.pids())), "nothing of its group goes on")


def test_a_stubborn_child_is_killed_before_airflow_kills_the_task(fake):
    fake.does({"run": {"hangs": True, "ignores_term": True, "child": True}})
    child = start()
    started(fake)
    begun = time.monotonic()
    child.terminate()
    finished = child.wait()
    assert time.monotonic() - begun < 4.8
    assert finished.exit_code == -signal.SIGKILL
    until(lambda: not any(map(is_running, fake.pids())), "nothing of its group goes on")


def test_stopping_in_a_signal_handler_does_not_reap_the_child(fake):
    """Else the interrupted wait would see exit code 0, and a killed upload would be a success."""
    fake.does({"run": {"hangs": True, "on_term": {"outcome": "interrupted"}, "exit": 130}})
    child = start()
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        killer = threading.Thread(
            target=lambda: (started(fake), os.kill(os.getpid(), signal.SIGTERM)), daemon=True
        )
        killer.start()
        finished = child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert finished.exit_code == 130
    assert finished.was_terminated
    assert finished.document == {"outcome": "interrupted"}


WORKER = f"""
import logging, os, sys
from airflow_provider_s3backup.process import BackupProcess
BackupProcess([{str(FAKE)!r}, "run"], os.environ, logging.getLogger()).wait()
"""


def test_a_worker_that_is_killed_leaves_no_orphan(fake):
    fake.does({"run": {"hangs": True}})
    worker = subprocess.Popen([sys.executable, "-c", WORKER])
    (call,) = started(fake)
    assert is_running(call["pids"][0])
    worker.kill()
    worker.wait()
    until(lambda: not is_running(call["pids"][0]), "the child ends with its worker")


SUPERVISOR = f"""
import os, signal, sys
from airflow.sdk.execution_time import comms, task_runner
task_runner.SUPERVISOR_COMMS = object.__new__(comms.CommsDecoder)  # as in the process of a task
pid = os.fork()
if pid == 0:
    exec({WORKER!r})
    os._exit(0)
print(pid, flush=True)
signal.pause()
"""


def test_a_task_whose_supervisor_is_killed_stops_its_child(fake):
    fake.does({"run": {"hangs": True}})
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True)
    task = int(supervisor.stdout.readline())
    (call,) = started(fake)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    until(lambda: not is_running(call["pids"][0]), "the child ends")
    until(lambda: not is_running(task), "the task ends")


def test_a_child_whose_parent_is_gone_already_does_not_begin(fake):
    launcher = process.Path(process.__file__).with_name("_launch.py")
    done = subprocess.run([sys.executable, "-IS", launcher, "1", str(FAKE), "run"], check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert fake.calls == []


def ignored_signals(process) -> int:
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in status if line.startswith("SigIgn"))


def test_it_has_a_session_of_its_own_and_no_ignored_signals(fake, tmp_path):
    fake.does({"run": {"hangs": True}})
    child = start()
    (call,) = started(fake)
    pid = call["pids"][0]
    assert os.getsid(pid) == pid
    # What is ignored here, by Python or by whoever started it, is not this package's doing.
    assert ignored_signals(pid) & ~ignored_signals("self") == 0
    child.terminate()
    assert json.dumps(child.wait().document) == "null"
