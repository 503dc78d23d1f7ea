"""Exit code and report, and what becomes of the task."""

from __future__ import annotations

import pytest

from airflow_provider_s3backup._compat import AirflowException, AirflowFailException
from airflow_provider_s3backup.outcome import check_on_partial, describe, raise_unless_done, report_of
from airflow_provider_s3backup.process import Finished

SUCCESS = {"outcome": "success", "run_id": "R"}
PARTIAL = {
    "outcome": "partial",
    "run_id": "R",
    "failed_total": 30,
    "failed": [{"path": f"f{n}", "kind": "unreadable"} for n in range(30)],
}


def finished(code, document=None, *, killed=False, untold=False):
    return Finished(code, document, was_terminated=killed, nobody_was_told=untold)


def test_a_success_is_one():
    raise_unless_done(finished(0, SUCCESS))
    raise_unless_done(finished(0), needs_document=False)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (finished(3, PARTIAL), "Some files are not in the bucket. 30 failed: f0 (unreadable)"),
        (finished(3, SUCCESS | {"alerts": {"refused": 1, "why": "invalid_auth"}}), "nobody can be told"),
        (finished(1, {"outcome": "failed", "fatal": {"message": "no bucket"}}), "no bucket"),
        (finished(11, {"outcome": "failed"}), "Another run"),
        (finished(130, {"outcome": "interrupted"}), "exit code 130"),
        (finished(-9), "ended by signal 9"),
        (finished(0, SUCCESS, killed=True), "was stopped"),
        (finished(0, None), "no report"),
        (finished(0, PARTIAL), "'partial'"),
    ],
)
def test_everything_else_fails_and_may_be_tried_again(end, says):
    with pytest.raises(AirflowException) as raised:
        raise_unless_done(end)
    assert says in str(raised.value)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_wrong_configuration_is_not_tried_again():
    with pytest.raises(AirflowFailException, match="no such file"):
        raise_unless_done(finished(2, {"outcome": "failed", "fatal": {"message": "no such file"}}))


def test_partial_may_be_a_success_but_not_if_nobody_can_be_told():
    raise_unless_done(finished(3, PARTIAL), "succeed")
    with pytest.raises(AirflowException):
        raise_unless_done(finished(3, SUCCESS | {"alerts": {"refused": 1}}), "succeed")
    with pytest.raises(ValueError, match="skip"):
        check_on_partial("skip")


def test_what_is_kept_is_bounded():
    kept = report_of(finished(3, PARTIAL), tells=True)
    assert len(kept["failed"]) == 20
    assert (kept["failed_total"], kept["exit_code"], kept["told"]) == (30, 3, True)
    assert len(PARTIAL["failed"]) == 30


@pytest.mark.parametrize(
    ("end", "tells"),
    [
        (finished(1, {"outcome": "failed"}), False),
        (finished(1, {"outcome": "failed"}, untold=True), True),
        (finished(11, {"outcome": "failed"}), True),
        (finished(3, SUCCESS | {"alerts": {"refused": 1}}), True),
    ],
)
def test_it_knows_when_nobody_was_told(end, tells):
    assert report_of(end, tells=tells)["told"] is False


def test_odd_reports_do_no_harm():
    assert describe(None) == ""
    assert describe([1]) == ""
    assert describe({"fatal": None, "failed_total": 2, "failed": []}) == "2 failed:  and 2 more."
