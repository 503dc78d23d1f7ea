"""What must hold on a whole Airflow, each as a function that raises when it does not."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import daemons
import slack
from bucket import Bucket
from rest import Airflow
from world import BUCKET, World

FILES = 50_000
SHARDS = 8


class Job:
    """A job of its own for a scenario: its files, its configuration, its place in the bucket."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        # A run of the scenario before this one has left nothing that this one could find.
        self.prefix = f"{name}-{datetime.now(UTC):%H%M%S}"
        self.folder = world.folder / "job" / self.prefix
        self.source = daemons.made(self.folder / "data")
        self.bucket = Bucket(world)
        self.airflow = Airflow(world)
        self.slack = world.folder / "slack.jsonl"
        self.slack.unlink(missing_ok=True)

    @property
    def control(self) -> str:
        return f"{self.prefix}/.s3backup/{self.name}/stack/"

    def configure(self, transfer: str = "", schedule: str = 'cron = "0 20 * * *"', on: list[str] | None = None) -> None:
        """Writes backup.toml, which the DAGs read when they are parsed and the workers when they run."""
        text = f"""
job = "{self.name}"
host = "stack"
timezone = "Asia/Seoul"
state_dir = "{self.folder}/state"

[[source]]
path = "{self.source}"
min_age = "0s"

[destination]
bucket = "{BUCKET}"
prefix = "{self.prefix}"
region = "us-east-1"
endpoint = "{self.world.s3}"

[transfer]
{transfer}

[schedule]
{schedule}

[slack]
channel = "#stack"
token_env = "SLACK_BOT_TOKEN"
api_url = "http://127.0.0.1:{self.world.ports['slack']}/api"
on = {json.dumps(on or ["failed", "partial", "late", "long_running", "success", "recovered"])}

[logging]
dir = "{self.folder}/log"
"""
        new = self.world.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.world.config)

    def report(self) -> dict:
        """The newest run report in the bucket."""
        return self.bucket.reports(self.control)[-1]

    def told(self) -> list[str]:
        """The first line of each message that is new in the channel."""
        return [message.get("text", "") for message in slack.messages(self.slack)]

    def wait_until_parsed(self, dag: str) -> None:
        daemons.wait_for(f"DAG {dag}", lambda: self.airflow.has_dag(dag))
        check(not self.airflow.import_errors(), f"no import error: {self.airflow.import_errors()}")


def check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)
    print(f"    ok: {what}", flush=True)


def fill(folder: Path, files: int, size: int) -> None:
    """Files in folders of 500, no two the same."""
    for number in range(files):
        if number % 500 == 0:
            place = daemons.made(folder / f"vehicle-{number // 500:03}")
        line = f"{number:07} ".encode()
        (place / f"trip-{number:06}.json").write_bytes((line * (size // len(line) + 1))[:size])
