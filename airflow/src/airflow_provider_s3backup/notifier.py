"""The notifier: tells Slack of what the binary could not tell by itself.

The binary tells people of every run that it lives to record. What remains for Airflow: a worker that was
killed, a binary that is not there, a task that never began. So the notifier first looks whether the binary
has told already.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

from airflow_provider_s3backup import once
from airflow_provider_s3backup._compat import BaseNotifier, Context, redact
from airflow_provider_s3backup.hook import S3BackupHook
from airflow_provider_s3backup.occasion import Event, Occasion, reports
from airflow_provider_s3backup.outcome import DIFFERS, SUCCESS
from airflow_provider_s3backup.process import NOBODY_WAS_TOLD
from airflow_provider_s3backup.settings import tells_people
from airflow_provider_s3backup.slack import API_URL, SlackError, Target, post

#: How long the binary may take to say what it has recorded.
HISTORY_S = 10.0
MONITOR_S = 60.0
#: How long the binary of a task that Airflow gave up may go on: it is asked to end at the task's next
#: heartbeat (5 s), has 4 s for that, and tells of it. Airflow gives all callbacks of a file 50 s.
SETTLED_S = 12.0
LOOK_EVERY_S = 3.0

_DONE = ("success", "partial")

When = Literal["untold", "always"]


class S3BackupSlackNotifier(BaseNotifier):
    """A callback of a DAG or a task, or of a deadline, that posts to Slack.

    It never raises, changes nothing in itself (one notifier serves all tasks of a DAG), has no templates, and
    posts once although Airflow may call it twice. Just one of `slack_conn_id`, `token_env` and `webhook_env`
    says by what right.

    :param slack_conn_id: a connection with a token: of the type `s3backup` (its Slack bot token), `slack` or
        `slackwebhook`
    :param token_env: name of the environment variable with a bot token
    :param webhook_env: name of the environment variable with the address of an incoming webhook
    :param channel: where a bot posts
    :param api_url: of Slack, for a proxy
    :param event: what this callback tells of: `failure`, `success` (which is only told when no run is known),
        `late`
    :param when: `untold`: if the binary has not told already; `always`
    :param s3backup_conn_id: how the binary is found, to ask it
    :param config: path of `backup.toml` for that
    :param job: which job of the file
    :raises ValueError: anything of it is empty or contradicts itself
    """

    template_fields: Sequence[str] = ()

    def __init__(
        self,
        *,
        slack_conn_id: str | None = None,
        token_env: str | None = None,
        webhook_env: str | None = None,
        channel: str | None = None,
        api_url: str = API_URL,
        event: Event = "failure",
        when: When = "untold",
        s3backup_conn_id: str | None = S3BackupHook.default_conn_name,
        config: str | None = None,
        job: str | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__()
        if sum(way is not None for way in (slack_conn_id, token_env, webhook_env)) != 1:
            raise ValueError(
                "name one of slack_conn_id, token_env and webhook_env: a bot or a webhook, and not both"
            )
        if slack_conn_id is not None and not slack_conn_id.strip():
            raise ValueError("slack_conn_id is empty: nobody would be told")
        if webhook_env is None and not (channel or "").strip():
            raise ValueError("channel is empty: nobody would be told")
        if event not in get_args(Event) or when not in get_args(When):
            raise ValueError(f"event={event!r}, when={when!r}: one of them is unknown")
        for variable in (token_env, webhook_env):
            if variable is not None:
                _secret(variable)
        self.slack_conn_id = slack_conn_id
        self.token_env = token_env
        self.webhook_env = webhook_env
        self.channel = channel
        self.api_url = api_url
        self.event: Event = event
        self.when: When = when
        self.s3backup_conn_id = s3backup_conn_id
        self.config = config
        self.job = job
        self.context = context or {}

    def __call__(self, *args: Any) -> None:
        """Tell of what a context says. Unlike others this renders nothing, least of all in place."""
        context: Any = args[0] if args and isinstance(args[0], Mapping) else {}
        self.notify(context)

    def __await__(self) -> Generator[Any, None, None]:
        """Tell of the context that was given at the start, as in the triggerer."""
        return self.async_notify(self.context).__await__()

    async def async_notify(self, context: Context) -> None:
        """Do the same as `notify` without holding up the triggerer."""
        await asyncio.to_thread(self.notify, context)

    def notify(self, context: Context) -> None:
        """Post, if there is something to tell. What goes wrong is logged: raising would help nobody."""
        try:
            occasion = Occasion.of(self.event, context)
            if self.when == "always" or not self._comes_to_be_told(occasion, context):
                self._post_once(occasion)
        except Exception as error:
            self.log.error("Nobody was told of %s: %s", self.event, redact(str(error)))

    def _comes_to_be_told(self, occasion: Occasion, context: Context) -> bool:
        """Whether the binary has told, or will soon: the callback of a run that was ended comes first."""
        ends = time.monotonic() + (SETTLED_S if occasion.may_go_on else 0.0)
        while not self._is_told(occasion, context):
            if time.monotonic() >= ends:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def _is_told(self, occasion: Occasion, context: Context) -> bool:
        if occasion.event == "late":
            return self._is_told_late(context)
        known = self._reports(occasion, context)
        # Of an earlier try of the task the binary may have told, but not of this one.
        since = occasion.run_started_at if known is None else occasion.started_at
        if occasion.event == "success":
            return self._is_success_known(known, since)
        if any(report.get("told") and report.get("outcome") != "success" for report in known or []):
            return True
        recorded = self._recorded(since) if self._binary_tells() else None
        return any(run.get("outcome") != "success" for run in recorded or [])

    def _is_success_known(self, known: list[dict[str, Any]] | None, since: datetime | None) -> bool:
        if any(report.get("outcome") in _DONE for report in known or []):
            return True
        recorded = self._recorded(since)
        # Where nobody can be asked, nothing speaks against it.
        is_unknown = known is None and recorded is None
        return is_unknown or any(run.get("outcome") in _DONE for run in recorded or [])

    def _binary_tells(self) -> bool:
        try:
            hook = self._hook
            return tells_people(hook.config, hook.job)
        except Exception as error:
            self.log.info("The connection cannot be reached from here (%s)", type(error).__name__)
            return False

    def _reports(self, occasion: Occasion, context: Context) -> list[dict[str, Any]] | None:
        """Return what the tasks left in XCom; `None` where XCom cannot be reached."""
        try:
            return reports(occasion, context)
        except Exception as error:
            self.log.info("XCom cannot be reached from here (%s)", type(error).__name__)
            return None

    def _recorded(self, since: datetime | None) -> list[dict[str, Any]] | None:
        """Return the runs that Airflow began since then, as the binary recorded them; `None` if unknown."""
        if since is None:
            return None
        try:
            _, document, _ = self._hook.ask("history", timeout_s=HISTORY_S)
            runs = [
                run["summary"] | {"at": _time(run["started_at"])} for run in document if run.get("summary")
            ]
            return [run for run in runs if run["trigger"] == "airflow" and run["at"] >= since]
        except Exception as error:
            self.log.info("The binary cannot be asked on this machine: %s", redact(str(error)))
            return None

    def _is_told_late(self, context: Context) -> bool:
        run = context.get("dag_run")
        state = run.get("state") if isinstance(run, Mapping) else None
        if state in ("success", "failed"):
            # A deadline also fires for a run that has failed, of which people know.
            return True
        # It knows by the bucket whether the backup is late, and says so once, whoever else looks.
        try:
            code, _, said = self._hook.ask("monitor", timeout_s=MONITOR_S)
        except Exception as error:
            self.log.info("The binary cannot be asked on this machine: %s", redact(str(error)))
            return False
        return code in (SUCCESS, DIFFERS) and NOBODY_WAS_TOLD not in said

    def _post_once(self, occasion: Occasion) -> None:
        try:
            marker = once.claim(*occasion.key)
        except FileExistsError:
            self.log.info("This was told before")
            return
        except OSError as error:
            marker = None
            self.log.warning("A second message cannot be prevented: %s", error)
        try:
            post(self._target(), redact(occasion.text()))
        except Exception:
            if marker is not None:
                marker.unlink(missing_ok=True)
            raise
        self.log.info("Slack was told of %s", occasion.event)

    def _target(self) -> Target:
        if self.webhook_env:
            return Target.webhook(_secret(self.webhook_env))
        if self.token_env:
            return Target.bot(_secret(self.token_env), self.channel, self.api_url)
        connection: Any = S3BackupHook.get_connection(str(self.slack_conn_id))
        extra = connection.extra_dejson
        if connection.conn_type == "slackwebhook":
            return Target.webhook(_webhook_url(connection))
        token = extra.get("slack_token") if connection.conn_type == "s3backup" else connection.password
        if not (token or "").strip():
            raise SlackError(f"the connection {self.slack_conn_id!r} has no token of Slack")
        return Target.bot(token.strip(), self.channel, extra.get("base_url") or self.api_url)

    @property
    def _hook(self) -> S3BackupHook:
        return S3BackupHook(self.s3backup_conn_id, config=self.config, job=self.job)


def _secret(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ValueError(f"the environment variable {variable!r} is empty or not set: nobody would be told")
    return value


def _webhook_url(connection: Any) -> str:
    """Read a connection of Slack's own provider: an address as the password, or its last part."""
    password = (connection.password or "").strip()
    if not password:
        raise SlackError(f"the connection {connection.conn_id!r} has no webhook")
    if "://" in password:
        return password
    host = connection.host or "hooks.slack.com/services"
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    return f"{base.rstrip('/')}/{password.lstrip('/')}"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
