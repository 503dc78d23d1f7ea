"""The operators: a whole run, and the pieces of a run that is spread over many workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_s3backup._compat import AirflowFailException, BaseOperator, Context
from airflow_provider_s3backup.hook import S3BackupHook
from airflow_provider_s3backup.links import S3BackupStatusLink
from airflow_provider_s3backup.outcome import OnPartial, check_on_partial, raise_unless_done, report_of
from airflow_provider_s3backup.process import Finished
from airflow_provider_s3backup.runs_binary import RunsBinary, keep
from airflow_provider_s3backup.settings import tells_people

#: Where the report of a run is in XCom, also when the task failed.
REPORT_KEY = "s3backup_report"
#: Where the plan of a run is in XCom.
PLAN_KEY = "s3backup_plan"


class S3BackupBaseOperator(RunsBinary, BaseOperator):
    """What all operators have in common.

    :param s3backup_conn_id: a connection of the type `s3backup`; `None` for none
    :param config: path of `backup.toml` on the worker, in place of the connection's
    :param job: which job of the file, in place of the connection's
    :param on_partial: what becomes of the task when some files could not be backed up: `fail` (and so another
        try) or `succeed`, as people have been told
    """

    template_fields: Sequence[str] = ("s3backup_conn_id", "config", "job")
    operator_extra_links = (S3BackupStatusLink(),)
    ui_color = "#e4f0e8"

    #: Whether the binary tells people when this part of a run fails.
    _alerts: ClassVar[bool] = True
    #: Whether the binary prints a document when all went well.
    _prints: ClassVar[bool] = True

    def __init__(
        self,
        *,
        s3backup_conn_id: str | None = S3BackupHook.default_conn_name,
        config: str | None = None,
        job: str | None = None,
        on_partial: OnPartial = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_on_partial(on_partial)
        self.s3backup_conn_id = s3backup_conn_id
        self.config = config
        self.job = job
        self.on_partial = on_partial

    def arguments(self) -> list[str]:
        """Return the command of the binary, and what it needs to know."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Run the binary, put its report into XCom, and fail if it did not do what it should."""
        finished = self.run_binary(
            *self.arguments(), when_finished=lambda finished: self._keep(context, finished)
        )
        raise_unless_done(finished, self.on_partial, needs_document=self._prints)
        return self.result(context, finished)

    def result(self, context: Context, finished: Finished) -> Any:  # noqa: ARG002
        """Return what the task returns."""
        return self._report(finished)

    def _report(self, finished: Finished) -> dict[str, Any] | None:
        hook = self.hook
        return report_of(finished, tells=self._alerts and tells_people(hook.config, hook.job))

    def _keep(self, context: Context, finished: Finished) -> None:
        report = self._report(finished)
        if report is not None and "outcome" in report:
            keep(context, REPORT_KEY, report, self.log)


class S3BackupOperator(S3BackupBaseOperator):
    """A whole run: `backup run`. Returns the run report.

    :param force: go on where a run would stop to ask, as when more known files changed at once than `[guard]`
        allows
    :param steps: whether to run the steps; not where they are tasks before this one
    :param facts: path of a file on the worker with lines `label: value`, for the report and for the message
        to people: what tasks before this one wrote where `BACKUP_FACTS` says
    """

    template_fields: Sequence[str] = (*S3BackupBaseOperator.template_fields, "force", "facts")

    def __init__(
        self,
        *,
        force: bool | str = False,
        steps: bool = True,
        facts: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.force = force
        self.steps = steps
        self.facts = facts

    def arguments(self) -> list[str]:  # noqa: D102
        steps = [] if self.steps else ["--no-steps"]
        facts = ["--facts", self.facts] if self.facts else []
        return ["run", "--trigger", "airflow", *steps, *facts, *_force(self.force)]


class S3BackupStepsOperator(S3BackupBaseOperator):
    """The steps of a job alone: `backup steps`. The next plan reports them."""

    _prints = False

    def arguments(self) -> list[str]:  # noqa: D102
        return ["steps"]


class S3BackupPlanOperator(S3BackupBaseOperator):
    """Begins a run and divides it: `backup plan --shards`. Returns the URIs of the shards, to expand over.

    It runs on the machine that has the job's catalog. The whole plan is in XCom under `s3backup_plan`; its
    field `plan` is what `S3BackupCommitOperator` wants.

    :param shards: into how many parts, of which some may be empty. Airflow maps over at most 1,024
        (`[core] max_map_length`)
    :param out: where the lists of files lie, a folder that all workers share or an URI; by default in the
        bucket
    :param expires: how long the plan holds, such as `10h`; no other run of the job begins while it does
    :param force: as of `S3BackupOperator`
    """

    template_fields: Sequence[str] = (
        *S3BackupBaseOperator.template_fields,
        "shards",
        "out",
        "expires",
        "force",
    )

    def __init__(
        self,
        *,
        shards: int | str,
        out: str | None = None,
        expires: str | None = None,
        force: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shards = shards
        self.out = out
        self.expires = expires
        self.force = force

    def arguments(self) -> list[str]:  # noqa: D102
        out = ["--out", self.out] if self.out else []
        expires = ["--expires", self.expires] if self.expires else []
        return [
            "plan",
            "--shards",
            str(self.shards),
            "--trigger",
            "airflow",
            *out,
            *expires,
            *_force(self.force),
        ]

    def result(self, context: Context, finished: Finished) -> list[str]:  # noqa: D102
        keep(context, PLAN_KEY, finished.document, self.log)
        return [shard["uri"] for shard in finished.document["shards"]]


class S3BackupShardOperator(S3BackupBaseOperator):
    """One shard of a plan: `backup run --shard`, on any worker that sees the sources. Returns its report.

    A shard may be run any number of times; what it had sent before is not sent again. It tells nobody, as the
    commit tells of the run as a whole.

    :param uri: of the shard
    """

    template_fields: Sequence[str] = (*S3BackupBaseOperator.template_fields, "uri")
    _alerts = False

    def __init__(self, *, uri: str, **kwargs: Any) -> None:
        kwargs.setdefault("map_index_template", "shard {{ task.uri.split('/')[-1] }}")
        super().__init__(**kwargs)
        self.uri = uri

    def arguments(self) -> list[str]:  # noqa: D102
        return ["run", "--shard", self.uri]


class S3BackupCommitOperator(S3BackupBaseOperator):
    """Ends a run that was spread: `backup commit`, on any machine. Returns the report of the whole run.

    It refuses, and tells people, when a shard is missing. So let it run when shards have failed, and not when
    the plan has: `[plan, shards] >> commit` with the trigger rule `all_done_min_one_success`.

    :param plan: URI of the plan, or the id of its run
    """

    template_fields: Sequence[str] = (*S3BackupBaseOperator.template_fields, "plan")

    def __init__(self, *, plan: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def arguments(self) -> list[str]:  # noqa: D102
        if not self.plan:
            raise AirflowFailException("There is no plan to commit: the task that makes it did not succeed.")
        return ["commit", self.plan]


def _force(force: bool | str) -> list[str]:
    """Read a flag that may come from a template, where it is text."""
    return ["--force"] if str(force).lower() == "true" else []
