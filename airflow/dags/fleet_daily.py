"""The fleet, every day: analyses the trips of the day before, and backs them up with the results.

Copy this file into Airflow's DAG folder, and `fleet/backup.toml` into the folder of the fleet, in which all
commands run: it has the trips in `data`, and perhaps a `fleet.toml`. `BACKUP_CONFIG` names that `backup.toml`
to all components. Without Airflow, `backup run` with the same file does the same, by its `[[step]]`s.

| environment variable of all components | default | |
| --- | --- | --- |
| `FLEET_PARTS` | 1 | a task for each step; of more, a task for each part of the fleet, on any worker |
| `S3BACKUP_PLAN_QUEUE` | Airflow's default | the queue of the machine with the catalog of the job: `upload` |
| `S3BACKUP_SHARD_QUEUE` | Airflow's default | the queue of the workers; all see the folder at the same path |
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from airflow_provider_s3backup.dag import BackupDag, backup_dag_arguments
from airflow_provider_s3backup.operators import S3BackupOperator
from airflow_provider_s3backup.settings import Settings

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import Param
except ImportError:
    from airflow.models.param import Param
    from airflow.operators.bash import BashOperator

CONN_ID = "s3backup_default"

#: None needs what another made: each reads the trips by itself.
STEPS = ("clean", "overspeed", "rapid", "statistics", "errors")
PARTS = int(os.environ.get("FLEET_PARTS", "1"))

DOC = """
### What it does
Each step reads the trips of the day before the run and writes its tables, all at once. `upload` then sends
trips and results, and tells Slack, with the figures of the day. With `FLEET_PARTS` each `part` has some of
the vehicles, and `merge` puts them together.

### It failed: what now?
1. **A step is red**: it was tried again and failed for good. Nothing was uploaded. Mend what the last lines
   of its log say, then **clear it**: `upload` follows by itself. A trip that cannot be read is no such
   failure: it is named in the table of errors.
2. **`upload` is red**: as of `s3_upload`: its log and Slack say what happened and what to do. Clear it alone.

### Another day
`airflow dags trigger fleet_daily --logical-date 2026-11-24T00:20:00+09:00` analyses the 23rd, once more if it
was done before: the results are the same, and what did not change is not sent again. `airflow backfill
create` does it for many days. The upload needs no other day: it sends all that is not in the bucket yet.
"""

settings = Settings.read()
folder = Path(settings.path or "backup.toml").absolute().parent
DAY = "{{ day_of(dag_run) }}"
FACTS = f"{folder}/results/facts-{DAY}.txt"


def day_of(dag_run: Any) -> str:
    """Return the day of a run, as `backup run` tells it to its steps."""
    at = dag_run.logical_date or dag_run.run_after
    return at.astimezone(ZoneInfo(settings.timezone)).date().isoformat()


def placed(name: str) -> dict[str, str]:
    """Leave the queue out that the environment does not name."""
    return {"queue": os.environ[name]} if os.environ.get(name) else {}


with BackupDag(
    dag_id="fleet_daily",
    description="Analyses the trips of the fleet, and backs them up with the results",
    doc_md=DOC,
    tags=["fleet", "s3_upload"],
    params={"force": Param(False, type="boolean", description="Go on where the guard would stop")},
    user_defined_macros={"day_of": day_of},
    **backup_dag_arguments(settings, CONN_ID),
) as dag:
    fleet: dict[str, Any] = {
        "cwd": str(folder),
        "env": {"BACKUP_DAY": DAY, "BACKUP_FACTS": FACTS},
        "append_env": True,
        "execution_timeout": timedelta(minutes=30),
        **placed("S3BACKUP_SHARD_QUEUE"),
    }
    upload = S3BackupOperator(
        task_id="upload",
        config=settings.path,
        job=settings.job_of_many,
        steps=False,  # They are the tasks before this one.
        facts=FACTS,
        force="{{ params.force }}",
        **placed("S3BACKUP_PLAN_QUEUE"),
    )
    if PARTS > 1:
        commands = [f"fleet run --no-upload --part {part}/{PARTS}" for part in range(1, PARTS + 1)]
        name = "{{ task.bash_command.split()[-1] }}"
        parts = BashOperator.partial(task_id="part", map_index_template=name, **fleet)
        merge = BashOperator(task_id="merge", bash_command=f"fleet run --no-upload --merge {PARTS}", **fleet)
        parts.expand(bash_command=commands) >> merge >> upload
    else:
        [BashOperator(task_id=step, bash_command=f"fleet {step}", **fleet) for step in STEPS] >> upload

if __name__ == "__main__":
    # `python fleet_daily.py` runs it here and now; with arguments it is `airflow`, of this DAG.
    sys.exit(dag.cli() if sys.argv[1:] else dag.test().state != "success")
