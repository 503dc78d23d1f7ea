"""Runs the binary as a child process: its log lines as they come, its one JSON document, and its end.

The child has a session of its own, so that a signal reaches it and what it started, and nothing else. It dies
with the process that runs it. Nothing here waits without a limit once it was asked to end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from airflow_provider_s3backup._compat import is_supervised

#: From SIGTERM to SIGKILL. The binary ends within 3 s by itself; Airflow kills a task 5 s after it asked it
#: to end.
GRACE_S = 3.6
#: How long the end after SIGKILL is waited for, which is at once unless the kernel holds the process.
KILLED_S = 0.5
#: How much of stdout is kept: a report of a thousand failures with long paths has about a tenth of it.
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
#: A longer line of stderr is logged in pieces.
MAX_LINE_BYTES = 16 * 1024
#: How long pipes are read after the end of the child, as a process that it left may hold them open.
DRAIN_S = 0.5
#: How often it is looked whether the process that supervises this one is still there.
LOOK_S = 1.0
#: What the binary writes to stderr when an alert of it reached nobody.
NOBODY_WAS_TOLD = "nobody was told"

_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+ +(ERROR|WARNING|INFO|DEBUG|TRACE) +(.*)$")
_LEVELS = {
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.DEBUG,
}


@dataclass(frozen=True)
class Finished:
    """How the binary ended."""

    #: Its exit code; minus the number of the signal that ended it.
    exit_code: int
    #: What it printed, if that was JSON.
    document: Any
    #: It was stopped from here, whatever its exit code says.
    was_terminated: bool
    #: It said that an alert of it reached nobody.
    nobody_was_told: bool


class BackupProcess:
    """One run of the binary, from its start to its end.

    :param command: the absolute path of the binary, and its arguments
    :param environment: all of its environment
    :param log: takes each line of its stderr, with the level that it has there
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Any) -> None:
        self._log = log
        self._was_terminated = False
        self._nobody_was_told = False
        self._printed = bytearray()
        launcher = [sys.executable, "-IS", str(Path(__file__).with_name("_launch.py")), str(os.getpid())]
        self._supervisor = os.getppid() if is_supervised() else None
        self._child = subprocess.Popen(
            [*launcher, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._readers = [
            self._reader(self._child.stdout, self._keep),
            self._reader(self._child.stderr, self._say),
        ]

    def wait(self) -> Finished:
        """Wait for the end of the binary, which is ended if whatever supervises this process goes away.

        An exception that a signal handler raises meanwhile, such as the one of a timeout, comes through; the
        binary then goes on until `terminate`, after which this may be called again.
        """
        while True:
            try:
                exit_code = self._child.wait(timeout=LOOK_S)
                break
            except subprocess.TimeoutExpired:
                if self._supervisor not in (None, os.getppid()):
                    self.terminate()
        deadline = time.monotonic() + DRAIN_S
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        return Finished(exit_code, self._document(), self._was_terminated, self._nobody_was_told)

    def terminate(self) -> None:
        """End the binary and what it started: SIGTERM, and SIGKILL after `GRACE_S`. Returns when it ended.

        May be called at any time, also in a signal handler that interrupts `wait`. It therefore reaps
        nothing: a child that is reaped here would look to the interrupted `wait` as if it had succeeded. Nor
        does it log, as the interrupted code may hold the lock of the log.
        """
        self._was_terminated = True
        if self._child.returncode is not None:
            return
        for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, KILLED_S)):
            self._signal(number)
            deadline = time.monotonic() + patience_s
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(0.02)
            if self._has_ended():
                break
        # What it started and left behind. The group cannot be another one yet, as the child was not reaped.
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)

    def _has_ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _reader(self, stream: IO[bytes] | None, sink: Callable[[bytes], None]) -> threading.Thread:
        def read() -> None:
            with stream:  # type: ignore[union-attr]
                while piece := stream.readline(MAX_LINE_BYTES):  # type: ignore[union-attr]
                    sink(piece)

        thread = threading.Thread(target=read, name="s3backup-reader", daemon=True)
        thread.start()
        return thread

    def _keep(self, piece: bytes) -> None:
        if len(self._printed) <= MAX_DOCUMENT_BYTES:
            self._printed += piece

    def _say(self, piece: bytes) -> None:
        line = piece.decode(errors="replace").rstrip()
        self._nobody_was_told |= NOBODY_WAS_TOLD in line
        level, message = parse_line(line)
        if message:
            self._log.log(level, "%s", message)

    def _document(self) -> Any:
        if len(self._printed) > MAX_DOCUMENT_BYTES:
            return None
        try:
            return json.loads(self._printed)
        except ValueError:
            return None


def parse_line(line: str) -> tuple[int, str]:
    """Split a line of the binary's stderr into its level and its message.

    The time is left out, as the log of the task has its own. A line that is not of its log is an error if it
    begins with `error:`, else information.
    """
    if match := _LINE.match(line):
        return _LEVELS[match[1]], match[2]
    return (logging.ERROR if line.startswith("error:") else logging.INFO), line
