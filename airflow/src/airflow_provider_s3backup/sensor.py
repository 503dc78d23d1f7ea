"""The sensor: whether backups are well, seen from the bucket alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_s3backup._compat import BaseSensorOperator, Context
from airflow_provider_s3backup.hook import S3BackupHook
from airflow_provider_s3backup.links import S3BackupStatusLink
from airflow_provider_s3backup.outcome import DIFFERS, LOCKED, raise_unless_done
from airflow_provider_s3backup.runs_binary import RunsBinary


class S3BackupMonitorSensor(RunsBinary, BaseSensorOperator):
    """Waits until every backup in the bucket is well: `backup monitor`.

    The binary also tells people, once, of each that is not.

    :param jobs: wait for these alone, each `JOB@HOST`; one that was never seen is not well. By default for
        all
    :param s3backup_conn_id: a connection of the type `s3backup`; `None` for none
    :param config: path of `backup.toml` on the worker, in place of the connection's
    :param job: which job of the file, in place of the connection's
    :param mode: `reschedule`, so that no slot is held while waiting
    """

    template_fields: Sequence[str] = ("s3backup_conn_id", "config", "job", "jobs")
    operator_extra_links = (S3BackupStatusLink(),)
    ui_color = "#e4f0e8"

    def __init__(
        self,
        *,
        jobs: Sequence[str] = (),
        s3backup_conn_id: str | None = S3BackupHook.default_conn_name,
        config: str | None = None,
        job: str | None = None,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, **kwargs)
        self.jobs = jobs
        self.s3backup_conn_id = s3backup_conn_id
        self.config = config
        self.job = job

    def poke(self, context: Context) -> bool:  # noqa: ARG002
        """Look once.

        :raises AirflowFailException: the configuration is wrong
        :raises AirflowException: the bucket cannot be read
        """
        expected = [argument for job in self.jobs for argument in ("--expect", job)]
        finished = self.run_binary("monitor", *expected)
        if finished.exit_code == LOCKED and not finished.was_terminated:
            return False
        if finished.exit_code != DIFFERS or finished.was_terminated:
            raise_unless_done(finished)
            return True
        unwell = list(findings(finished.document, self.jobs))
        for finding in unwell:
            self.log.warning("%s", finding)
        return bool(self.jobs) and isinstance(finished.document, dict) and not unwell


def findings(document: Any, jobs: Sequence[str]) -> Iterator[str]:
    """Yield a line for each thing that `backup monitor` found: of all jobs, or of some and of their place."""
    for place in document.get("destinations", []) if isinstance(document, dict) else []:
        where = place.get("destination")
        if place.get("error"):
            yield f"{where}: {place['error']}"
        for finding in place.get("findings", []):
            yield _line(where, finding)
        for watched in place.get("watched", []):
            name = f"{watched.get('job')}@{watched.get('host')}"
            if not jobs or name in jobs:
                yield from (_line(name, finding) for finding in watched.get("findings", []))


def _line(of: str, finding: dict[str, Any]) -> str:
    return f"{of}: {finding.get('kind')}: {finding.get('what')} {finding.get('mend') or ''}".rstrip()
