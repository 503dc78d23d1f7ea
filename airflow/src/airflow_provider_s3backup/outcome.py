"""From the way in which the binary ended to what Airflow makes of the task. Pure."""

from __future__ import annotations

from typing import Any, Literal, get_args

from airflow_provider_s3backup._compat import AirflowException, AirflowFailException
from airflow_provider_s3backup.process import Finished

#: The binary's exit codes that mean something particular here.
SUCCESS, USAGE, PARTIAL, DIFFERS, LOCKED = 0, 2, 3, 4, 11

#: What becomes of a task when some files could not be backed up: it fails and is tried again, or it succeeds,
#: as the binary has told people.
OnPartial = Literal["fail", "succeed"]

#: How many failed files are kept in XCom and named in a message; the report in the bucket has a thousand.
FAILURES_KEPT = 20
_FAILURES_NAMED = 3


def check_on_partial(value: str) -> None:
    """Refuse anything that is not an `OnPartial`."""
    if value not in get_args(OnPartial):
        raise ValueError(f"on_partial is {value!r}: it must be one of {', '.join(get_args(OnPartial))}")


def report_of(finished: Finished, *, tells: bool) -> dict[str, Any] | None:
    """Return the report of a run as it is kept in XCom, or `None` without one.

    Two fields are this package's own: `exit_code`, and `told`: whether the binary has told people, or will.

    :param tells: whether the binary has a way to tell people of this run
    """
    if not isinstance(finished.document, dict):
        return None
    report = dict(finished.document)
    if isinstance(report.get("failed"), list):
        report["failed"] = report["failed"][:FAILURES_KEPT]
    refused = (report.get("alerts") or {}).get("refused", 0)
    told = tells and not finished.nobody_was_told and not refused and finished.exit_code != LOCKED
    return report | {"exit_code": finished.exit_code, "told": told}


def raise_unless_done(
    finished: Finished, on_partial: OnPartial = "fail", *, needs_document: bool = True
) -> None:
    """Raise what makes the task fail, unless the binary did what it should.

    :param on_partial: what becomes of a run that left files out
    :param needs_document: whether the binary must also have printed its result
    :raises AirflowFailException: the configuration or the call is wrong, so that another try would end the
        same way
    :raises AirflowException: another try may succeed
    """
    code, document = finished.exit_code, finished.document
    why = describe(document) or "Its log above says why."
    if finished.was_terminated:
        raise AirflowException(f"The backup was stopped; the next try goes on where it was. {why}")
    if code == USAGE:
        raise AirflowFailException(f"Wrong configuration or call, which no other try mends. {why}")
    if code == LOCKED:
        raise AirflowException(
            f"Another run of this job is going on (exit code 11); a later try may do it. {why}"
        )
    if code == PARTIAL:
        if isinstance(document, dict) and document.get("outcome") == "success":
            raise AirflowException(f"All files are in the bucket, but nobody can be told of anything. {why}")
        if on_partial == "succeed":
            return
        raise AirflowException(f"Some files are not in the bucket. {why}")
    if code != SUCCESS:
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise AirflowException(f"The backup {ended}. {why}")
    if needs_document and not isinstance(document, dict):
        raise AirflowException(
            "The backup ended with exit code 0 and printed no report: is this binary s3backup's?"
        )
    if isinstance(document, dict) and document.get("outcome", "success") != "success":
        raise AirflowException(
            f"The backup ended with exit code 0 and reports {document['outcome']!r}. {why}"
        )


def describe(report: Any) -> str:
    """Say in a line what a report says went wrong; nothing if there is none."""
    if not isinstance(report, dict):
        return ""
    said = []
    if message := (report.get("fatal") or {}).get("message"):
        said.append(f"{message}.")
    if total := report.get("failed_total"):
        named = [f"{f.get('path')} ({f.get('kind')})" for f in report.get("failed", [])[:_FAILURES_NAMED]]
        more = f" and {total - len(named)} more" if total > len(named) else ""
        said.append(f"{total} failed: {', '.join(named)}{more}.")
    if why := (report.get("alerts") or {}).get("why"):
        said.append(f"Alerts: {why}.")
    if run_id := report.get("run_id"):
        said.append(f"Run {run_id}.")
    return " ".join(said)
