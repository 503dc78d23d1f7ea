"""What a DAG needs to know of `backup.toml` when it is parsed, so that it is said in one place.

Only the few values that decide when a DAG runs and whom it tells are looked at; all else is the binary's. The
environment goes before the file, as it does there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

#: Where the file is looked for when nothing names it, after the folder of the user.
SYSTEM_FILE = Path("/etc/s3backup/backup.toml")
#: The zone of a DAG on a machine without a configuration. In a file the binary's own default, UTC, holds.
DEFAULT_TIMEZONE = "Asia/Seoul"

_CHOSEN = "job of many"

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNIT_NAMES = {
    **dict.fromkeys(["ms", "msec", "millis"], "ms"),
    **dict.fromkeys(["s", "sec", "secs", "second", "seconds"], "s"),
    **dict.fromkeys(["m", "min", "mins", "minute", "minutes"], "m"),
    **dict.fromkeys(["h", "hr", "hrs", "hour", "hours"], "h"),
    **dict.fromkeys(["d", "day", "days"], "d"),
    **dict.fromkeys(["w", "wk", "wks", "week", "weeks"], "w"),
}


@dataclass(frozen=True)
class Settings:
    """When a job runs, for how long, and how people are told."""

    #: The file; `None` on a machine that has none, where the defaults stand in for it.
    path: str | None
    #: Which job of a file with several; `None` where there is one.
    job_of_many: str | None
    cron: str
    timezone: str
    #: After it the binary interrupts the run.
    max_runtime: timedelta
    #: So long after a due time a job without a success is late.
    deadline: timedelta
    #: `[slack]` of the file, `None` without one.
    slack: dict[str, Any] | None
    #: Whether the binary has a way to tell people by itself.
    tells: bool

    @classmethod
    def read(cls, path: str | None = None, job: str | None = None) -> Settings:
        """Read the configuration.

        :param path: the file; by default the one that `$BACKUP_CONFIG` names, else the first that the binary
            finds as well (but for the one in the working directory, which is nobody's choice here), else none
        :param job: which job of a file with several
        :raises OSError: a file that was named cannot be read
        :raises ValueError: the file is not TOML, or a value in it is not what it should be
        """
        path = path or os.environ.get("BACKUP_CONFIG") or _found()
        tree = _job_of(_parse(path), job, path) if path else {"timezone": DEFAULT_TIMEZONE}
        schedule = _table(tree, "schedule")
        return cls(
            path=path,
            job_of_many=tree.get(_CHOSEN),
            cron=_text(schedule, "cron", "SCHEDULE__CRON", "0 20 * * *"),
            timezone=_text(tree, "timezone", "TIMEZONE", "UTC"),
            max_runtime=duration(_text(schedule, "max_runtime", "SCHEDULE__MAX_RUNTIME", "10h")),
            deadline=duration(_text(schedule, "deadline", "SCHEDULE__DEADLINE", "1h")),
            slack=_table(tree, "slack") if "slack" in tree else None,
            tells="slack" in tree
            or "alert" in tree
            or any(name.startswith("BACKUP_SLACK__") for name in os.environ),
        )

    def notifier_arguments(self, slack_conn_id: str) -> dict[str, Any]:
        """Return how `S3BackupSlackNotifier` tells the same people as the binary.

        The token is in the environment variable that `[slack]` names, if this process has it; else in the
        connection.

        :param slack_conn_id: a connection with a token of Slack, such as the one of this provider
        """
        slack = self.slack or {}
        common = {"api_url": slack["api_url"]} if "api_url" in slack else {}
        if variable := slack.get("webhook_env"):
            return {**common, "webhook_env": variable}
        if not slack.get("channel"):
            raise ValueError(
                "[slack] has neither channel nor webhook_env: a DAG needs one of them to tell people"
            )
        common["channel"] = slack["channel"]
        if slack.get("token_env", "") in os.environ:
            return {**common, "token_env": slack["token_env"]}
        return {**common, "slack_conn_id": slack_conn_id}


def duration(text: str) -> timedelta:
    """Read a length of time as the binary writes it: `90s`, `10h`, `1h 30m`."""
    pieces = re.findall(r"(\d+)\s*([a-z]+)\s*", text)
    if not pieces or "".join(n + unit for n, unit in pieces) != re.sub(r"\s", "", text):
        raise ValueError(f"{text!r} is no length of time such as 90s, 10h or 1h 30m")
    try:
        return timedelta(seconds=sum(int(n) * _UNITS_S[_UNIT_NAMES[unit]] for n, unit in pieces))
    except KeyError as unit:
        raise ValueError(f"{text!r} has the unit {unit}: use s, m, h, d or w") from None


def _found() -> str | None:
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "s3backup" / "backup.toml"
    return next((str(path) for path in (user, SYSTEM_FILE) if path.exists()), None)


def _parse(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not TOML, which it must be to schedule a DAG: {error}") from error


def _job_of(tree: dict[str, Any], job: str | None, path: str | None) -> dict[str, Any]:
    """Return what holds for one job: its own table over the top level."""
    jobs = tree.get("job")
    if not isinstance(jobs, dict):
        return tree
    if job is None:
        job = os.environ.get("BACKUP_JOB") or (next(iter(jobs)) if len(jobs) == 1 else None)
    if job not in jobs:
        raise ValueError(f"{path} has the jobs {', '.join(sorted(jobs))}: name one of them, not {job!r}")
    return _merged(tree, jobs[job]) | {_CHOSEN: job}


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _table(tree: dict[str, Any], name: str) -> dict[str, Any]:
    table = tree.get(name, {})
    if not isinstance(table, dict):
        raise ValueError(f"[{name}] must be a table")
    return table


def _text(table: dict[str, Any], key: str, variable: str, default: str) -> str:
    value = os.environ.get(f"BACKUP_{variable}") or table.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a text, not {value!r}")
    return value


def tells_people(path: str | None, job: str | None) -> bool:
    """Whether the binary, with this configuration, has a way to tell people: `[slack]` or `[alert]`.

    Of a file that cannot be read the answer is no, as the binary reads the same file. One that is not TOML,
    which the binary reads as well, is not looked into: it is believed.
    """
    if path and Path(path).suffix in (".yaml", ".yml", ".json"):
        return True
    try:
        return Settings.read(path, job).tells
    except (OSError, ValueError):
        return False
