"""The way from a task to the status page."""

from __future__ import annotations

from typing import Any

from airflow_provider_s3backup._compat import BaseOperatorLink
from airflow_provider_s3backup.hook import S3BackupHook


class S3BackupStatusLink(BaseOperatorLink):
    """A button at each task that opens the status page which the connection names."""

    name = "Status page"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the address, empty where the connection has none: the button is then grey."""
        try:
            return S3BackupHook(operator.s3backup_conn_id).status_url or ""
        except Exception:
            # A button that leads nowhere must not fail a backup that went well.
            return ""
