"""A job for a scenario: its files, its configuration, its place in the bucket, and what became of it."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import daemons
import slack
from bucket import Bucket
from rest import Airflow
from world import BUCKET, World

SETTLED = 20  # seconds after a DAG run has ended until its callbacks have, too


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

    def configure(
        self, transfer: str = "", schedule: str = 'cron = "0 20 * * *"', on: list[str] | None = None
    ) -> None:
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
api_url = "http://127.0.0.1:{self.world.ports["slack"]}/api"
on = {json.dumps(on or ["failed", "partial", "late", "long_running", "success", "recovered"])}

[logging]
dir = "{self.folder}/log"
"""
        new = self.world.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.world.config)
        self.configured_at = datetime.now(UTC)

    def report(self) -> dict:
        """The newest run report in the bucket."""
        return self.bucket.reports(self.control)[-1]

    def told(self) -> list[str]:
        """The first line of each message that is new in the channel."""
        return [message.get("text", "") for message in slack.messages(self.slack)]

    def start(self) -> None:
        """Triggers `s3_upload`, and returns when the binary works."""
        self.wait_until_parsed("s3_upload")
        self.airflow.trigger("s3_upload", self.prefix)
        daemons.wait_for("the binary", lambda: bool(self.bucket.objects(f"{self.control}latest.json")))

    def run(self) -> str:
        """Triggers `s3_upload`, and returns the state in which it ended."""
        self.wait_until_parsed("s3_upload")
        self.airflow.trigger("s3_upload", self.prefix)
        state = self.airflow.wait("s3_upload", self.prefix)
        print(self.airflow.table("s3_upload", self.prefix))
        return state

    def is_told_once(self, word: str) -> None:
        """Nothing else comes once all callbacks are done, and the one message has this word."""
        time.sleep(SETTLED)
        told = self.told()
        check(len(told) == 1 and word in told[0], f"people were told once: {told}")

    def wait_until_parsed(self, dag: str) -> None:
        """Until Airflow has read the DAG with this configuration."""
        try:
            daemons.wait_for(f"DAG {dag}", lambda: self.airflow.parsed_at(dag) > self.configured_at, limit=60)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.airflow.import_errors()}") from error


def seconds_until(is_so: Callable[[], bool], what: str, limit: float) -> float:
    begun = time.monotonic()
    daemons.wait_for(what, is_so, limit)
    return time.monotonic() - begun


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
