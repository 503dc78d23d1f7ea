"""How this installation of Airflow differs from a patient one: the DAGs are those that users copy, with shorter waits.

Airflow reads the file by its name, and applies it to each DAG and task that it parses.
"""

import json
import os
from datetime import timedelta
from pathlib import Path

POLICY = Path(os.environ["S3BACKUP_STACK"]) / "policy.json"


def task_policy(task) -> None:
    task.retry_delay = timedelta(seconds=2)
    task.max_retry_delay = timedelta(seconds=4)


def dag_policy(dag) -> None:
    """A scenario may set `dagrun_timeout_s`, as nobody wants to wait for `max_runtime` and 15 minutes more."""
    policy = json.loads(POLICY.read_text()) if POLICY.exists() else {}
    if dag.dag_id == policy.get("dag") and "dagrun_timeout_s" in policy:
        dag.dagrun_timeout = timedelta(seconds=policy["dagrun_timeout_s"])
