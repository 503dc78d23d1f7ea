"""A whole Airflow on this machine, and what must hold on it.

Airflow 3 with CeleryExecutor, Redis and PostgreSQL: API server, scheduler, DAG processor, triggerer and two
workers, with SeaweedFS as the bucket and a Slack that takes every message. All of it listens on loopback and
keeps to one folder.

    python airflow/tests/stack all       brings it up, runs every scenario, takes it down
    python airflow/tests/stack up        leaves it up, for `sharded`, `once`, `kill`, `screens` one by one
    python airflow/tests/stack down

Each scenario prints what it saw and ends with PASS or FAIL, which is the exit code. The Python that runs this
has boto3: `eval "$(cargo xtask tools)"` names one in S3BACKUP_TEST_PYTHON.
"""

import argparse
import os
import subprocess
import sys
import traceback
import venv
from pathlib import Path

import daemons
import scenarios
from world import HERE, PACKAGE, World

REPOSITORY = PACKAGE.parent


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="stack", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache = os.environ.get("S3BACKUP_CACHE_DIR") or Path.home() / ".cache" / "s3backup"
    parser.add_argument(
        "--folder", type=Path, default=Path(cache) / "stack", help="where all of it lies [%(default)s]"
    )
    parser.add_argument(
        "--backup", type=Path, default=REPOSITORY / "target" / "release" / "backup", help="[%(default)s]"
    )
    parser.add_argument(
        "--airflow", type=Path, help="a Python that has Airflow and the provider [made in the folder]"
    )
    parser.add_argument("command", choices=("up", "down", "all", *scenarios.ALL))
    given = parser.parse_args()
    if not given.backup.is_file():
        sys.exit(
            f"{given.backup} is missing: build it with `cargo build --release`, or name another with --backup"
        )
    given.folder.mkdir(parents=True, exist_ok=True)
    folder = given.folder.resolve()
    world = World.at(folder, given.backup.resolve(), given.airflow or python_with_airflow(folder / "venv"))
    match given.command:
        case "up":
            up(world)
            print(f"up: {world.api} (Airflow), {world.s3} (bucket)")
            return 0
        case "down":
            return down(world)
        case "all":
            try:
                up(world)
                failed = [name for name in scenarios.ALL if not passes(world, name)]
            finally:
                code = down(world)
            return 1 if failed else code
        case name:
            return 0 if passes(world, name) else 1


def up(world: World) -> None:
    daemons.start(world)
    scenarios.first_runs(world)


def passes(world: World, name: str) -> bool:
    print(f"{name}:", flush=True)
    try:
        scenarios.ALL[name](world)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print(f"FAIL {name}", flush=True)
        return False
    print(f"PASS {name}", flush=True)
    return True


def down(world: World) -> int:
    left = daemons.stop(world)
    for process in left:
        print(f"left behind, and killed now: {process}")
    print("FAIL down" if left else "down: no process is left")
    return 1 if left else 0


def python_with_airflow(place: Path) -> Path:
    """A virtual environment with the pinned Airflow and the provider as it is in this clone."""
    python = place / "bin" / "python"
    done = place / "done"
    if not done.exists():
        print(f"installing Airflow into {place}", flush=True)
        venv.create(place, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(HERE / "requirements.txt")], check=True)
        subprocess.run([*pip, "--no-deps", "--editable", str(PACKAGE)], check=True)
        done.touch()
    return python


if __name__ == "__main__":
    sys.exit(main())
