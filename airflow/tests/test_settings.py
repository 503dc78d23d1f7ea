"""What a DAG reads of `backup.toml`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_s3backup.settings import Settings, duration, tells_people

FILE = """
timezone = "Europe/Berlin"
[schedule]
cron = "20 0 * * *"
max_runtime = "1h 30m"
[slack]
channel = "#backup"
token_env = "T"
[job.a.schedule]
cron = "0 5 * * *"
[job.b]
timezone = "UTC"
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "backup.toml"
    path.write_text(FILE)
    monkeypatch.setenv("BACKUP_CONFIG", str(path))
    return path


def test_without_a_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = Settings.read()
    assert (settings.cron, settings.timezone) == ("0 20 * * *", "Asia/Seoul")
    assert (settings.max_runtime, settings.deadline) == (timedelta(hours=10), timedelta(hours=1))
    assert settings.slack is None
    assert not settings.tells


def test_a_job_inherits(config):
    settings = Settings.read(job="a")
    assert (settings.cron, settings.timezone) == ("0 5 * * *", "Europe/Berlin")
    assert settings.max_runtime == timedelta(minutes=90)
    assert settings.job_of_many == "a"
    assert Settings.read(job="b").timezone == "UTC"
    with pytest.raises(ValueError, match="the jobs a, b"):
        Settings.read()


def test_a_file_with_one_job_and_the_binarys_own_default_zone(config):
    config.write_text('job = "telemetry"\n')
    settings = Settings.read()
    assert settings.timezone == "UTC"
    assert settings.job_of_many is None


def test_the_environment_goes_first(config, monkeypatch):
    monkeypatch.setenv("BACKUP_SCHEDULE__CRON", "1 1 * * *")
    monkeypatch.setenv("BACKUP_JOB", "b")
    assert Settings.read().cron == "1 1 * * *"


def test_faults_are_named(config, monkeypatch):
    config.write_text("cron = ")
    with pytest.raises(ValueError, match="is not TOML"):
        Settings.read()
    config.write_text("timezone = 9")
    with pytest.raises(ValueError, match="timezone must be a text"):
        Settings.read()
    config.unlink()
    with pytest.raises(FileNotFoundError):
        Settings.read()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h 30m", 5400), ("2days", 172800), ("1hour", 3600)]
)
def test_lengths_of_time(text, seconds):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "h", "10 parsecs", "1h x"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(ValueError, match=r"s, m, h|no length"):
        duration(text)


def test_who_is_told(config, monkeypatch):
    settings = Settings.read(job="a")
    assert settings.notifier_arguments("c") == {"channel": "#backup", "slack_conn_id": "c"}
    monkeypatch.setenv("T", "")
    assert settings.notifier_arguments("c") == {"channel": "#backup", "token_env": "T"}
    config.write_text('[slack]\nwebhook_env = "W"\napi_url = "http://proxy"\n')
    assert Settings.read().notifier_arguments("c") == {"webhook_env": "W", "api_url": "http://proxy"}
    config.write_text('[slack]\nwebhook_file = "w"\n')
    with pytest.raises(ValueError, match="neither channel nor webhook_env"):
        Settings.read().notifier_arguments("c")


def test_whether_the_binary_tells(config):
    assert tells_people(str(config), "a")
    assert not tells_people("/nowhere/backup.toml", None)
    assert tells_people("/somewhere/backup.yaml", None)
    config.write_text("broken =")
    assert not tells_people(str(config), None)
