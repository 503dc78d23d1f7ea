"""Whether two workers are twice as fast as one where the line is the limit: `bandwidth.py BACKUP`, as root.

Each worker is a network namespace whose way to the bucket carries 100 Mbit/s and no more, as the kernel sees
to it. A run of 256 MiB in 8 shards, plan and commit included, is measured with one worker and with two, three
times each in turn. It passes if two take at most 0.6 of the time of one.
"""

import contextlib
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FILES, FILE_BYTES, SHARDS, ROUNDS = 256, 1 << 20, 8, 3
RATE = "100mbit"
MOST = 0.6
WORKERS = ("worker-0", "worker-1")


def main() -> int:
    if os.environ.get("ISOLATED") is None:
        # A network of its own: nothing of it is seen from outside, and nothing is left when this ends.
        os.environ["ISOLATED"] = "yes"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, __file__, *sys.argv[1:]])
    backup = Path(sys.argv[1]).resolve()
    folder = Path(tempfile.mkdtemp(prefix="bandwidth-"))
    weed = None
    try:
        network()
        weed = bucket(folder)
        fill(folder / "data")
        times: dict[int, list[float]] = {1: [], 2: []}
        for number in range(ROUNDS):
            for count in times:
                times[count].append(measure(backup, folder, f"run-{number}-{count}", WORKERS[:count]))
                print(f"{count} worker{'s' * (count > 1)}: {times[count][-1]:.1f} s", flush=True)
        one, two = (statistics.median(times[count]) for count in (1, 2))
        print(f"medians {one:.1f} s and {two:.1f} s: {two / one:.2f} of the time of one")
        print("PASS bandwidth" if two / one <= MOST else "FAIL bandwidth")
        return 0 if two / one <= MOST else 1
    finally:
        if weed is not None:
            weed.terminate()
            weed.wait()
        shutil.rmtree(folder)


def network() -> None:
    """The bucket's side is in the namespace of this process, each worker's in its own."""
    run("mount", "-t", "tmpfs", "none", "/run")  # where the names of namespaces are kept
    run("ip", "link", "set", "lo", "up")
    for number, name in enumerate(WORKERS):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{number}", "type", "veth", "peer", "name", "line", "netns", name)
        run("ip", "address", "add", f"10.99.{number}.1/24", "dev", f"to-{number}")
        run("ip", "link", "set", f"to-{number}", "up")
        inside = ("ip", "netns", "exec", name)
        run(*inside, "ip", "address", "add", f"10.99.{number}.2/24", "dev", "line")
        run(*inside, "ip", "link", "set", "line", "up")
        run(
            *inside,
            "tc",
            "qdisc",
            "add",
            "dev",
            "line",
            "root",
            "tbf",
            "rate",
            RATE,
            "burst",
            "64kb",
            "latency",
            "100ms",
        )


def bucket(folder: Path) -> subprocess.Popen:
    weed = os.environ.get("S3BACKUP_TEST_WEED") or "weed"
    (folder / "s3").mkdir()
    log = (folder / "weed.log").open("wb")
    flags = (
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=0.0.0.0",
        f"-dir={folder}/s3",
        "-volume.max=100",
        "-s3",
        "-s3.port=8333",
    )
    server = subprocess.Popen([weed, *flags], stdout=log, stderr=log)
    ends = time.monotonic() + 60
    while (
        subprocess.run(["curl", "-s", "-X", "PUT", "http://127.0.0.1:8333/fleet"], check=False).returncode
        != 0
    ):
        if time.monotonic() > ends:
            raise TimeoutError((folder / "weed.log").read_text())
        time.sleep(0.5)
    return server


def fill(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        (folder / f"trip-{number:04}.bin").write_bytes(os.urandom(FILE_BYTES))


def measure(backup: Path, folder: Path, name: str, workers: tuple[str, ...]) -> float:
    """Seconds from the plan to the end of the commit."""
    begun = time.monotonic()
    # The plan and the commit go over the first worker's line, as they would on its machine.
    planned = inside(workers[0], backup, configuration(folder, name, 0), "plan", "--shards", str(SHARDS))
    shards: queue.SimpleQueue[str] = queue.SimpleQueue()
    for uri in planned.split():
        shards.put(uri)
    plan = planned.split()[0].rpartition("/")[0]

    def work(number: int) -> None:
        config = configuration(folder, name, number)
        with contextlib.suppress(queue.Empty):
            while True:
                inside(workers[number], backup, config, "run", "--shard", shards.get_nowait())

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(work, range(len(workers))))
    inside(workers[0], backup, configuration(folder, name, 0), "commit", plan)
    return time.monotonic() - begun


def configuration(folder: Path, name: str, number: int) -> Path:
    """A job of its own for each measurement; the address of the bucket is another at each end."""
    place = folder / f"{name}-{number}"
    place.mkdir(exist_ok=True)
    (place / "backup.toml").write_text(f"""
job = "bandwidth"
host = "{name}"
state_dir = "{folder}/{name}/state"
[[source]]
path = "{folder}/data"
min_age = "0s"
[destination]
bucket = "fleet"
prefix = "{name}"
endpoint = "http://10.99.{number}.1:8333"
region = "us-east-1"
""")
    return place / "backup.toml"


def inside(worker: str, backup: Path, config: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(config.parent), "NO_COLOR": "1"}
    environment |= {"AWS_ACCESS_KEY_ID": "stack", "AWS_SECRET_ACCESS_KEY": "stack-secret"}
    return run(
        "ip",
        "netns",
        "exec",
        worker,
        str(backup),
        "--config",
        str(config),
        "--quiet",
        *arguments,
        env=environment,
    )


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
