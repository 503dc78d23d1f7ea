"""Finds the binary, its configuration and its secrets by a connection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_s3backup._compat import AirflowFailException, BaseHook

#: How long a question to the binary may take, such as the one of the connection's test button.
ASK_S = 60.0

#: What Airflow knows about itself, keys and connections included, is no business of the binary and of what it
#: starts.
_AIRFLOWS_OWN = ("AIRFLOW_", "_AIRFLOW_", "__AIRFLOW_")
_HARMLESS = "AIRFLOW_CTX_"


class S3BackupHook(BaseHook):
    """Knows how to call the binary.

    What an argument does not say, the connection says; what that does not say either, the environment of the
    worker, as for everybody who runs the binary by hand.

    :param s3backup_conn_id: a connection of the type `s3backup`; `None` for none
    :param config: path of `backup.toml` on the worker; by default the connection's, else what the binary
        finds
    :param job: which job of the file; by default the connection's, else its only one
    """

    conn_name_attr = "s3backup_conn_id"
    default_conn_name = "s3backup_default"
    conn_type = "s3backup"
    hook_name = "s3backup"

    def __init__(
        self,
        s3backup_conn_id: str | None = default_conn_name,
        *,
        config: str | None = None,
        job: str | None = None,
    ) -> None:
        super().__init__()
        self.s3backup_conn_id = s3backup_conn_id
        self._config = config
        self._job = job

    @cached_property
    def _connection(self) -> Any:
        return self.get_connection(self.s3backup_conn_id) if self.s3backup_conn_id else None

    def _extra(self, field: str) -> str | None:
        value = self._connection.extra_dejson.get(field) if self._connection else None
        return str(value).strip() or None if value is not None else None

    @property
    def config(self) -> str | None:
        """Path of `backup.toml`; `None` leaves it to the binary to find it."""
        return self._config or self._extra("config")

    @property
    def job(self) -> str | None:
        """Which job of the file."""
        return self._job or self._extra("job")

    @property
    def status_url(self) -> str | None:
        """Address of the status page that people can open, if the connection has one."""
        url = self._extra("status_url")
        return url if url and urlsplit(url).scheme in ("http", "https") else None

    @property
    def slack_token(self) -> str | None:
        """The bot token of Slack, if the connection has one."""
        return self._extra("slack_token")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs the binary with these arguments. There is no secret in it.

        :raises AirflowFailException: there is no such binary on this machine
        """
        name = self._extra("binary") or "backup"
        path = shutil.which(name)
        if path is None:
            raise AirflowFailException(
                f"There is no program {name!r} on this worker. Install s3backup there, or put the path of "
                f"the binary into the connection {self.s3backup_conn_id!r}."
            )
        options = [
            *(["--config", self.config] if self.config else []),
            *(["--job", self.job] if self.job else []),
        ]
        return [os.path.abspath(path), *arguments, "--json", *options]  # noqa: PTH100

    def environment(self) -> dict[str, str]:
        """Return the whole environment of the binary: the worker's without Airflow's own, and the secrets."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_HARMLESS) or not name.startswith(_AIRFLOWS_OWN)
        }
        connection = self._connection
        ours = {
            "NO_COLOR": "1",
            "AWS_ACCESS_KEY_ID": connection and connection.login,
            "AWS_SECRET_ACCESS_KEY": connection and connection.password,
            "AWS_SESSION_TOKEN": self._extra("session_token"),
            "AWS_REGION": self._extra("region"),
            "AWS_ENDPOINT_URL": self._extra("endpoint"),
            "SLACK_BOT_TOKEN": self.slack_token,
        }
        if ours["AWS_ACCESS_KEY_ID"]:
            # A token of the worker's belongs to another key.
            inherited.pop("AWS_SESSION_TOKEN", None)
        return inherited | {name: value for name, value in ours.items() if value}

    def ask(self, *arguments: str, timeout_s: float = ASK_S) -> tuple[int, Any, str]:
        """Run a short command of the binary, which changes nothing.

        :return: its exit code, its document, its stderr
        :raises subprocess.TimeoutExpired: it took longer, and was ended
        """
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        try:
            document = json.loads(done.stdout)
        except ValueError:
            document = None
        return done.returncode, document, done.stderr.decode(errors="replace").strip()

    def test_connection(self) -> tuple[bool, str]:
        """Let `backup doctor` check everything that a run needs, on the machine that serves the button."""
        try:
            code, document, said = self.ask("doctor")
        except subprocess.TimeoutExpired:
            return False, f"backup doctor did not end within {ASK_S:.0f} s"
        except Exception as error:
            return False, str(error)
        checks = document.get("checks", []) if isinstance(document, dict) else []
        failed = [
            f"{check['name']}: {check['message']} ({check['mend']})"
            for check in checks
            if check["state"] == "fail"
        ]
        if code != 0:
            return False, "; ".join(failed) or said or f"backup doctor ended with exit code {code}"
        warnings = sum(check["state"] == "warn" for check in checks)
        return (
            True,
            f"backup doctor: all that a run needs is there ({len(checks)} checks, {warnings} warnings)",
        )

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow 2 shows the connection; Airflow 3 reads it in `provider_info`."""
        from airflow_provider_s3backup.provider_info import UI_FIELD_BEHAVIOUR

        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the connection for the form of Airflow 2."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import PasswordField, StringField

        from airflow_provider_s3backup.provider_info import CONN_FIELDS

        return {
            name: PasswordField(field["label"], widget=BS3PasswordFieldWidget())
            if field["schema"].get("format") == "password"
            else StringField(field["label"], widget=BS3TextFieldWidget())
            for name, field in CONN_FIELDS.items()
        }
