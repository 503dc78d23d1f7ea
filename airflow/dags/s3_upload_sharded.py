"""The daily backup, spread over many workers. Copy this file in place of `s3_upload.py`.

Every worker sees the sources at the same paths and has the same `backup.toml`. What makes the plan must
always be the same machine, which has the catalog of the job: give it a queue of its own.

| environment variable of all components | default | |
| --- | --- | --- |
| `S3BACKUP_SHARDS` | 8 | into how many parts a run is divided; also asked when the DAG is triggered by hand |
| `S3BACKUP_PLAN_QUEUE` | Airflow's default | the queue of the machine with the catalog |
| `S3BACKUP_SHARD_QUEUE` | Airflow's default | the queue of the workers |
| `S3BACKUP_SHARD_POOL` | `default_pool` | limits how many shards run at once |
"""

import os
import sys

from airflow_provider_s3backup.dag import BackupDag, backup_dag_arguments
from airflow_provider_s3backup.operators import (
    S3BackupCommitOperator,
    S3BackupPlanOperator,
    S3BackupShardOperator,
    S3BackupStepsOperator,
)
from airflow_provider_s3backup.settings import Settings

try:
    from airflow.sdk import Param
except ImportError:
    from airflow.models.param import Param

CONN_ID = "s3backup_default"


def placed(**places: str | None) -> dict[str, str]:
    """Leave out what the environment does not say."""
    return {name: value for name, value in places.items() if value}


ON_OWNER = placed(queue=os.environ.get("S3BACKUP_PLAN_QUEUE"))
ON_WORKERS = placed(queue=os.environ.get("S3BACKUP_SHARD_QUEUE"), pool=os.environ.get("S3BACKUP_SHARD_POOL"))

DOC = """
### What it does
`steps` makes the data, `plan` divides what is to be sent into shards, `shard` sends each on any worker,
`commit` puts them together: one report (XCom `s3backup_report` of `commit`), one Slack message. **`commit` is
green only if all is in the bucket.**

### It failed: what now?
1. **`shard` is red**: it was tried again and failed for good. `commit` names what is missing. Mend what its
   log says, then **clear the red shards and `commit`**. Shards that are green are not run again.
2. **`commit` is red, all shards are green**: its log says why. Clear it alone.
3. **`plan` or `steps` is red**: as of `s3_upload`: the log says what happened and what to do. Nothing was
   sent. Clear it.
4. **`plan`: another plan holds the lease**: a run before this one was not ended. Clear the `commit` of that
   run, or give it up: `backup commit RUN-ID --abandon` with the id that the log names. It also ends by itself
   when it expires.

Nothing is lost by waiting until the morning: the next run makes up for all days that were missed. Never mark
a task as a success to make it green.
"""

settings = Settings.read()

with BackupDag(
    dag_id="s3_upload_sharded",
    description="Backs up to S3 what is not there yet, on many workers",
    doc_md=DOC,
    tags=["s3_upload"],
    params={
        "shards": Param(int(os.environ.get("S3BACKUP_SHARDS", "8")), type="integer", minimum=1, maximum=1024),
        "force": Param(False, type="boolean", description="Go on where the guard would stop"),
    },
    **backup_dag_arguments(settings, CONN_ID),
) as dag:
    job = {"config": settings.path, "job": settings.job_of_many}
    steps = S3BackupStepsOperator(task_id="steps", **job, **ON_OWNER)
    plan = S3BackupPlanOperator(
        task_id="plan",
        shards="{{ params.shards }}",
        expires=f"{int(settings.max_runtime.total_seconds())}s",
        force="{{ params.force }}",
        **job,
        **ON_OWNER,
    )
    shards = S3BackupShardOperator.partial(task_id="shard", **job, **ON_WORKERS).expand(uri=plan.output)
    commit = S3BackupCommitOperator(
        task_id="commit",
        plan="{{ (ti.xcom_pull(task_ids='plan', key='s3backup_plan') or {}).get('plan', '') }}",
        # When shards failed for good it refuses, and tells so; that there is no plan was told already.
        trigger_rule="all_done_min_one_success",
        **job,
    )
    steps >> plan >> shards >> commit
    plan >> commit

if __name__ == "__main__":
    # `python s3_upload_sharded.py` runs it here and now; with arguments it is `airflow`, of this DAG.
    sys.exit(dag.cli() if sys.argv[1:] else dag.test().state != "success")
