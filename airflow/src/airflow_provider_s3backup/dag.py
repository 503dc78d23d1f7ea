"""What the DAGs that back up have in common: when, for how long, how often again, and whom they tell."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_s3backup._compat import DAG, CronTriggerTimetable
from airflow_provider_s3backup.notifier import S3BackupSlackNotifier
from airflow_provider_s3backup.settings import Settings

#: How much longer than the backup's own limit a DAG run may take, so that Airflow never ends it first.
MARGIN = timedelta(minutes=15)
RETRIES = 3
#: Before the first retry; doubled before each further one, up to an hour.
RETRY_DELAY = timedelta(minutes=5)


class BackupDag(DAG):
    """A DAG that has a deadline, and that `dag.test()` can run nevertheless."""

    def test(self, *args: Any, **kwargs: Any) -> Any:
        """Run it in this process, without its deadline.

        With one, Airflow 3.3 fails at the end of every run that went well: it looks for the deadline in its
        database, where a test puts none.
        """
        deadline, self.deadline = getattr(self, "deadline", None), None
        try:
            return super().test(*args, **kwargs)
        finally:
            self.deadline = deadline


def backup_dag_arguments(settings: Settings, conn_id: str) -> dict[str, Any]:
    """Return the arguments of a DAG that backs up.

    :param settings: of the job
    :param conn_id: a connection of the type `s3backup`
    """
    return {
        "schedule": CronTriggerTimetable(settings.cron, timezone=settings.timezone),
        "start_date": datetime(2025, 1, 1, tzinfo=timezone.utc),
        # The catalog catches up by itself: one run makes up for all days that were missed.
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": settings.max_runtime + MARGIN,
        "default_args": {
            "owner": "s3backup",
            "s3backup_conn_id": conn_id,
            "retries": RETRIES,
            "retry_delay": RETRY_DELAY,
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(hours=1),
        },
        **_callbacks(settings, conn_id),
    }


def _callbacks(settings: Settings, conn_id: str) -> dict[str, Any]:
    """Return the callbacks of a DAG that backs up. There are none where the binary is told of nobody either.

    They are the DAG's, not the tasks': those alone are also called for a run that took too long, and once for
    many tasks.
    """
    if settings.slack is None:
        return {}
    common = settings.notifier_arguments(conn_id) | {
        "s3backup_conn_id": conn_id,
        "config": settings.path,
        "job": settings.job_of_many,
    }
    return {
        "on_failure_callback": S3BackupSlackNotifier(**common),
        "on_success_callback": S3BackupSlackNotifier(**common, event="success"),
        **_deadline(settings.deadline, {**common, "event": "late"}),
    }


def _deadline(after: timedelta, notifier: dict[str, Any]) -> dict[str, Any]:
    try:
        from airflow.sdk import (  # type: ignore[attr-defined]  # They are there, and not in its stubs.
            AsyncCallback,
            DeadlineAlert,
            DeadlineReference,
        )
    except ImportError:  # Before Airflow 3.1 nothing is told of what is late but by `backup monitor`.
        return {}
    return {
        "deadline": DeadlineAlert(
            # Not since it was queued: with that, Airflow 3.3 can clear nothing of the DAG
            # (apache/airflow#70368). A run by hand has no logical date, and nobody waits for it.
            reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
            interval=after,
            # In the triggerer, as the workers may be what is missing.
            callback=AsyncCallback(S3BackupSlackNotifier, kwargs=notifier),
        )
    }
