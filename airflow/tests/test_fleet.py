"""The fleet: its DAG, and the steps that do the same without Airflow."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import DAGS
from world import World, binary, tree

from airflow_provider_s3backup.operators import REPORT_KEY
from airflow_provider_s3backup.settings import tomllib

CONFIG = (DAGS / "fleet" / "backup.toml").read_text()
#: Half past midnight in Seoul is another day than in UTC.
AT = datetime(2026, 11, 24, 0, 20, tzinfo=ZoneInfo("Asia/Seoul"))
FACTS = [("Distance", "12,345 km"), ("Overspeed events", "17")]


class Fleet(World):
    """The folder of a fleet, with the configuration that users copy, and a `fleet` on the `PATH`."""

    def __init__(self, folder: Path, slack, monkeypatch) -> None:
        super().__init__(folder, slack, monkeypatch)
        self.config.write_text(f'{CONFIG}api_url = "{slack.url}"\n')
        for trip in tree(self.data):
            os.utime(self.data / trip, times=(0, 0))  # Not too young to be complete.
        programs = folder / "bin"
        programs.mkdir()
        (programs / "fleet").symlink_to(Path(__file__).parent / "fake_fleet.py")
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setenv("BACKUP_STATE_DIR", str(folder / "state"))
        monkeypatch.setenv("BACKUP_DESTINATION__ENDPOINT", f"embedded:{folder}/bucket")

    @property
    def calls(self) -> list[str]:
        return sorted((self.folder / "fleet-calls").read_text().splitlines())

    def backup(self, *arguments: str) -> dict:
        """Run the binary itself; return the document that it prints."""
        command = [binary(), "--config", self.config, *arguments, "--json"]
        environment = os.environ | {"SLACK_BOT_TOKEN": "xoxb-1"}
        done = subprocess.run(command, check=True, env=environment, capture_output=True, timeout=60)
        return json.loads(done.stdout)


@pytest.fixture
def fleet(tmp_path, slack, monkeypatch):
    (tmp_path / "results").mkdir()
    return Fleet(tmp_path, slack, monkeypatch)


def facts(report: dict) -> list[tuple[str, str]]:
    return [(fact["label"], fact["value"]) for fact in report["facts"]]


def test_the_tasks_are_the_steps_of_the_configuration(fleet):
    dag = fleet.bag().dags["fleet_daily"]
    upload = dag.get_task("upload")
    tasks = {name: dag.get_task(name).bash_command for name in upload.upstream_task_ids}
    steps = {step["name"]: " ".join(step["command"]) for step in tomllib.loads(CONFIG)["step"]}
    assert tasks == steps
    assert [task.task_id for task in dag.leaves] == ["upload"]
    assert {task.task_id for task in dag.roots} == set(steps), "none waits for another"
    assert all(task.execution_timeout for task in dag.roots)


def test_of_many_parts_each_is_a_task(fleet, monkeypatch):
    monkeypatch.setenv("FLEET_PARTS", "8")
    monkeypatch.setenv("S3BACKUP_SHARD_QUEUE", "workers")
    monkeypatch.setenv("S3BACKUP_PLAN_QUEUE", "owner")
    dag = fleet.bag().dags["fleet_daily"]
    assert set(dag.task_ids) == {"part", "merge", "upload"}
    assert dag.get_task("merge").upstream_task_ids == {"part"}
    assert dag.get_task("upload").upstream_task_ids == {"merge"}
    queues = {name: dag.get_task(name).queue for name in ("merge", "upload")}
    assert queues == {"merge": "workers", "upload": "owner"}


@pytest.mark.usefixtures("database", "real")
def test_the_figures_of_the_tasks_are_in_the_one_message(fleet, slack):
    state, tasks = fleet.run("fleet_daily", at=AT)
    assert state == "success", tasks
    steps = ["clean", "errors", "overspeed", "rapid", "statistics"]
    assert fleet.calls == [f"{step} of 2026-11-23" for step in steps], "each once"
    report = fleet.xcom("upload", REPORT_KEY)
    assert (report["outcome"], report["steps"], facts(report)) == ("success", [], FACTS)
    assert report["uploaded"]["files"] == 20 + 5 + 1
    (text,) = slack.texts
    assert "12,345 km" in text
    assert "Overspeed events" in text


@pytest.mark.usefixtures("database", "real")
def test_parts_come_together(fleet, slack, monkeypatch):
    monkeypatch.setenv("FLEET_PARTS", "2")
    state, tasks = fleet.run("fleet_daily", at=AT)
    assert state == "success", tasks
    run = "run --no-upload"
    expected = [f"{run} --merge 2", f"{run} --part 1/2", f"{run} --part 2/2"]
    assert fleet.calls == [f"{command} of 2026-11-23" for command in expected]
    assert facts(fleet.xcom("upload", REPORT_KEY)) == FACTS
    assert len(slack.texts) == 1


@pytest.mark.usefixtures("database", "real")
def test_nothing_is_sent_while_a_step_is_red(fleet, slack, monkeypatch):
    monkeypatch.setenv("FAKE_FLEET_FAILS", "rapid")
    state, tasks = fleet.run("fleet_daily", at=AT)
    assert (state, tasks["rapid", -1][0], tasks["upload", -1][0]) == ("failed", "failed", "upstream_failed")
    assert tasks["clean", -1][0] == "success"
    assert not list(fleet.folder.glob("bucket/**/*.json"))
    (text,) = slack.texts
    assert "failed in Airflow" in text


def test_without_airflow_the_steps_do_the_same(fleet, slack):
    assert fleet.backup("config")
    report = fleet.backup("run")
    assert (report["outcome"], facts(report)) == ("success", FACTS)
    assert [step["state"] for step in report["steps"]] == ["ok"] * 5
    assert len(fleet.calls) == 5
    (text,) = slack.texts
    assert "12,345 km" in text
