"""What operators and the sensor share: they run the binary, and stop it when Airflow stops them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_s3backup._compat import AirflowException
from airflow_provider_s3backup.hook import S3BackupHook
from airflow_provider_s3backup.process import BackupProcess, Finished


class RunsBinary:
    """A task that runs the binary, one at a time."""

    if TYPE_CHECKING:

        @property
        def log(self) -> Any:
            """Of the operator that this is mixed into."""

        s3backup_conn_id: str | None
        config: str | None
        job: str | None

    _process: BackupProcess | None = None
    _is_killed = False

    @property
    def hook(self) -> S3BackupHook:
        """What knows the binary, its configuration and its secrets."""
        return S3BackupHook(self.s3backup_conn_id, config=self.config, job=self.job)

    def run_binary(
        self, *arguments: str, when_finished: Callable[[Finished], None] = lambda _: None
    ) -> Finished:
        """Run the binary to its end.

        :param when_finished: called with the end before anything is raised, a timeout of the task included
        """
        hook = self.hook
        command, environment = hook.command(*arguments), hook.environment()
        if self._is_killed:
            raise AirflowException("The task was stopped before the backup began.")
        self.log.info("Running: %s", " ".join(command))
        process = self._process = BackupProcess(command, environment, self.log)
        try:
            if self._is_killed:
                process.terminate()
            finished = process.wait()
        except BaseException:
            process.terminate()
            when_finished(process.wait())
            raise
        when_finished(finished)
        return finished

    def on_kill(self) -> None:
        """Stop the binary, and return when it has ended: within 4 s, before Airflow kills this process.

        Airflow calls it in a signal handler, in the middle of `run_binary`, which then goes on and fails the
        task.
        """
        self._is_killed = True
        if self._process is not None:
            self._process.terminate()


def keep(context: Any, key: str, value: dict[str, Any], log: Any) -> None:
    """Put a document into XCom now: what a task returns is lost when it fails.

    That it cannot be put there, as of a task that somebody marked as failed, changes nothing.
    """
    try:
        context["ti"].xcom_push(key=key, value=value)
    except Exception as error:
        log.warning("Cannot put %s into XCom: %s", key, error)
