"""How this Airflow differs from a patient one: its DAGs are those that users copy, with shorter waits.

Airflow finds the file by its name, and applies it to each DAG and task that it parses.
"""

import json
import os
from datetime import timedelta
from pathlib import Path

POLICY = Path(os.environ["STACK"]) / "policy.json"


def task_policy(task) -> None:
    task.retry_delay = timedelta(seconds=2)
    task.max_retry_delay = timedelta(seconds=4)


def dag_policy(dag) -> None:
    """A scenario may set `dagrun_timeout_s`: `max_runtime` and 15 minutes more are long."""
    policy = json.loads(POLICY.read_text()) if POLICY.exists() else {}
    if dag.dag_id == policy.get("dag") and "dagrun_timeout_s" in policy:
        dag.dagrun_timeout = timedelta(seconds=policy["dagrun_timeout_s"])
