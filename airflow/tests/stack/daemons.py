"""Starts the processes of the stack, ends them, and finds those that were left behind."""

import json
import os
import pwd
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from processes import describe, is_alive, processes, signal_group, signal_one
from world import HERE, KEY, SECRET, World, program

POSTGRES_PLACES = tuple(
    str(place) for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
)
WORKERS = ("worker-a", "worker-b")
SERVERS = ("postgres", "redis", "s3", "slack")
NAMES = (*SERVERS, "api", "scheduler", "dag-processor", "triggerer", *WORKERS)
START_LIMIT = 180  # seconds until everything answers; 40 on an idle machine with 2 cores
# PostgreSQL waits after SIGTERM until everybody has gone, and SeaweedFS for half a minute.
END = {"postgres": signal.SIGINT, "s3": signal.SIGKILL}
STOP_LIMIT = 20  # seconds to end when asked


def start(world: World) -> None:
    """Brings everything up, and returns when it answers. Ends what it started if it cannot."""
    if running(world):
        sys.exit(f"a stack is up in {world.folder}: end it with `down`")
    link(world)
    try:
        start_servers(world)
        airflow(world, "db", "migrate")
        spawn(world, "api", "airflow", "api-server")
        spawn(world, "scheduler", "airflow", "scheduler", "--skip-serve-logs")
        spawn(world, "dag-processor", "airflow", "dag-processor")
        spawn(world, "triggerer", "airflow", "triggerer", "--skip-serve-logs")
        for worker in WORKERS:
            start_worker(world, worker)
        wait_for("the API server", lambda: answers(f"{world.api}/api/v2/monitor/health"))
        for worker in WORKERS:
            wait_for(worker, lambda worker=worker: " ready." in log(world, worker))
    except BaseException:
        stop(world)
        raise


def start_servers(world: World) -> None:
    """PostgreSQL, Redis, SeaweedFS and the Slack that takes everything."""
    data = world.folder / "pg"
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    if not data.exists():
        data.mkdir(mode=0o700)
        if account:
            os.chown(data, *passwd("postgres"))
        initdb = program("initdb", *POSTGRES_PLACES)
        run(
            world,
            initdb,
            "--pgdata",
            str(data),
            "--auth",
            "trust",
            "--username",
            "airflow",
            "--encoding",
            "UTF8",
            **account,
        )
    # A crash of the machine may take the database of a test with it.
    options = {
        "fsync": "off",
        "max_connections": "60",
        "shared_buffers": "64MB",
        "unix_socket_directories": "",
    }
    spawn(
        world,
        "postgres",
        program("postgres", *POSTGRES_PLACES),
        *("-D", str(data), "-h", "127.0.0.1", "-p", str(world.ports["postgres"])),
        *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        **account,
    )
    redis = world.ports["redis"]
    spawn(
        world,
        "redis",
        program("redis-server"),
        "--port",
        str(redis),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    )
    start_bucket(world)
    spawn(
        world,
        "slack",
        sys.executable,
        str(HERE / "slack.py"),
        str(world.ports["slack"]),
        str(world.folder / "slack.jsonl"),
    )
    wait_for("PostgreSQL", lambda: "ready to accept connections" in log(world, "postgres"))
    psql = program("createdb", *POSTGRES_PLACES)
    address = ("-h", "127.0.0.1", "-p", str(world.ports["postgres"]), "-U", "airflow")
    subprocess.run(
        [psql, *address, "airflow"], stderr=subprocess.DEVNULL, check=False
    )  # it is there from the last time
    wait_for("SeaweedFS", lambda: answers(world.s3))
    wait_for("Slack", lambda: answers(f"http://127.0.0.1:{world.ports['slack']}"))


def start_bucket(world: World) -> None:
    identity = {"name": "stack", "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
    identity["actions"] = ["Admin", "Read", "Write", "List", "Tagging"]
    config = world.folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    spawn(
        world,
        "s3",
        os.environ.get("S3BACKUP_TEST_WEED") or program("weed"),
        *(
            "mini",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={made(world.folder / 's3')}",
            f"-s3.config={config}",
        ),
        *(f"-{part}.port={world.ports[part]}" for part in ("master", "volume", "filer", "s3")),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-admin.ui=false", "-webdav=false"),
    )


def start_worker(world: World, name: str) -> None:
    """A Celery worker with two slots, under a name of its own."""
    flags = (
        "--celery-hostname",
        name,
        "--concurrency",
        "2",
        "--skip-serve-logs",
        "--without-mingle",
        "--without-gossip",
    )
    spawn(world, name, "airflow", "celery", "worker", *flags, extra={"STACK_WORKER": name})


def spawn(
    world: World,
    name: str,
    command: str,
    *arguments: str,
    extra: dict[str, str] | None = None,
    **account: object,
) -> None:
    """A process in a session of its own, whose group can be ended as a whole."""
    if command == "airflow":
        command = str(world.python.parent / "airflow")
    with (world.folder / "log" / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(
            [command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=world.environment() | (extra or {}),
            cwd=world.folder,
            start_new_session=True,
            **account,
        )
    (world.folder / "pids" / name).write_text(str(process.pid))


def run(world: World, *command: str, **account: object) -> None:
    """A command that ends, and must succeed."""
    done = finished(world, *command, **account)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def code_of(world: World, *command: str) -> int:
    return finished(world, *command).returncode


def finished(world: World, *command: str, **account: object) -> subprocess.CompletedProcess[str]:
    environment = world.environment() | {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "SLACK_BOT_TOKEN": "xoxb-stack",
    }
    return subprocess.run(
        command,
        env=environment,
        cwd=world.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **account,
    )


def airflow(world: World, *arguments: str) -> None:
    run(world, str(world.python.parent / "airflow"), *arguments)


def link(world: World) -> None:
    """Puts the binary where the connection says that it is."""
    world.binary.unlink(missing_ok=True)
    world.binary.symlink_to(world.backup)


def signal_worker(world: World, name: str, number: int) -> None:
    """To all of a worker's group at once, as the kernel sends SIGKILL when memory is short."""
    signal_group(pid_of(world, name), number)


def stop(world: World) -> list[str]:
    """Ends everything, first Airflow, then what it talks to. Names what was left behind."""
    for names in (NAMES[len(SERVERS) :], SERVERS):
        for name in names:
            signal_group(pid_of(world, name), END.get(name, signal.SIGTERM))
        ends = time.monotonic() + STOP_LIMIT
        for name in names:
            while is_alive(pid_of(world, name)) and time.monotonic() < ends:
                time.sleep(0.1)
            if is_alive(pid_of(world, name)):
                print(f"{name} did not end within {STOP_LIMIT} s, and is killed")
            signal_group(pid_of(world, name), signal.SIGKILL)
            (world.folder / "pids" / name).unlink(missing_ok=True)
    time.sleep(0.5)
    left = [describe(pid) for pid in processes(world)]
    for pid in processes(world):
        signal_one(pid, signal.SIGKILL)
    return left


def running(world: World) -> list[str]:
    return [name for name in NAMES if is_alive(pid_of(world, name))]


def wait_for(what: str, is_so: Callable[[], bool], limit: float = START_LIMIT) -> None:
    """Asks until it is so, or raises an error that says what did not happen."""
    ends = time.monotonic() + limit
    while not is_so():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {limit:.0f} s")
        time.sleep(0.3)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def log(world: World, name: str) -> str:
    return (world.folder / "log" / f"{name}.log").read_text(errors="replace")


def pid_of(world: World, name: str) -> int:
    """0 where it does not run."""
    try:
        return int((world.folder / "pids" / name).read_text())
    except OSError:
        return 0


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def passwd(name: str) -> tuple[int, int]:
    entry = pwd.getpwnam(name)
    return entry.pw_uid, entry.pw_gid
