"""Says a thing once although Airflow calls a callback twice, as it does after a lost heartbeat.

Slack cannot tell that a message is a repetition, and a callback has no memory. A marker file in the temporary
folder of the machine is one: both calls run in the same DAG processor.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path

#: Markers that are older are removed. No callback comes twice so far apart.
KEPT_S = 7 * 86400.0


def claim(*key: object) -> Path:
    """Take the right to say a thing, once for each key on this machine and for this user.

    :return: the marker, to be removed if it could not be said
    :raises FileExistsError: it was said before
    :raises OSError: there is no safe place for markers
    """
    folder = Path(tempfile.gettempdir()) / f"s3backup-airflow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")
    _forget_old(folder)
    marker = folder / hashlib.sha256("\0".join(map(str, key)).encode()).hexdigest()
    marker.touch(exist_ok=False)
    return marker


def _forget_old(folder: Path) -> None:
    oldest = time.time() - KEPT_S
    for marker in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if marker.stat().st_mtime < oldest:
                marker.unlink()
