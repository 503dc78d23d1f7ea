"""The dead-man's switch: looks every hour whether each backup in the bucket is well.

It says so in Slack once of each trouble, and is red as long as there is one. Best run by another Airflow than
the one that backs up: when that is down, this one tells.
"""

import sys
from datetime import datetime, timedelta, timezone

from airflow_provider_s3backup.sensor import S3BackupMonitorSensor
from airflow_provider_s3backup.settings import Settings

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow.models.dag import DAG

CONN_ID = "s3backup_default"
#: What must be there, each `JOB@HOST`, even if it was never seen. Empty: whatever is in the bucket.
JOBS: list[str] = []

DOC = """
### It is red: what now?
A backup in the bucket is late, failed, runs too long, or cannot tell anybody. **The task's log names it and
the mend**, and Slack has been told. It becomes green by itself when that backup is well again. A machine that
is gone for good is taken out by `backup monitor --retire JOB/HOST`.

Red with *cannot be read*: nothing is known of any backup. Mend the credentials or the network of the worker
first.
"""

settings = Settings.read()

with DAG(
    dag_id="s3_upload_monitor",
    description="Looks whether every backup in the bucket is well",
    doc_md=DOC,
    tags=["s3_upload"],
    # At another minute than any backup is likely to begin.
    schedule="37 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=50),
) as dag:
    S3BackupMonitorSensor(
        task_id="monitor",
        s3backup_conn_id=CONN_ID,
        config=settings.path,
        job=settings.job_of_many,
        jobs=JOBS,
        poke_interval=timedelta(minutes=5),
        timeout=timedelta(minutes=20),
        retries=2,
        retry_delay=timedelta(minutes=2),
    )

if __name__ == "__main__":
    # `python s3_upload_monitor.py` runs it here and now; with arguments it is `airflow`, of this DAG.
    sys.exit(dag.cli() if sys.argv[1:] else dag.test().state != "success")
