"""What must hold on a whole Airflow, each as a function that raises when it does not."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import daemons
import troubles
from chromium import Chromium
from job import Job, check, fill, seconds_until
from processes import orphans, processes
from world import PACKAGE, World

FILES = 50_000
SHARDS = 8
REPOSITORY = PACKAGE.parent


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
    known = {daemons.pid_of(world, name) for name in daemons.NAMES}
    took = seconds_until(lambda: not orphans(world, known), "nothing is left of worker-b", 15)
    print(
        f"    worker-b, which has the shards {victims}, is killed; nothing is left of it {took:.1f} s later"
    )
    print(f"    {job.bucket.count(job.prefix)} of {FILES} files are in the bucket")
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
    # What was put and not yet told when the worker died is found in the bucket by the second try.
    put = report["uploaded"]["files"] + report["unchanged"]["files"]
    check(report["found"]["files"] == put == FILES, "and has every file once")
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
    for trouble in troubles.ALL:
        print(f"  {trouble.__name__}: {trouble.__doc__}", flush=True)
        try:
            trouble(world)
        except AssertionError as error:
            print(f"    NOT: {error}", flush=True)
            wrong.append(trouble.__name__)
    check(not wrong, f"all of them: {wrong}")


def kill(world: World) -> None:
    """A task that is killed from the UI leaves no process behind, and the next try resumes."""
    job = Job(world, "kill")
    fill(job.source, 200, 1_000)
    (job.source / "large.bin").write_bytes(os.urandom(96 << 20))
    job.configure(transfer='bandwidth = "4 MiB/s"')
    job.start()
    daemons.wait_for("two parts", lambda: job.bucket.parts(job.prefix) >= 2)
    job.airflow.mark_failed("s3_upload", job.prefix, "upload")
    took = seconds_until(lambda: not processes(world, "backup"), "no process of it is left", 10)
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
        browser.open(f"{run}/tasks/commit/xcom", 1280, 900)
        browser.wait_for("document.body.innerText.includes('s3backup_report')")
        browser.evaluate("document.querySelector('button[aria-label^=\"Expand all\"]')?.click()")
        take(browser, images / "airflow-report.png")
        browser.open(run, 1280, 720)
        browser.wait_for("document.body.innerText.includes('commit')")
        browser.evaluate("document.querySelector('button[aria-label^=\"Show Graph\"]').click()")
        take(browser, images / "airflow-graph.png")
    job.airflow.switch(dag, on=False)


def take(browser: Chromium, file: Path) -> None:
    time.sleep(5)  # it moves things about
    browser.picture(file)
    print(f"    {file}")


ALL: dict[str, Callable[[World], None]] = {"sharded": sharded, "once": once, "kill": kill, "screens": screens}
