"""What can go wrong with a backup, each as a function. Whatever it is, people are told of it exactly once."""

import json
import signal
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import daemons
from job import Job, check, fill
from world import World

KOREA = ZoneInfo("Asia/Seoul")


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


ALL = (failure, partial, timeout, timeout_of_airflow, killed, no_binary, late)
