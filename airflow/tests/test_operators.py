"""The operators and the sensor, with the fake binary."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from conftest import FAKE, until

from airflow_provider_s3backup._compat import AirflowException, AirflowFailException
from airflow_provider_s3backup.links import S3BackupStatusLink
from airflow_provider_s3backup.operators import (
    PLAN_KEY,
    REPORT_KEY,
    S3BackupCommitOperator,
    S3BackupOperator,
    S3BackupPlanOperator,
    S3BackupShardOperator,
    S3BackupStepsOperator,
)
from airflow_provider_s3backup.sensor import S3BackupMonitorSensor

SUCCESS = {"schema": 1, "run_id": "R", "outcome": "success"}
PARTIAL = SUCCESS | {"outcome": "partial", "failed_total": 1, "failed": [{"path": "a", "kind": "unreadable"}]}
URI = "s3://b/p/.s3backup/j/h/plans/R"
PLAN = {
    "schema": 1,
    "run_id": "R",
    "plan": URI,
    "shards": [{"shard": n, "uri": f"{URI}/{n}", "files": n, "bytes": n} for n in range(3)],
}


@pytest.fixture(autouse=True)
def _may_be_called_here(monkeypatch):
    from airflow.sdk.bases.operator import ExecutorSafeguard

    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


def run(operator, ti):
    return operator.execute({"ti": ti})


@pytest.mark.parametrize(
    ("operator", "script", "arguments", "result"),
    [
        (
            S3BackupOperator(task_id="t"),
            {"run": {"document": SUCCESS}},
            ["run", "--trigger", "airflow", "--json"],
            SUCCESS,
        ),
        (
            S3BackupOperator(task_id="t", force="True", config="/c.toml", job="j"),
            {"run": {"document": SUCCESS}},
            ["run", "--trigger", "airflow", "--force", "--json", "--config", "/c.toml", "--job", "j"],
            SUCCESS,
        ),
        (
            S3BackupOperator(task_id="t", steps=False, facts="/facts.txt"),
            {"run": {"document": SUCCESS}},
            ["run", "--trigger", "airflow", "--no-steps", "--facts", "/facts.txt", "--json"],
            SUCCESS,
        ),
        (S3BackupStepsOperator(task_id="t"), {}, ["steps", "--json"], None),
        (
            S3BackupPlanOperator(task_id="t", shards=3, out="/lists", expires="10h", force="False"),
            {"plan": {"document": PLAN}},
            [
                "plan",
                "--shards",
                "3",
                "--trigger",
                "airflow",
                "--out",
                "/lists",
                "--expires",
                "10h",
                "--json",
            ],
            [f"{URI}/{n}" for n in range(3)],
        ),
        (
            S3BackupShardOperator(task_id="t", uri=f"{URI}/2"),
            {"shard": {"document": SUCCESS | {"shard": 2}}},
            ["run", "--shard", f"{URI}/2", "--json"],
            SUCCESS | {"shard": 2},
        ),
        (
            S3BackupCommitOperator(task_id="t", plan=URI),
            {"commit": {"document": SUCCESS}},
            ["commit", URI, "--json"],
            SUCCESS,
        ),
    ],
)
def test_each_calls_the_binary_as_it_should(fake, ti, operator, script, arguments, result):
    fake.does(script)
    returned = run(operator, ti)
    (call,) = fake.calls
    assert call["argv"] == arguments
    if isinstance(result, dict):
        assert result.items() <= returned.items()
        assert ti.pushed[REPORT_KEY] == returned
    else:
        assert returned == result


def test_the_plan_has_a_key_of_its_own(fake, ti):
    fake.does({"plan": {"document": PLAN}})
    run(S3BackupPlanOperator(task_id="t", shards=3), ti)
    assert ti.pushed[PLAN_KEY] == PLAN
    assert REPORT_KEY not in ti.pushed


@pytest.mark.parametrize(
    ("code", "document"), [(3, PARTIAL), (1, {"outcome": "failed"}), (11, {"outcome": "failed"})]
)
def test_the_report_of_a_failed_task_is_not_lost(fake, ti, code, document):
    fake.does({"run": {"document": document, "exit": code}})
    with pytest.raises(AirflowException):
        run(S3BackupOperator(task_id="t"), ti)
    assert ti.pushed[REPORT_KEY]["outcome"] == document["outcome"]
    assert ti.pushed[REPORT_KEY]["exit_code"] == code


def test_partial_may_succeed(fake, ti):
    fake.does({"run": {"document": PARTIAL, "exit": 3}})
    assert run(S3BackupOperator(task_id="t", on_partial="succeed"), ti)["outcome"] == "partial"


def test_xcom_that_cannot_be_reached_changes_nothing(fake, ti):
    def push(key, value):
        raise RuntimeError("the task is marked as failed")

    ti.xcom_push = push
    fake.does({"run": {"document": SUCCESS}})
    assert run(S3BackupOperator(task_id="t"), ti)["outcome"] == "success"


def test_who_was_told_depends_on_the_configuration(fake, ti, tmp_path):
    config = tmp_path / "backup.toml"
    fake.does({"run": {"document": PARTIAL, "exit": 3}, "shard": {"document": PARTIAL, "exit": 3}})
    for text, told in (("", False), ('[slack]\nchannel = "#c"\n', True)):
        config.write_text(text)
        with pytest.raises(AirflowException):
            run(S3BackupOperator(task_id="t", config=str(config)), ti)
        assert ti.pushed[REPORT_KEY]["told"] is told
    with pytest.raises(AirflowException):
        run(S3BackupShardOperator(task_id="t", uri=f"{URI}/0", config=str(config)), ti)
    assert ti.pushed[REPORT_KEY]["told"] is False


def test_secrets_are_in_the_environment_alone(fake, ti, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "fernet-secret")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "s3_upload")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another key")
    fake.connect(
        login="AKIA",
        password="aws-secret",
        extra={
            "region": "eu-west-1",
            "endpoint": "http://s3",
            "slack_token": "xoxb-secret",
            "config": "/c.toml",
        },
    )
    fake.does({"run": {"document": SUCCESS}})
    operator = S3BackupOperator(task_id="t")
    run(operator, ti)
    (call,) = fake.calls
    environment = call["env"]
    assert environment["AWS_ACCESS_KEY_ID"] == "AKIA"
    assert environment["AWS_SECRET_ACCESS_KEY"] == "aws-secret"
    assert environment["AWS_REGION"] == "eu-west-1"
    assert environment["AWS_ENDPOINT_URL"] == "http://s3"
    assert environment["SLACK_BOT_TOKEN"] == "xoxb-secret"
    assert environment["AIRFLOW_CTX_DAG_ID"] == "s3_upload"
    assert "AWS_SESSION_TOKEN" not in environment
    assert not [n for n in environment if n.startswith("AIRFLOW_") and not n.startswith("AIRFLOW_CTX_")]
    fields = [str(getattr(operator, field)) for field in operator.template_fields]
    assert not [place for place in [*call["argv"], *fields, caplog.text] if "secret" in place]
    assert call["argv"][-2:] == ["--config", "/c.toml"]


def test_a_binary_that_is_not_there_is_not_tried_again(fake, ti):
    fake.connect(extra={"binary": "/nowhere/backup"})
    with pytest.raises(AirflowFailException, match="Install s3backup"):
        run(S3BackupOperator(task_id="t"), ti)


def test_a_commit_without_a_plan_runs_nothing(fake, ti):
    with pytest.raises(AirflowFailException, match="no plan"):
        run(S3BackupCommitOperator(task_id="t", plan=""), ti)
    assert fake.calls == []


@pytest.mark.parametrize("code", [0, 130])
def test_a_task_that_is_killed_fails_whatever_the_binary_says(fake, ti, code):
    """Airflow calls on_kill in the handler of SIGTERM, and execute() then goes on."""
    fake.does({"run": {"hangs": True, "on_term": SUCCESS, "exit": code}})
    operator = S3BackupOperator(task_id="t")
    before = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    try:
        threading.Thread(
            target=lambda: (until(lambda: fake.calls, "it runs"), os.kill(os.getpid(), signal.SIGTERM)),
            daemon=True,
        ).start()
        with pytest.raises(AirflowException, match="was stopped"):
            run(operator, ti)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ti.pushed[REPORT_KEY]["exit_code"] == code


def test_a_task_that_was_killed_before_it_began_runs_nothing(fake, ti):
    operator = S3BackupOperator(task_id="t")
    operator.on_kill()
    with pytest.raises(AirflowException, match="before the backup began"):
        run(operator, ti)
    assert fake.calls == []


def test_a_timeout_stops_the_binary_and_keeps_its_report(fake, ti):
    from airflow.sdk.exceptions import AirflowTaskTimeout

    def raise_timeout(*_):
        raise AirflowTaskTimeout("too long")

    fake.does({"run": {"hangs": True, "on_term": SUCCESS | {"outcome": "interrupted"}}})
    operator = S3BackupOperator(task_id="t")
    before = signal.signal(signal.SIGALRM, raise_timeout)
    try:
        threading.Thread(
            target=lambda: (until(lambda: fake.calls, "it runs"), os.kill(os.getpid(), signal.SIGALRM)),
            daemon=True,
        ).start()
        with pytest.raises(AirflowTaskTimeout):
            run(operator, ti)
        operator.on_kill()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ti.pushed[REPORT_KEY]["outcome"] == "interrupted"


def test_the_link_leads_to_the_status_page(fake):
    fake.connect(extra={"status_url": "https://backup.example.org/"})
    operator = S3BackupOperator(task_id="t")
    assert S3BackupStatusLink().get_link(operator, ti_key=None) == "https://backup.example.org/"
    for url in ("", "javascript:alert(1)"):
        fake.connect(extra={"status_url": url})
        assert S3BackupStatusLink().get_link(operator, ti_key=None) == ""
    assert (
        S3BackupStatusLink().get_link(S3BackupOperator(task_id="u", s3backup_conn_id="no"), ti_key=None) == ""
    )


def watched(name, *kinds):
    job, host = name.split("@")
    return {
        "job": job,
        "host": host,
        "findings": [{"kind": kind, "what": "w", "mend": "m"} for kind in kinds],
    }


MONITORED = {"destinations": [{"destination": "s3://b", "watched": [watched("a@h"), watched("b@h", "late")]}]}


@pytest.mark.parametrize(
    ("jobs", "script", "well"),
    [
        ([], {"document": {"well": True}, "exit": 0}, True),
        ([], {"document": MONITORED, "exit": 4}, False),
        (["a@h"], {"document": MONITORED, "exit": 4}, True),
        (["b@h"], {"document": MONITORED, "exit": 4}, False),
        (["a@h"], {"stdout": "", "exit": 4}, False),
        ([], {"exit": 11}, False),
    ],
)
def test_the_sensor_waits_until_all_is_well(fake, caplog, jobs, script, well):
    fake.does({"monitor": script})
    sensor = S3BackupMonitorSensor(task_id="t", jobs=jobs)
    assert sensor.mode == "reschedule"
    assert not sensor.soft_fail
    assert sensor.poke({}) is well
    expected = [argument for job in jobs for argument in ("--expect", job)]
    assert fake.calls[0]["argv"] == ["monitor", *expected, "--json"]


@pytest.mark.parametrize(("code", "error"), [(1, AirflowException), (2, AirflowFailException)])
def test_a_sensor_that_sees_nothing_says_so(fake, code, error):
    fake.does({"monitor": {"exit": code}})
    with pytest.raises(error):
        S3BackupMonitorSensor(task_id="t").poke({})


@pytest.mark.parametrize(
    ("script", "good", "says"),
    [
        (
            {"document": {"checks": [{"name": "list", "state": "warn", "message": "", "mend": ""}]}},
            True,
            "1 warnings",
        ),
        (
            {
                "document": {
                    "checks": [{"name": "list", "state": "fail", "message": "denied", "mend": "grant it"}]
                },
                "exit": 1,
            },
            False,
            "list: denied (grant it)",
        ),
        ({"stderr": ["error: no such file"], "exit": 2}, False, "no such file"),
    ],
)
def test_the_test_button(fake, script, good, says):
    from airflow_provider_s3backup.hook import S3BackupHook

    fake.does({"doctor": script})
    well, message = S3BackupHook().test_connection()
    assert well is good
    assert says in message
    assert fake.calls[0]["argv"] == ["doctor", "--json"]
    assert str(FAKE)
