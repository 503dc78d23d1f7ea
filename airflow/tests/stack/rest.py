"""Airflow's REST API, as far as the scenarios need it."""

import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from urllib.parse import quote

from world import World

ENDED = ("success", "failed")


class Airflow:
    def __init__(self, world: World) -> None:
        self.api = f"{world.api}/api/v2"

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            f"{self.api}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def parsed_at(self, dag: str) -> datetime:
        """When the DAG was last read from its file, at the beginning of time if never."""
        try:
            return datetime.fromisoformat(self.ask("GET", f"dags/{dag}")["last_parsed_time"])
        except RuntimeError:
            return datetime.min.replace(tzinfo=UTC)

    def import_errors(self) -> list[str]:
        return [error["stack_trace"] for error in self.ask("GET", "importErrors")["import_errors"]]

    def switch(self, dag: str, *, on: bool) -> None:
        self.ask("PATCH", f"dags/{dag}", {"is_paused": not on})

    def runs(self, dag: str) -> list[str]:
        """The newest first."""
        found = self.ask("GET", f"dags/{dag}/dagRuns?order_by=-run_after&limit=20")["dag_runs"]
        return [run["dag_run_id"] for run in found]

    def trigger(self, dag: str, run: str, conf: dict | None = None) -> None:
        """Starts a run by hand."""
        self.ask("POST", f"dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None, "conf": conf or {}})

    def state(self, dag: str, run: str) -> str:
        return self.ask("GET", f"dags/{dag}/dagRuns/{quote(run)}")["state"]

    def wait(self, dag: str, run: str, limit: float = 300) -> str:
        """The state in which a run ended."""
        ends = time.monotonic() + limit
        while (state := self.state(dag, run)) not in ENDED:
            if time.monotonic() > ends:
                raise TimeoutError(f"{dag} {run} is {state} after {limit:.0f} s: {self.tasks(dag, run)}")
            time.sleep(1)
        return state

    def tasks(self, dag: str, run: str) -> list[dict]:
        return self.ask("GET", f"dags/{dag}/dagRuns/{quote(run)}/taskInstances?limit=200")["task_instances"]

    def tries(self, dag: str, run: str, task: dict) -> list[dict]:
        path = f"dags/{dag}/dagRuns/{quote(run)}/taskInstances/{task['task_id']}"
        indexed = "" if task["map_index"] < 0 else f"/{task['map_index']}"
        return self.ask("GET", f"{path}{indexed}/tries")["task_instances"]

    def mark_failed(self, dag: str, run: str, task: str) -> None:
        """What the UI's "Mark state as failed" asks for."""
        self.ask("PATCH", f"dags/{dag}/dagRuns/{quote(run)}/taskInstances/{task}", {"new_state": "failed"})

    def clear(self, dag: str, run: str, task: str) -> None:
        """What the UI's "Clear" asks for: the task runs again."""
        body = {
            "dry_run": False,
            "dag_run_id": run,
            "task_ids": [task],
            "only_failed": False,
            "include_downstream": True,
        }
        self.ask("POST", f"dags/{dag}/clearTaskInstances", body)

    def table(self, dag: str, run: str) -> str:
        """A line a task: which, where, how often, how long."""
        rows = sorted(self.tasks(dag, run), key=lambda task: (task["start_date"] or "~", task["map_index"]))
        return "\n".join(
            f"    {row['task_id']:<8} [{row['map_index']:>2}] {row['state'] or '-':<16}"
            f" try {row['try_number']} on {row['hostname'] or '-':<9} {row['duration'] or 0:6.1f} s"
            for row in rows
        )
