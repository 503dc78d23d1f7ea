"""Where everything of the stack is: folders, ports, programs, and the environment that all of it shares."""

import base64
import json
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent  # airflow/
BUCKET = "fleet"
KEY, SECRET = "stack", "stack-secret"
PORTS = ("postgres", "redis", "api", "slack", "master", "volume", "filer", "s3")


@dataclass(frozen=True)
class World:
    """One stack, in a folder of its own."""

    folder: Path
    backup: Path
    python: Path  # of the virtual environment that has Airflow and the provider
    ports: dict[str, int]
    secrets: dict[str, str]

    @classmethod
    def at(cls, folder: Path, backup: Path, python: Path) -> "World":
        """The stack of this folder, with the ports and secrets that it was made with."""
        for name in ("bin", "home", "job", "log", "pids"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        kept = folder / "settings.json"
        if not kept.exists():
            made = {
                "ports": free_ports(PORTS),
                "secrets": {
                    "jwt": secrets.token_hex(48),  # HS512 asks for 64 bytes
                    "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                },
            }
            kept.write_text(json.dumps(made))
        settings = json.loads(kept.read_text())
        return cls(folder, backup, python, settings["ports"], settings["secrets"])

    @property
    def config(self) -> Path:
        """The one backup.toml, which each scenario writes anew."""
        return self.folder / "job" / "backup.toml"

    @property
    def binary(self) -> Path:
        """A link to the binary, which a scenario can take away."""
        return self.folder / "bin" / "backup"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    @property
    def s3(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    @property
    def database(self) -> str:
        return f"postgresql+psycopg://airflow@127.0.0.1:{self.ports['postgres']}/airflow"

    def environment(self) -> dict[str, str]:
        """What every process gets, and of the caller's only `PATH`, so that no real bucket is reached."""
        # The one connection that a user sets; all that is secret is in it.
        connection = {
            "conn_type": "s3backup",
            "login": KEY,
            "password": SECRET,
            "extra": {
                "binary": str(self.binary),
                "config": str(self.config),
                "region": "us-east-1",
                "slack_token": "xoxb-stack",
            },
        }
        return {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "STACK": str(self.folder),
            "PYTHONPATH": str(HERE / "installation"),
            "BACKUP_CONFIG": str(self.config),
            "AIRFLOW_CONN_S3BACKUP_DEFAULT": json.dumps(connection),
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PACKAGE / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__FERNET_KEY": self.secrets["fernet"],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.api}/execution/",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_name.get",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",  # no login: REST then needs no token
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database,
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
            "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
            # Longer than any upload, or Redis hands a running task to a second worker.
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
            "AIRFLOW__API_AUTH__JWT_SECRET": self.secrets["jwt"],
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["api"]),
            "AIRFLOW__API__BASE_URL": self.api,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            # A killed worker's tasks are noticed after 15 s, not after 5 minutes.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Held all at once, so that no two are the same. SeaweedFS also uses those 10,000 above its own."""
    held: dict[str, socket.socket] = {}
    while len(held) < len(names):
        taken = socket.socket()
        try:
            taken.bind(("127.0.0.1", 10_240 + secrets.randbelow(12_000)))
        except OSError:
            continue
        held[names[len(held)]] = taken
    ports = {name: taken.getsockname()[1] for name, taken in held.items()}
    for taken in held.values():
        taken.close()
    return ports


def program(name: str, *places: str) -> str:
    """A program of the system, or the end of this one with what to install."""
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ["PATH"]]))
    if found is None:
        sys.exit(f"{name} is missing: apt-get install --no-install-recommends redis-server postgresql")
    return found
