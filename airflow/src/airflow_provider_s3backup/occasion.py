"""What a callback is about: the few facts that it needs of the contexts that Airflow may give it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from airflow_provider_s3backup.operators import REPORT_KEY

#: What a callback tells of.
Event = Literal["failure", "success", "late"]

_TITLES = {
    "failure": ":red_circle: The backup failed in Airflow",
    "success": ":warning: A backup is marked as a success, and no run of it is known",
    "late": ":red_circle: The backup is late",
}
_MENDS = {
    "failure": "The backup itself could not tell of it. Look at the log of the task; `backup history` on the "
    "worker says what it has recorded. Clear the task to try again: it goes on where it was.",
    "success": "Nothing may have been uploaded: somebody may have marked the task by hand. Clear the task to "
    "run it.",
    "late": "Are scheduler and workers alive? Does the task wait for a slot, or in a queue without workers?",
}
_LONGEST_REASON = 500


@dataclass(frozen=True)
class Occasion:
    """One event of a DAG run, or of one of its tasks."""

    event: Event
    dag_id: str
    run_id: str
    #: `None` when it is about the whole DAG run.
    task_id: str | None = None
    map_index: int = -1
    try_number: int = 0
    #: When the try of the task began, and when the DAG run did.
    started_at: datetime | None = None
    run_started_at: datetime | None = None
    reason: str | None = None
    log_url: str | None = None

    @classmethod
    def of(cls, event: Event, context: Mapping[str, Any]) -> Occasion:
        """Read a context, in which anything may be missing."""
        ti, run, dag = context.get("ti"), context.get("dag_run"), context.get("dag")
        # Only the callbacks of a DAG are given a reason. Its `ti` is one of its tasks, often the last.
        is_of_dag = ti is None or "reason" in context or event == "late"
        reason = context.get("exception") or context.get("reason")
        return cls(
            event=event,
            dag_id=_first("dag_id", ti, run, dag) or "unknown",
            run_id=context.get("run_id")
            or _first("run_id", ti, run)
            or _first("dag_run_id", run)
            or "unknown",
            task_id=None if is_of_dag else _first("task_id", ti),
            map_index=-1 if is_of_dag else _first("map_index", ti, default=-1),
            try_number=_first("try_number", ti) or 0,
            started_at=_first("start_date", ti, run),
            run_started_at=_first("start_date", run, ti),
            reason=_one_line(str(reason)) if reason else None,
            log_url=_first("log_url", ti),
        )

    @property
    def may_go_on(self) -> bool:
        """Whether tasks may still work: a DAG run has failed, perhaps ended by somebody or a limit."""
        return self.event == "failure" and self.task_id is None

    @property
    def key(self) -> tuple[object, ...]:
        """What is the same in all calls of a callback for the same event."""
        return self.event, self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number

    def text(self) -> str:
        """Return the message: what happened, to what, why, what to do now."""
        where = f"DAG `{_escaped(self.dag_id)}`, run `{_escaped(self.run_id)}`"
        if self.task_id:
            index = f" [{self.map_index}]" if self.map_index >= 0 else ""
            where += f", task `{_escaped(self.task_id)}{index}`, try {self.try_number}"
        lines = [f"*{_TITLES[self.event]}*", where]
        if self.reason:
            lines.append(f"Why: {_escaped(self.reason)}")
        lines.append(_MENDS[self.event])
        if self.log_url:
            lines.append(f"<{_escaped(self.log_url)}|Log of the task>")
        return "\n".join(lines)


def reports(occasion: Occasion, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the reports that the tasks of this occasion left in XCom.

    :raises Exception: XCom cannot be reached from here, as in `dag.test()`
    """
    ti = context["ti"]
    task_ids = [occasion.task_id] if occasion.task_id else _task_ids(occasion, context["dag"])
    # Without an index Airflow returns the report of each instance of a mapped task.
    of = {"map_indexes": occasion.map_index} if occasion.task_id else {}
    found = []
    for task_id in task_ids:
        pulled = ti.xcom_pull(task_ids=task_id, key=REPORT_KEY, **of)
        found += [pulled] if isinstance(pulled, Mapping) else list(pulled or [])
    return [dict(report) for report in found if isinstance(report, Mapping)]


def _task_ids(occasion: Occasion, dag: Any) -> list[str]:
    # A DAG run that went well is one whose last tasks did: shards alone are no backup.
    return [task.task_id for task in (dag.leaves if occasion.event == "success" else dag.tasks)]


def _first(name: str, *holders: Any, default: Any = None) -> Any:
    """Return the first value of this name: objects in most places, a mapping in a deadline."""
    for holder in holders:
        value = holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
        if value is not None:
            return value
    return default


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[:_LONGEST_REASON] + "…"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
