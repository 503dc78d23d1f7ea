"""What Airflow is told of this package, and that it is true."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import jsonschema
import tomllib

import airflow_provider_s3backup
from airflow_provider_s3backup.hook import S3BackupHook
from airflow_provider_s3backup.provider_info import CONN_FIELDS, get_provider_info


def load(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def test_airflow_finds_it():
    (point,) = [p for p in entry_points(group="apache_airflow_provider") if "s3backup" in p.value]
    assert point.load() is get_provider_info


def test_it_fits_airflows_own_schema():
    schema = json.loads((files("airflow") / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_every_class_and_module_is_there():
    info = get_provider_info()
    (connection,) = info["connection-types"]
    assert load(connection["hook-class-name"]) is S3BackupHook
    assert connection["connection-type"] == S3BackupHook.conn_type
    for path in info["notifications"] + info["extra-links"]:
        assert load(path)
    for kind in ("operators", "sensors", "hooks"):
        for module in info[kind][0]["python-modules"]:
            assert importlib.import_module(module)


def test_the_form_of_airflow_3_takes_the_fields():
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    fields = {name for name in manager.connection_form_widgets if name.startswith("extra__s3backup__")}
    assert fields == {f"extra__s3backup__{name}" for name in CONN_FIELDS}
    assert manager.connection_form_widgets["extra__s3backup__slack_token"].is_sensitive
    assert "host" in manager.field_behaviours["s3backup"]["hidden_fields"]


def test_the_form_of_airflow_2_says_the_same():
    assert S3BackupHook.get_ui_field_behaviour()["relabeling"]["login"] == "AWS access key ID"


def test_the_version_is_said_once():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["version"] == airflow_provider_s3backup.__version__
    assert get_provider_info()["versions"] == [project["version"]]
    assert (Path(airflow_provider_s3backup.__file__).parent / "py.typed").exists()
