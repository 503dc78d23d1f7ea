"""The daily backup. Copy this file into Airflow's DAG folder, and set the connection `s3backup_default`.

When it runs, for how long and whom it tells is said in `backup.toml` alone: `[schedule]`, `timezone`,
`[slack]`. For 00:20 write `cron = "20 0 * * *"` there.
"""

import sys

from airflow_provider_s3backup.dag import BackupDag, backup_dag_arguments
from airflow_provider_s3backup.operators import S3BackupOperator
from airflow_provider_s3backup.settings import Settings

try:
    from airflow.sdk import Param
except ImportError:
    from airflow.models.param import Param

CONN_ID = "s3backup_default"

DOC = """
### What it does
Sends every file that is not in the bucket yet, whatever its date, proves that it arrived, and tells Slack.
The task's XCom `s3backup_report` has the report: counts, and the first failed files.

### It failed: what now?
1. **Read the last lines of the task's log.** The message says what happened, to what, and what to do. Slack
   has the same.
2. *Some files are not in the bucket*: they are named. Mend them (rights, disk), then **clear the task**. Only
   what is missing is sent.
3. *Wrong configuration*: no other try helps. On the worker: `backup doctor` names the fault and the mend.
   Then clear the task.
4. *Another run of this job is going on*: it is tried again later. `backup status` on the worker says which
   one it is.
5. *More files changed at once than [guard] allows*, or *a source is suddenly empty*: **look at the source
   first**, this is what ransomware and a disk that is not mounted look like. If it is right, trigger the DAG
   by hand with `force`.
6. *The backup was stopped*, or the worker died: clear the task. It goes on where it was.

Nothing is lost by waiting until the morning: the next run makes up for all days that were missed. Never mark
the task as a success to make it green: nothing is uploaded by that.

### May I start it again, or stop it?
Both, at any time. A run beside another one is tried again later, and nothing is sent twice. "Mark as failed"
ends it within 4 s, and the next one goes on where it was.
"""

settings = Settings.read()

with BackupDag(
    dag_id="s3_upload",
    description="Backs up to S3 what is not there yet",
    doc_md=DOC,
    tags=["s3_upload"],
    params={"force": Param(False, type="boolean", description="Go on where the guard would stop")},
    **backup_dag_arguments(settings, CONN_ID),
) as dag:
    S3BackupOperator(
        task_id="upload", config=settings.path, job=settings.job_of_many, force="{{ params.force }}"
    )

if __name__ == "__main__":
    # `python s3_upload.py` runs it here and now; with arguments it is `airflow`, of this DAG.
    sys.exit(dag.cli() if sys.argv[1:] else dag.test().state != "success")
