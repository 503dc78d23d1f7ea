"""A configuration, a source with files, and DAGs that run in this process with the built binary."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

from conftest import DAGS

from airflow_provider_s3backup import dag

CONFIG = """
job = "telemetry"
host = "gw-1"
timezone = "Asia/Seoul"
state_dir = "state"
[[source]]
path = "data"
min_age = "0s"
[destination]
bucket = "fleet"
prefix = "trips"
endpoint = "embedded:bucket"
[schedule]
cron = "20 0 * * *"
max_runtime = "2h"
[slack]
channel = "#backup"
token_env = "SLACK_BOT_TOKEN"
api_url = "{slack}"
"""


class World:
    """A configuration, a source with files, and DAGs that are made for it."""

    def __init__(self, folder: Path, slack, monkeypatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        self.data = folder / "data"
        for number in range(20):
            file = self.data / f"vehicle-{number % 3}" / f"{number}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"trip {number}\n" * number)
        self.config = folder / "backup.toml"
        self.config.write_text(CONFIG.format(slack=slack.url))
        monkeypatch.setenv("BACKUP_CONFIG", str(self.config))
        monkeypatch.setattr(dag, "RETRIES", 0)
        monkeypatch.setattr(dag, "RETRY_DELAY", timedelta(0))

    def retry_once(self) -> None:
        self._monkeypatch.setattr(dag, "RETRIES", 1)

    def bag(self):
        from airflow.dag_processing.dagbag import DagBag

        return DagBag(str(DAGS))

    def run(self, name: str, at: datetime | None = None, **conf):
        """Run a DAG here; return the state of the run, and that of each task with the number of its tries."""
        run = self.bag().dags[name].test(logical_date=at, run_conf=conf or None)
        tasks = {
            (ti.task_id, ti.map_index): (str(ti.state), ti.try_number) for ti in run.get_task_instances()
        }
        self.run_id = run.run_id
        return str(run.state), tasks

    def xcom(self, task_id: str, key: str):
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        with create_session() as session:
            rows = session.query(XComModel).filter_by(run_id=self.run_id, task_id=task_id, key=key).all()
            return XComModel.deserialize_value(rows[0]) if rows else None

    def is_backed_up(self) -> bool:
        """Bring everything back from the bucket, and compare it with the source."""
        to = self.folder / "restored"
        command = [binary(), "--config", self.config, "restore", "--to", to]
        subprocess.run(
            command, check=True, env=os.environ | {"SLACK_BOT_TOKEN": "xoxb-1"}, capture_output=True
        )
        return tree(to) == tree(self.data) != {}


def tree(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def binary() -> str:
    path = os.environ.get("S3BACKUP_TEST_BINARY")
    assert path, "set S3BACKUP_TEST_BINARY to a built `backup`"
    return str(Path(path).resolve())
