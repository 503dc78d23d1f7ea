"""The notifier: what it says, when it is silent, and that it says it once."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone

import pytest
from conftest import Ti

from airflow_provider_s3backup import notifier as notifier_module
from airflow_provider_s3backup import once
from airflow_provider_s3backup import slack as slack_module
from airflow_provider_s3backup.notifier import S3BackupSlackNotifier
from airflow_provider_s3backup.operators import REPORT_KEY

BEGAN = datetime(2026, 11, 28, 11, tzinfo=timezone.utc)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "backup.toml"
    path.write_text('[slack]\nchannel = "#c"\n')
    return path


@pytest.fixture
def notifier(fake, slack, monkeypatch, config):
    monkeypatch.setattr(slack_module, "PAUSE_S", 0.0)
    monkeypatch.setattr(notifier_module, "SETTLED_S", 0.0)
    monkeypatch.setenv("TOKEN", "xoxb-secret")

    def make(**arguments):
        ways = {"slack_conn_id", "webhook_env", "token_env"} & set(arguments)
        given = {"channel": "#c", "api_url": slack.url, "config": str(config)} | arguments
        return S3BackupSlackNotifier(**given, **({} if ways else {"token_env": "TOKEN"}))

    return make


def failed(**attributes):
    ti = Ti(start_date=BEGAN, **attributes)
    return {"ti": ti, "run_id": ti.run_id, "exception": RuntimeError("died & <gone>")}


def history(*runs):
    return {"history": {"document": [{"run_id": "R", "started_at": at, "summary": run} for at, run in runs]}}


RUN = {"trigger": "airflow", "outcome": "failed"}
LATER, EARLIER = "2026-11-28T20:00:01.5+09:00", "2026-11-28T19:59:59+09:00"


def test_it_tells_of_a_task_of_which_nothing_is_known(notifier, slack):
    notifier()(failed(task_id="upload", map_index=2, try_number=3))
    (post,) = slack.posts
    assert post["path"] == "/api/chat.postMessage"
    assert post["authorization"] == "Bearer xoxb-secret"
    assert post["channel"] == "#c"
    assert "task `upload [2]`, try 3" in post["text"]
    assert "died &amp; &lt;gone&gt;" in post["text"]


@pytest.mark.parametrize(
    ("report", "posts"),
    [
        ({"outcome": "failed", "told": True}, 0),
        ({"outcome": "failed", "told": False}, 1),
        ({"outcome": "success", "told": False, "exit_code": 3}, 1),
    ],
)
def test_it_is_silent_if_the_binary_has_told(notifier, slack, report, posts):
    context = failed()
    context["ti"].pushed[REPORT_KEY] = report
    notifier()(context)
    assert len(slack.posts) == posts
    notifier(when="always")(context)
    assert len(slack.posts) == 1


@pytest.mark.parametrize(
    ("recorded", "posts"),
    [
        ([(LATER, RUN)], 0),
        ([(EARLIER, RUN)], 1),
        ([(LATER, RUN | {"trigger": "manual"})], 1),
        ([(LATER, None)], 1),
        ([(LATER, RUN | {"outcome": "success"})], 1),
        ([], 1),
    ],
)
def test_where_xcom_is_out_of_reach_it_asks_the_binary(notifier, slack, fake, recorded, posts):
    def out_of_reach(**_):
        raise NameError("SUPERVISOR_COMMS")

    fake.does(history(*recorded))
    context = failed()
    context["ti"].xcom_pull = out_of_reach
    notifier()(context)
    assert len(slack.posts) == posts


def test_a_binary_that_is_still_ending_is_waited_for(notifier, slack, fake, monkeypatch):
    recorded = history((LATER, RUN | {"outcome": "interrupted"}))
    monkeypatch.setattr(notifier_module, "SETTLED_S", 60.0)
    monkeypatch.setattr(notifier_module.time, "sleep", lambda _: fake.does(recorded))
    notifier()({"ti": Ti(start_date=BEGAN), "reason": "timed_out", "dag": None, "run_id": "r"})
    assert slack.posts == []


class Task:
    def __init__(self, task_id):
        self.task_id = task_id


class SHARDED:
    tasks = (Task("plan"), Task("shard"), Task("commit"))
    leaves = tasks[-1:]


def test_shards_without_a_commit_are_no_success(notifier, slack):
    good = {"outcome": "success", "told": True}
    found = {"shard": [good, good], "commit": good}
    for number in (0, 1):
        context = failed(run_id=f"r{number}") | {"reason": "success", "dag": SHARDED}
        context["ti"].xcom_pull = lambda task_ids, key: found.get(task_ids)
        notifier(event="success")(context)
        assert len(slack.posts) == number
        found.pop("commit", None)


def test_the_callback_of_a_dag_looks_at_all_of_its_tasks(notifier, slack):
    def pull(task_ids, key):
        shards = [{"outcome": "failed", "told": False}, None]
        return {"shard": shards, "commit": {"outcome": "failed", "told": told}}.get(task_ids)

    context = failed() | {"reason": "task_failure", "dag": SHARDED}
    context["ti"].xcom_pull = pull
    told = True
    notifier()(context)
    assert slack.posts == []
    told = False
    notifier()(context)
    (text,) = slack.texts
    assert "DAG `d`, run `r`" in text
    assert "task" not in text.split("Why")[0]


def test_a_connection_that_cannot_be_reached_holds_no_message_back(notifier, slack):
    notifier(s3backup_conn_id="not_there", config=None)(failed())
    assert len(slack.posts) == 1


def test_a_binary_that_cannot_tell_anybody_is_not_asked(notifier, slack, fake, config):
    config.write_text("")
    fake.does(history((LATER, RUN)))
    notifier()(failed())
    assert len(slack.posts) == 1


def test_a_callback_that_comes_twice_is_told_once(notifier, slack):
    context = failed()
    notifier()(context)
    notifier()(context)
    assert len(slack.posts) == 1
    notifier()(failed(try_number=2))
    assert len(slack.posts) == 2


def test_what_could_not_be_told_may_be_told_by_the_second_call(notifier, slack, caplog):
    slack.answers = [(200, {"ok": False, "error": "channel_not_found"})]
    notifier()(failed())
    notifier()(failed())
    assert len(slack.posts) == 2


def test_one_notifier_serves_many_tasks_without_changing(notifier, slack):
    shared = notifier()
    before = {name: value for name, value in vars(shared).items() if name != "_log"}
    shared(failed(task_id="shard", map_index=1))
    shared(failed(task_id="shard", map_index=2))
    assert [("[1]" in text, "[2]" in text) for text in slack.texts] == [(True, False), (False, True)]
    assert {name: value for name, value in vars(shared).items() if name != "_log"} == before


def test_it_never_raises(notifier, slack, fake, caplog, monkeypatch):
    for context in (
        {},
        {"ti": object()},
        {"reason": "timed_out", "dag": object(), "run_id": "r"},
        "no context",
    ):
        notifier()(context)
    assert 1 <= len(slack.posts) <= 4
    slack.close()
    notifier()(failed(run_id="another"))
    monkeypatch.delenv("TOKEN")
    notifier(slack_conn_id="not_there")(failed(run_id="a third"))


def test_no_safe_place_for_markers_holds_no_message_back(notifier, slack, monkeypatch):
    def unsafe(*_):
        raise PermissionError("another user's")

    monkeypatch.setattr(once, "claim", unsafe)
    notifier()(failed())
    assert len(slack.posts) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"token_env": "TOKEN"},
        {"token_env": "TOKEN", "channel": " "},
        {"token_env": "EMPTY", "channel": "#c"},
        {"token_env": "MISSING", "channel": "#c"},
        {"webhook_env": "EMPTY"},
        {"slack_conn_id": "", "channel": "#c"},
        {"slack_conn_id": "s", "channel": ""},
        {"token_env": "TOKEN", "webhook_env": "TOKEN", "channel": "#c"},
        {"token_env": "TOKEN", "channel": "#c", "event": "lost"},
        {"token_env": "TOKEN", "channel": "#c", "when": "never"},
    ],
)
def test_what_would_tell_nobody_is_an_error_when_the_dag_is_parsed(monkeypatch, arguments):
    monkeypatch.setenv("TOKEN", "xoxb")
    monkeypatch.setenv("EMPTY", " ")
    with pytest.raises(ValueError, match=r"nobody would be told|one of|unknown"):
        S3BackupSlackNotifier(**arguments)


@pytest.mark.parametrize(
    ("connection", "path", "authorization"),
    [
        (
            {"conn_type": "s3backup", "extra": {"slack_token": "xoxb-1"}},
            "/api/chat.postMessage",
            "Bearer xoxb-1",
        ),
        ({"conn_type": "slack", "password": "xoxb-2"}, "/api/chat.postMessage", "Bearer xoxb-2"),
        ({"conn_type": "slackwebhook", "password": "T0/B0/X"}, "/api/T0/B0/X", None),
    ],
)
def test_the_right_to_post_comes_from_a_connection(
    notifier, slack, monkeypatch, connection, path, authorization
):
    if connection["conn_type"] == "slackwebhook":
        connection = connection | {"host": slack.url}
    monkeypatch.setenv("AIRFLOW_CONN_S", json.dumps(connection))
    notifier(slack_conn_id="s")(failed())
    (post,) = slack.posts
    assert (post["path"], post["authorization"]) == (path, authorization)


def test_slack_is_asked_again_when_it_is_busy_and_not_when_it_refuses(notifier, slack, caplog, monkeypatch):
    slack.answers = [(429, {}), (503, {})]
    notifier()(failed())
    assert len(slack.posts) == 3
    monkeypatch.setenv("HOOK", f"{slack.url}/secret-path")
    slack.answers = [(404, {})]
    notifier(webhook_env="HOOK")(failed(run_id="another"))
    assert len(slack.posts) == 4
    assert "secret" not in caplog.text


def test_a_success_of_which_a_run_is_known_is_not_told(notifier, slack):
    context = failed()
    context["ti"].pushed[REPORT_KEY] = {"outcome": "success", "told": True}
    notifier(event="success")(context)
    assert slack.posts == []


def test_a_task_that_was_marked_as_a_success_by_hand_is_told(notifier, slack):
    notifier(event="success")(failed())
    (text,) = slack.texts
    assert "marked as a success" in text


def late(state="running"):
    run = {"dag_id": "s3_upload", "dag_run_id": "r", "state": state}
    return {"dag_run": run, "deadline": {"id": "1", "deadline_time": "2026-11-28T12:00:00Z"}}


@pytest.mark.parametrize(
    ("state", "script", "posts", "calls"),
    [
        ("failed", {"exit": 0}, 0, 0),
        ("running", {"exit": 4, "document": {}}, 0, 1),
        ("running", {"exit": 0, "document": {}}, 0, 1),
        ("queued", {"exit": 1}, 1, 1),
        ("queued", {"exit": 4, "stderr": ["error: nobody was told: Slack refuses"]}, 1, 1),
    ],
)
def test_what_is_late_is_left_to_the_monitor_where_it_can_look(
    notifier, slack, fake, state, script, posts, calls
):
    fake.does({"monitor": script})
    asyncio.run(notifier(event="late").async_notify(late(state)))
    assert len(slack.posts) == posts
    assert len(fake.calls) == calls


def test_the_triggerer_awaits_it_with_the_poor_context_of_a_deadline(notifier, slack, fake):
    fake.connect(extra={"binary": "/nowhere"})

    async def trigger():
        await notifier(event="late", context=late())

    asyncio.run(trigger())
    (text,) = slack.texts
    assert "late" in text
    assert "DAG `s3_upload`, run `r`" in text


def test_old_markers_are_forgotten(monkeypatch):
    marker = once.claim("a")
    monkeypatch.setattr(once, "KEPT_S", -1.0)
    once.claim("b")
    assert not marker.exists()
