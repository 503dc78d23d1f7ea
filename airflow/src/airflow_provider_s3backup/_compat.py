"""The one place that knows where Airflow 3 and Airflow 2.10 keep the same thing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import (
        DAG,
        BaseHook,
        BaseNotifier,
        BaseOperator,
        BaseOperatorLink,
        BaseSensorOperator,
        CronTriggerTimetable,
    )
    from airflow.sdk.definitions.context import Context
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    def redact(text: str) -> str: ...
else:
    Context = dict[str, Any]
    try:
        from airflow.sdk import (
            DAG,
            BaseHook,
            BaseNotifier,
            BaseOperator,
            BaseOperatorLink,
            BaseSensorOperator,
            CronTriggerTimetable,
        )
    except ImportError:
        from airflow.hooks.base import BaseHook
        from airflow.models import BaseOperator
        from airflow.models.baseoperatorlink import BaseOperatorLink
        from airflow.models.dag import DAG
        from airflow.notifications.basenotifier import BaseNotifier
        from airflow.sensors.base import BaseSensorOperator
        from airflow.timetables.trigger import CronTriggerTimetable
    try:
        from airflow.sdk.exceptions import AirflowException, AirflowFailException
    except ImportError:
        from airflow.exceptions import AirflowException, AirflowFailException
    try:
        from airflow.sdk.log import redact
    except ImportError:
        from airflow.utils.log.secrets_masker import redact

__all__ = [
    "DAG",
    "AirflowException",
    "AirflowFailException",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Context",
    "CronTriggerTimetable",
    "is_supervised",
    "redact",
]


def is_supervised() -> bool:
    """Whether this is the process of a task that a supervisor of Airflow 3 has forked, as workers do.

    Its parent is then that supervisor. `dag.test()`, whose parent may be any shell, has a stand-in.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return type(getattr(runner, "SUPERVISOR_COMMS", None)).__name__ == "CommsDecoder"
