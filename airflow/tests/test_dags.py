"""The DAGs that users copy: what they say, and whole runs of them in this process."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_provider_s3backup.operators import PLAN_KEY, REPORT_KEY

FUTURE = "2100-01-01T00:00:00+00:00"


@pytest.fixture
def faked(fake):
    fake.connect(extra={"slack_token": "xoxb-1"})
    return fake


def test_they_are_imported_without_a_warning(world):
    bag = world.bag()
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert sorted(bag.dags) == ["fleet_daily", "s3_upload", "s3_upload_monitor", "s3_upload_sharded"]


def test_they_are_imported_on_a_machine_without_a_configuration(world, monkeypatch, tmp_path):
    monkeypatch.delenv("BACKUP_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    bag = world.bag()
    assert bag.import_errors == {}
    timetable = bag.dags["s3_upload"].timetable
    assert (timetable.expression, str(timetable.timezone)) == ("0 20 * * *", "Asia/Seoul")


@pytest.mark.parametrize("name", ["s3_upload", "s3_upload_sharded"])
def test_one_truth_says_when_they_run_and_for_how_long(world, name):
    dag = world.bag().dags[name]
    assert (dag.timetable.expression, str(dag.timetable.timezone)) == ("20 0 * * *", "Asia/Seoul")
    assert dag.dagrun_timeout == timedelta(hours=2, minutes=15)
    assert (dag.catchup, dag.max_active_runs, dag.tags) == (False, 1, {"s3_upload"})
    assert "what now?" in dag.doc_md
    assert dag.on_failure_callback.event == "failure"
    assert dag.on_success_callback.event == "success"
    (deadline,) = dag.deadline
    assert deadline.interval == timedelta(hours=1)
    assert deadline.callback.kwargs["event"] == "late"


def test_the_monitor_is_of_another_schedule(world):
    bag = world.bag()
    minutes = {bag.dags[name].timetable.expression.split()[0] for name in ("s3_upload", "s3_upload_monitor")}
    assert minutes == {"20", "37"}


def test_an_empty_token_is_an_error_when_they_are_parsed(world, monkeypatch):
    monkeypatch.setenv("SLACK_BOT_TOKEN", "")
    errors = world.bag().import_errors
    assert sorted(Path(path).name for path in errors) == [
        "fleet_daily.py",
        "s3_upload.py",
        "s3_upload_sharded.py",
    ]
    assert all("nobody would be told" in error for error in errors.values())


def test_no_leaf_turns_a_failed_run_green(world):
    """The state of a run is that of its leaves: the commit is the only one, and runs after lost shards."""
    dag = world.bag().dags["s3_upload_sharded"]
    assert [task.task_id for task in dag.leaves] == ["commit"]
    commit = dag.get_task("commit")
    assert commit.trigger_rule == "all_done_min_one_success"
    assert commit.upstream_task_ids == {"plan", "shard"}


@pytest.mark.usefixtures("database", "real")
def test_a_real_tree_is_backed_up_and_the_monitor_is_content(world, slack):
    state, tasks = world.run("s3_upload")
    assert (state, tasks) == ("success", {("upload", -1): ("success", 1)})
    assert world.is_backed_up()
    report = world.xcom("upload", REPORT_KEY)
    assert (report["outcome"], report["trigger"], report["uploaded"]["files"]) == ("success", "airflow", 20)
    assert len(slack.texts) == 1, "the binary's own word of its success"
    assert world.run("s3_upload_monitor")[0] == "success"
    assert len(slack.texts) == 1


@pytest.mark.usefixtures("database", "real")
def test_partial_is_told_once(world, slack):
    deep = world.data / Path(*["d" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    state, _ = world.run("s3_upload")
    assert state == "failed"
    assert world.xcom("upload", REPORT_KEY)["outcome"] == "partial"
    assert len(slack.texts) == 1


@pytest.mark.usefixtures("database", "real")
def test_a_wrong_configuration_is_told_by_the_binary_and_not_tried_again(world, slack):
    world.retry_once()
    world.config.write_text(world.config.read_text().replace('bucket = "fleet"', 'bukket = "fleet"'))
    assert world.run("s3_upload") == ("failed", {("upload", -1): ("failed", 1)})
    report = world.xcom("upload", REPORT_KEY)
    assert (report["exit_code"], report["told"]) == (2, True)
    assert "bukket" in slack.texts[0]


@pytest.mark.usefixtures("database")
def test_a_binary_that_was_killed_is_told_by_airflow(world, slack, faked):
    """What the DAG's callback is given in a test run has broken other notifiers."""
    faked.does({"run": {"dies": signal.SIGKILL}, "history": {"document": []}})
    assert world.run("s3_upload")[0] == "failed"
    (text,) = slack.texts
    assert "The backup failed in Airflow" in text


def scripts(count: int) -> dict:
    plan = "s3://fleet/trips/.s3backup/telemetry/gw-1/plans/R"
    shards = [{"shard": number, "uri": f"{plan}/{number}", "files": 1, "bytes": 1} for number in range(count)]
    success = {"document": {"outcome": "success", "run_id": "R"}}
    ended = [{"run_id": "R", "started_at": FUTURE, "summary": {"trigger": "airflow", "outcome": "failed"}}]
    return {
        "plan": {"document": {"run_id": "R", "plan": plan, "shards": shards}},
        "shard": success,
        "commit": success,
        "history": {"document": ended},
    }


def commands(fake) -> list[str]:
    return sorted(call["command"] for call in fake.calls if call["command"] != "history")


@pytest.mark.usefixtures("database")
def test_a_lost_shard_is_tried_again_alone(world, faked, slack):
    world.retry_once()
    lost = {"shard 1": {"document": {"outcome": "success"}, "fails_once": str(world.folder / "lost")}}
    faked.does(scripts(3) | lost)
    state, tasks = world.run("s3_upload_sharded", shards=3)
    assert state == "success"
    assert [tasks["shard", number] for number in range(3)] == [("success", 1), ("success", 2), ("success", 1)]
    assert commands(faked) == ["commit", "plan", "shard", "shard", "shard 1", "shard 1", "steps"]
    (commit,) = [call for call in faked.calls if call["command"] == "commit"]
    assert commit["argv"][1] == world.xcom("plan", PLAN_KEY)["plan"]
    (plan,) = [call for call in faked.calls if call["command"] == "plan"]
    assert plan["argv"][2] == "3"


@pytest.mark.usefixtures("database")
def test_when_a_shard_is_lost_for_good_the_commit_runs_and_refuses(world, faked, slack):
    refused = {"document": {"outcome": "failed", "fatal": {"message": "shard 1 is missing"}}, "exit": 1}
    faked.does(scripts(2) | {"shard 1": {"exit": 1}, "commit": refused})
    state, tasks = world.run("s3_upload_sharded", shards=2)
    assert state == "failed"
    assert tasks["shard", 0][0] == "success"
    assert tasks["shard", 1][0] == "failed"
    assert tasks["commit", -1] == ("failed", 1)
    assert slack.texts == [], "the binary has told of it"


@pytest.mark.usefixtures("database")
def test_when_there_is_no_plan_nothing_else_runs(world, faked, slack):
    faked.does(scripts(2) | {"plan": {"document": {"outcome": "failed"}, "exit": 1}})
    state, tasks = world.run("s3_upload_sharded", shards=2)
    assert state == "failed"
    assert tasks["plan", -1][0] == "failed"
    assert tasks["commit", -1][0] == "upstream_failed"
    assert commands(faked) == ["plan", "steps"]
    assert slack.texts == [], "the binary has told of it"


@pytest.mark.usefixtures("database", "real")
def test_shards_of_a_real_tree_come_together(world, slack):
    state, tasks = world.run("s3_upload_sharded", shards=3)
    assert state == "success", tasks
    assert world.is_backed_up()
    assert world.xcom("commit", REPORT_KEY)["uploaded"]["files"] == 20
    assert len(slack.texts) == 1, "one message, whatever the number of shards"
