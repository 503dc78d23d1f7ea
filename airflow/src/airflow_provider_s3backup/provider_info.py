"""What this package tells Airflow about itself."""

from __future__ import annotations

from typing import Any

from airflow_provider_s3backup import __version__

_PACKAGE = "airflow_provider_s3backup"


def _field(label: str, description: str, *, is_secret: bool = False) -> dict[str, Any]:
    secret = {"format": "password"} if is_secret else {}
    return {"label": label, "schema": {"type": ["string", "null"], **secret}, "description": description}


#: The fields of a connection beside those that every connection has.
CONN_FIELDS = {
    "binary": _field("Binary", "Name or path of the binary on the workers. Default: backup."),
    "config": _field("Configuration", "Path of backup.toml on the workers. Default: what the binary finds."),
    "job": _field("Job", "Which job of a file with several."),
    "status_url": _field("Status page", "Address of the status page, for the link of each task."),
    "region": _field("Region", "AWS_REGION."),
    "endpoint": _field("Endpoint", "AWS_ENDPOINT_URL, of an S3-compatible server."),
    "session_token": _field("Session token", "AWS_SESSION_TOKEN, of temporary credentials.", is_secret=True),
    "slack_token": _field("Slack bot token", "SLACK_BOT_TOKEN, for binary and notifier.", is_secret=True),
}

#: What the form does with the fields that every connection has.
UI_FIELD_BEHAVIOUR = {
    "hidden-fields": ["host", "schema", "port", "extra"],
    "relabeling": {"login": "AWS access key ID", "password": "AWS secret access key"},
    "placeholders": {
        "login": "empty: as the AWS SDK finds it on the worker",
        "binary": "backup",
        "config": "/etc/s3backup/backup.toml",
        "status_url": "https://backup.example.org/",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the description that the entry point `apache_airflow_provider` promises."""
    integration = "s3backup"
    return {
        "package-name": "airflow-provider-s3backup",
        "name": "s3backup",
        "description": "Backs up directories to S3, fast, and so that it cannot fail silently.",
        "versions": [__version__],
        "integrations": [{"integration-name": integration, "external-doc-url": "", "tags": ["service"]}],
        "operators": [{"integration-name": integration, "python-modules": [f"{_PACKAGE}.operators"]}],
        "sensors": [{"integration-name": integration, "python-modules": [f"{_PACKAGE}.sensor"]}],
        "hooks": [{"integration-name": integration, "python-modules": [f"{_PACKAGE}.hook"]}],
        "notifications": [f"{_PACKAGE}.notifier.S3BackupSlackNotifier"],
        "extra-links": [f"{_PACKAGE}.links.S3BackupStatusLink"],
        "connection-types": [
            {
                "connection-type": "s3backup",
                "hook-class-name": f"{_PACKAGE}.hook.S3BackupHook",
                "hook-name": "s3backup",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
    }
