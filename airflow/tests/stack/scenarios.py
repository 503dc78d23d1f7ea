"""What must hold on a whole Airflow, each as a function that raises when it does not."""

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import daemons
import slack
from bucket import Bucket
from chromium import Chromium
from rest import Airflow
from world import BUCKET, PACKAGE, World

FILES = 50_000
SHARDS = 8
SETTLED = 12  # seconds after a DAG run has ended until its callbacks have, too
KOREA = ZoneInfo("Asia/Seoul")
REPOSITORY = PACKAGE.parent


class Job:
    """A job of its own for a scenario: its files, its configuration, its place in the bucket."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        # A run of the scenario before this one has left nothing that this one could find.
        self.prefix = f"{name}-{datetime.now(UTC):%H%M%S}"
        self.folder = world.folder / "job" / self.prefix
        self.source = daemons.made(self.folder / "data")
        self.bucket = Bucket(world)
        self.airflow = Airflow(world)
        self.slack = world.folder / "slack.jsonl"
        self.slack.unlink(missing_ok=True)

    @property
    def control(self) -> str:
        return f"{self.prefix}/.s3backup/{self.name}/stack/"

    def configure(
        self, transfer: str = "", schedule: str = 'cron = "0 20 * * *"', on: list[str] | None = None
    ) -> None:
        """Writes backup.toml, which the DAGs read when they are parsed and the workers when they run."""
        text = f"""
job = "{self.name}"
host = "stack"
timezone = "Asia/Seoul"
state_dir = "{self.folder}/state"

[[source]]
path = "{self.source}"
min_age = "0s"

[destination]
bucket = "{BUCKET}"
prefix = "{self.prefix}"
region = "us-east-1"
endpoint = "{self.world.s3}"

[transfer]
{transfer}

[schedule]
{schedule}

[slack]
channel = "#stack"
token_env = "SLACK_BOT_TOKEN"
api_url = "http://127.0.0.1:{self.world.ports["slack"]}/api"
on = {json.dumps(on or ["failed", "partial", "late", "long_running", "success", "recovered"])}

[logging]
dir = "{self.folder}/log"
"""
        new = self.world.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.world.config)
        self.configured_at = datetime.now(UTC)

    def report(self) -> dict:
        """The newest run report in the bucket."""
        return self.bucket.reports(self.control)[-1]

    def told(self) -> list[str]:
        """The first line of each message that is new in the channel."""
        return [message.get("text", "") for message in slack.messages(self.slack)]

    def start(self) -> None:
        """Triggers `s3_upload`, and returns when the binary works."""
        self.wait_until_parsed("s3_upload")
        self.airflow.trigger("s3_upload", self.prefix)
        daemons.wait_for("the binary", lambda: bool(self.bucket.objects(f"{self.control}latest.json")))

    def run(self) -> str:
        """Triggers `s3_upload`, and returns the state in which it ended."""
        self.wait_until_parsed("s3_upload")
        self.airflow.trigger("s3_upload", self.prefix)
        state = self.airflow.wait("s3_upload", self.prefix)
        print(self.airflow.table("s3_upload", self.prefix))
        return state

    def is_told_once(self, word: str) -> None:
        """Nothing else comes once all callbacks are done, and the one message has this word."""
        time.sleep(SETTLED)
        told = self.told()
        check(len(told) == 1 and word in told[0], f"people were told once: {told}")

    def wait_until_parsed(self, dag: str) -> None:
        """Until Airflow has read the DAG with this configuration."""
        try:
            daemons.wait_for(f"DAG {dag}", lambda: self.airflow.parsed_at(dag) > self.configured_at, limit=60)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.airflow.import_errors()}") from error


def seconds_until(is_so: Callable[[], bool], what: str, limit: float) -> float:
    begun = time.monotonic()
    daemons.wait_for(what, is_so, limit)
    return time.monotonic() - begun


def check(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)
    print(f"    ok: {what}", flush=True)


def fill(folder: Path, files: int, size: int) -> None:
    """Files in folders of 500, no two the same."""
    for number in range(files):
        if number % 500 == 0:
            place = daemons.made(folder / f"vehicle-{number // 500:03}")
        line = f"{number:07} ".encode()
        (place / f"trip-{number:06}.json").write_bytes((line * (size // len(line) + 1))[:size])


def first_runs(world: World) -> None:
    """Lets each DAG have the run for the last due time that Airflow begins when a DAG is switched on."""
    job = Job(world, "first")
    fill(job.source, 1, 1_000)
    job.configure()
    for dag in ("s3_upload", "s3_upload_sharded"):
        job.wait_until_parsed(dag)
        job.airflow.switch(dag, on=True)
        daemons.wait_for(f"the first run of {dag}", lambda dag=dag: bool(job.airflow.runs(dag)))
        job.airflow.wait(dag, job.airflow.runs(dag)[0])
    # Both would back up the same job when it is due.
    job.airflow.switch("s3_upload_sharded", on=False)


def sharded(world: World) -> None:
    """50,000 files in 8 shards on two workers, one of which is killed in the middle: one correct run."""
    job = Job(world, "sharded")
    # So slow that there is a middle to kill it in.
    job.configure(transfer='bandwidth = "512 KiB/s"')
    fill(job.source, FILES, 2_000)
    dag, run = "s3_upload_sharded", job.prefix
    job.wait_until_parsed(dag)
    job.airflow.switch(dag, on=True)
    job.airflow.trigger(dag, run, {"shards": SHARDS})

    def running() -> list[dict]:
        return [
            task
            for task in job.airflow.tasks(dag, run)
            if task["task_id"] == "shard" and task["state"] == "running"
        ]

    daemons.wait_for(
        "shards on both workers", lambda: {task["hostname"] for task in running()} == set(daemons.WORKERS)
    )
    daemons.wait_for("a tenth of the files", lambda: job.bucket.count(job.prefix) > FILES / 10)
    victims = [task["map_index"] for task in running() if task["hostname"] == "worker-b"]
    daemons.signal_worker(world, "worker-b", signal.SIGKILL)
    sent = job.bucket.count(job.prefix)
    print(
        f"    worker-b, which has the shards {victims}, is killed; {sent} of {FILES} files are in the bucket"
    )
    took = seconds_until(
        lambda: not daemons.processes(world, worker="worker-b"), "nothing of worker-b is left", 10
    )
    print(f"    nothing of worker-b is left after {took:.1f} s")
    state = job.airflow.wait(dag, run, limit=600)
    print(job.airflow.table(dag, run))
    check(state == "success", f"the DAG run is a success: {state}")
    again = [
        task["map_index"]
        for task in job.airflow.tasks(dag, run)
        if task["task_id"] == "shard" and task["try_number"] > 1
    ]
    check(sorted(again) == sorted(victims), f"the shards of worker-b, and no others, were run twice: {again}")

    reports = job.bucket.reports(job.control)
    check(len(reports) == 1, f"there is one run: {[report['run_id'] for report in reports]}")
    report = reports[0]
    print(
        "   ", {name: report[name] for name in ("outcome", "uploaded", "unchanged", "retries", "duration_s")}
    )
    check(report["outcome"] == "success" and report["failed_total"] == 0, "its report says success")
    check(report["found"]["files"] == report["uploaded"]["files"] == FILES, "and has every file once")
    wrong = job.bucket.differences(job.source, job.prefix)
    check(not wrong, f"the bucket has the same names and bytes as the source, as boto3 sees it: {wrong[:3]}")
    check(not job.bucket.objects(f"{job.control}plans/"), "nothing of the plan is left")
    latest = job.bucket.json(f"{job.control}latest.json")
    check(latest["state"] == "idle" and not latest.get("plan"), "the lease has ended")
    check(len(job.told()) == 1, f"people were told once: {job.told()}")

    daemons.start_worker(world, "worker-b")
    job.configure()
    job.airflow.trigger(dag, f"{run}-again", {"shards": SHARDS})
    state = job.airflow.wait(dag, f"{run}-again")
    report = job.report()
    check(
        state == "success" and report["uploaded"]["files"] == 0,
        f"the next run sends nothing: {report['uploaded']}",
    )
    check(report["unchanged"]["files"] == FILES, "and knows every file")
    job.airflow.switch(dag, on=False)


def once(world: World) -> None:
    """Whatever happens, people are told of it exactly once."""
    wrong = []
    for trouble in (failure, partial, timeout, timeout_of_airflow, killed, no_binary, late):
        print(f"  {trouble.__name__}: {trouble.__doc__}", flush=True)
        try:
            trouble(world)
        except AssertionError as error:
            print(f"    NOT: {error}", flush=True)
            wrong.append(trouble.__name__)
    check(not wrong, f"all of them: {wrong}")


def failure(world: World) -> None:
    """A source is missing: every try fails."""
    job = Job(world, "failure")
    job.source.rmdir()
    job.configure()
    check(job.run() == "failed", "the DAG run has failed")
    job.is_told_once("failed")


def partial(world: World) -> None:
    """A file cannot be backed up: every try leaves it out."""
    job = Job(world, "partial")
    fill(job.source, 20, 1_000)
    daemons.made(job.source / ".s3backup").joinpath("reserved").write_text(
        "its key would be that of control data"
    )
    job.configure()
    check(job.run() == "failed", "the DAG run has failed")
    check(job.bucket.count(job.prefix) == 20, "all others are in the bucket")
    job.is_told_once("partial")


def timeout(world: World) -> None:
    """The run takes longer than `max_runtime`, in every try."""
    job = Job(world, "timeout")
    fill(job.source, 1, 16 << 20)
    job.configure(transfer='bandwidth = "64 KiB/s"', schedule='cron = "0 20 * * *"\nmax_runtime = "4s"')
    check(job.run() == "failed", "the DAG run has failed")
    job.is_told_once("interrupted")


def timeout_of_airflow(world: World) -> None:
    """The DAG run takes longer than Airflow's `dagrun_timeout`."""
    job = Job(world, "dagrun-timeout")
    fill(job.source, 1, 16 << 20)
    job.configure(transfer='bandwidth = "64 KiB/s"')
    policy = world.folder / "policy.json"
    policy.write_text(json.dumps({"dag": "s3_upload", "dagrun_timeout_s": 15}))
    try:
        check(job.run() == "failed", "the DAG run has failed")
    finally:
        policy.unlink()
    job.is_told_once("interrupted")


def killed(world: World) -> None:
    """Somebody marks the task as failed."""
    job = Job(world, "killed")
    fill(job.source, 1, 16 << 20)
    job.configure(transfer='bandwidth = "64 KiB/s"')
    job.start()
    job.airflow.mark_failed("s3_upload", job.prefix, "upload")
    check(job.airflow.wait("s3_upload", job.prefix) == "failed", "the DAG run has failed")
    job.is_told_once("interrupted")


def no_binary(world: World) -> None:
    """There is no binary on the worker: it cannot tell, so Airflow must."""
    job = Job(world, "no-binary")
    fill(job.source, 1, 1_000)
    job.configure()
    world.binary.unlink()
    try:
        check(job.run() == "failed", "the DAG run has failed")
        job.is_told_once("Airflow")
    finally:
        daemons.link(world)


def late(world: World) -> None:
    """No worker takes the task: the deadline of the DAG and the monitor notice the same."""
    job = Job(world, "late")
    fill(job.source, 10, 1_000)
    due = datetime.now(KOREA).replace(second=0, microsecond=0) + timedelta(minutes=2)
    job.configure(
        schedule=f'cron = "{due.minute} {due.hour} * * *"\ndeadline = "20s"', on=["failed", "partial", "late"]
    )
    check(job.run() == "success", "a run before the due time succeeds")
    for worker in daemons.WORKERS:
        daemons.signal_worker(world, worker, signal.SIGSTOP)
    try:
        # Airflow begins the run that is due by itself, and nobody takes its task.
        daemons.wait_for("a message", lambda: bool(job.told()))
        print(f"    told {datetime.now(KOREA) - due} after the due time, of which 20 s are the deadline")
        for _ in range(2):
            code = daemons.code_of(world, str(world.backup), "--config", str(world.config), "monitor")
            check(code == 4, f"the monitor says the same on this machine: exit code {code}")
    finally:
        for worker in daemons.WORKERS:
            daemons.signal_worker(world, worker, signal.SIGCONT)
    state = job.airflow.wait("s3_upload", job.airflow.runs("s3_upload")[0])
    check(state == "success", "once there are workers again, the run that was due succeeds")
    job.airflow.switch("s3_upload_monitor", on=True)
    job.airflow.trigger("s3_upload_monitor", job.prefix)
    check(job.airflow.wait("s3_upload_monitor", job.prefix) == "success", "and the monitor is content")
    job.is_told_once("late")


def kill(world: World) -> None:
    """A task that is killed from the UI leaves no process behind, and the next try resumes."""
    job = Job(world, "kill")
    fill(job.source, 200, 1_000)
    (job.source / "large.bin").write_bytes(os.urandom(96 << 20))
    job.configure(transfer='bandwidth = "4 MiB/s"')
    job.start()
    daemons.wait_for("two parts", lambda: job.bucket.parts(job.prefix) >= 2)
    job.airflow.mark_failed("s3_upload", job.prefix, "upload")
    took = seconds_until(lambda: not daemons.processes(world, "backup"), "no process of it is left", 10)
    print(f"    no process of it is left after {took:.1f} s")
    check(job.airflow.wait("s3_upload", job.prefix) == "failed", "the DAG run has failed")
    check(job.report()["outcome"] == "interrupted", "the report says that it was interrupted")
    job.configure()
    job.airflow.clear("s3_upload", job.prefix, "upload")
    daemons.wait_for(
        "another try", lambda: job.airflow.state("s3_upload", job.prefix) not in ("failed", "success")
    )
    check(job.airflow.wait("s3_upload", job.prefix) == "success", "cleared, it succeeds")
    report = job.report()
    check(
        report["resumed_parts"] >= 2,
        f"and goes on with the large file: {report['resumed_parts']} parts were there already",
    )
    check(
        report["uploaded"]["files"] < 201,
        f"it sends only what is missing: {report['uploaded']['files']} files",
    )
    wrong = job.bucket.differences(job.source, job.prefix)
    check(not wrong, f"the bucket has the same names and bytes as the source: {wrong[:3]}")
    check(not job.bucket.open_uploads(job.prefix), "and no upload is open")


def screens(world: World) -> None:
    """Pictures of the grid and the graph of a sharded run, for the documentation."""
    job = Job(world, "telemetry")
    fill(job.source, 2_000, 2_000)
    job.configure()
    dag = "s3_upload_sharded"
    job.wait_until_parsed(dag)
    job.airflow.switch(dag, on=True)
    job.airflow.trigger(dag, job.prefix, {"shards": SHARDS})
    check(job.airflow.wait(dag, job.prefix) == "success", "the DAG run is a success")
    images = REPOSITORY / "docs" / "images"
    run = f"{world.api}/dags/{dag}/runs/{job.prefix}"
    with Chromium() as browser:
        browser.open(run, 1280, 720)
        browser.wait_for("document.body.innerText.includes('commit')")
        take(browser, images / "airflow-grid.png")
        browser.evaluate("document.querySelector('button[aria-label^=\"Show Graph\"]').click()")
        take(browser, images / "airflow-graph.png")
        browser.open(f"{run}/tasks/commit/xcom", 1280, 720)
        browser.wait_for("document.body.innerText.includes('s3backup_report')")
        take(browser, images / "airflow-report.png")
    job.airflow.switch(dag, on=False)


def take(browser: Chromium, file: Path) -> None:
    time.sleep(5)  # it moves things about
    browser.picture(file)
    print(f"    {file}")


ALL: dict[str, Callable[[World], None]] = {"sharded": sharded, "once": once, "kill": kill, "screens": screens}
