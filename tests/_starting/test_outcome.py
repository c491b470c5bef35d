"""What a task tells in the end, by what its attempt knows; `make mutation` runs these alone."""

from __future__ import annotations

from typing import Any

import pytest
from attempts import ACTIVATION, EXPORT, IMPORT, STORE, attempt, item, job, told
from conftest import TaskInstance

from airflow_omics._service.job_items import FAILED, FINISHED, JobItem
from airflow_omics._service.kind import Kind
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Finding, State
from airflow_omics._starting.outcome import Outcome, push_interrupted
from airflow_omics.exceptions import OmicsReadSetJobFailedError, OmicsRefusedError
from airflow_omics.jobs import ReadSetJob

X, Y, Z, STRANGER = "1000000001", "1000000002", "1000000003", "1000000009"
FIRST, SECOND, OLD = "2000000001", "2000000002", "2000000000"
ONE, TWO = "s3://b/1", "s3://b/2"

UNDER_WAY, MISSING = Finding(State.UNDER_WAY), Finding(State.MISSING)


def held(read_set_id: str, job_id: str | None = None) -> Finding:
    return Finding(State.HOLDS, read_set_id, job_id)


def ended(kind: Kind, found: dict[str, Finding], *jobs: ReadSetJob, **changes: Any) -> Attempt:
    """Return an attempt that is over, with what was found of its items, by name."""
    findings = {item(name).key: finding for name, finding in found.items()}
    known = {job.job_id: job for job in jobs}
    return attempt(kind, *found, findings=findings, jobs=known, is_current=True, **changes)


def sent(job_id: str, *names: str) -> dict[str, list[tuple[str, ...]]]:
    """Return with which items a job was started."""
    return {job_id: [item(name).key for name in names]}


def pushed(outcome: Outcome) -> dict[str, Any]:
    ti = TaskInstance()
    outcome.push({"ti": ti})
    return ti.xcoms


def failure(outcome: Outcome, *, accept_partial_failure: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return what the task fails with, and what it pushes for that."""
    ti = TaskInstance()
    error = outcome.error({"ti": ti}, accept_partial_failure=accept_partial_failure)
    return error, ti.xcoms


# --- the jobs that count


def test_success_is_told_by_the_jobs_that_did_it() -> None:
    mine = job(EXPORT, SECOND, told(Y, FINISHED), told(X, FINISHED), status_message="Fine")
    shared = job(EXPORT, FIRST, told(STRANGER, FAILED), told(Z, FINISHED), status_message="Some failed")
    old = job(EXPORT, OLD, told(X, FINISHED))
    found = {X: held(X, SECOND), Y: held(Y, SECOND), Z: held(Z, FIRST)}
    outcome = Outcome(ended(EXPORT, found, mine, shared, old, sent=sent(FIRST, X, Y, Z)))
    assert outcome.summaries == [
        job(EXPORT, FIRST, told(Z, FINISHED)).summary(),  # and not what is said of somebody else's read set
        mine.summary(),
    ]
    assert pushed(outcome) == {"read_set_ids": [X, Y, Z]}
    assert failure(outcome) == (None, {})


def test_a_missing_item_is_told_with_the_job_that_this_attempt_sent() -> None:
    before = job(EXPORT, OLD, told(X, FINISHED), told(Y, FAILED))
    now = job(EXPORT, FIRST, told(Y, "IN_PROGRESS"))
    attempt = ended(EXPORT, {X: held(X, OLD), Y: Finding(State.MISSING, job_id=OLD)}, before, now, sent=sent(FIRST, Y))
    assert Outcome(attempt).jobs == [before.about({(X,)}), now]


def test_what_a_job_should_tell_of_and_does_not_is_not_finished() -> None:
    silent, said = job(EXPORT, FIRST, told(X, FINISHED)), job(IMPORT, FIRST, status_message="Done")
    exported = ended(EXPORT, {X: held(X, FIRST), Y: MISSING}, silent, sent=sent(FIRST, X, Y))
    assert Outcome(exported).jobs == [job(EXPORT, FIRST, told(X, FINISHED), JobItem((Y,), "", Y))]
    imported = ended(IMPORT, {ONE: MISSING}, said, sent=sent(FIRST, ONE))
    (told_of,) = Outcome(imported).jobs
    assert told_of.items == (JobItem(item(ONE).key, "", None, None, ONE),)
    assert told_of.status_message == "Done"


def test_a_task_that_does_not_wait_tells_of_what_is_decided() -> None:
    running = job(ACTIVATION, FIRST, told(X, "IN_PROGRESS"), status="IN_PROGRESS")
    lost = Finding(State.MISSING, None, SECOND, "Read set is not found", is_hopeless=True)
    found = {X: Finding(State.UNDER_WAY, job_id=FIRST), Y: MISSING, STRANGER: lost, Z: held(Z)}
    failed = job(ACTIVATION, SECOND, told(STRANGER, FAILED))
    outcome = Outcome(ended(ACTIVATION, found, running, failed, running={FIRST}))
    assert outcome.jobs == [failed]
    assert pushed(outcome) == {"read_set_ids": [Z], "to_retry": [STRANGER]}


# --- failures


def test_a_failure_tells_what_failed_and_where() -> None:
    bad = job(EXPORT, FIRST, told(Y, FAILED, message="Torn"))
    left = job(EXPORT, SECOND, told(Z, "NOT_STARTED"), status="CANCELLED")
    good = job(EXPORT, OLD, told(X, FINISHED))
    found = {X: held(X, OLD), Y: Finding(State.MISSING, job_id=FIRST), Z: Finding(State.MISSING, job_id=SECOND)}
    attempt = ended(EXPORT, found, bad, left, good)
    outcome = Outcome(attempt)
    error, xcoms = failure(outcome)
    assert type(error) is OmicsReadSetJobFailedError
    assert (error.jobs, error.to_retry) == ((bad, left), [Y, Z])
    assert str(error) == str(OmicsReadSetJobFailedError([bad, left], attempt.hook.where))
    assert xcoms == {
        "failed_job": [good.summary(), bad.summary(), left.summary()],
        "failed_read_set_ids": [Y],
    }
    assert pushed(outcome) == {"read_set_ids": [X], "to_retry": [Y, Z]}


NO, NEVER = OmicsRefusedError("No."), OmicsRefusedError("Never.")
WHY = Finding(State.MISSING, why="Read set is DELETED", is_hopeless=True)


@pytest.mark.parametrize(
    ("kind", "found", "jobs", "changes", "said"),
    [
        (EXPORT, {X: MISSING, Y: MISSING}, (), {}, [f"Not seen to be done: {X}, {Y}."]),
        (
            ACTIVATION,
            {X: WHY, Y: MISSING, Z: WHY},
            (),
            {},
            [f"Read set is DELETED: {X}, {Z}.", f"Not seen to be done: {Y}."],
        ),
        (
            EXPORT,
            {X: WHY, Y: MISSING},
            (),
            {"refused": {(X,): NO}},
            [f"No. So no job was started for {X}.", f"Not seen to be done: {Y}."],
        ),
        (
            EXPORT,
            {X: MISSING, Y: MISSING},
            (),
            {"sent": sent(FIRST, X, Y)},
            [f"export job {FIRST} was started, and is not found: {X}, {Y}."],
        ),
        (
            IMPORT,
            {ONE: MISSING},
            (
                *(job(IMPORT, each, told(ONE, FAILED)) for each in (OLD, FIRST)),
                job(IMPORT, SECOND, told(ONE, FINISHED)),
            ),
            {},
            [f"{job(IMPORT, SECOND)} finished, and did not tell which read set it made: {ONE}."],
        ),
        (
            IMPORT,
            {ONE: MISSING, TWO: MISSING},
            (job(IMPORT, OLD, told(TWO, FINISHED)), job(IMPORT, SECOND, told(TWO, FAILED))),
            {"sent": sent(SECOND, ONE, TWO)},
            [],
        ),
    ],
    ids=["nothing", "why", "refused", "lost", "finished", "failed"],
)
def test_what_is_in_the_way_beside_failed_jobs(
    kind: Kind, found: Any, jobs: tuple[ReadSetJob, ...], changes: dict[str, Any], said: list[str]
) -> None:
    attempt = ended(kind, found, *jobs, **changes)
    error, _ = failure(Outcome(attempt))
    assert list(error.others) == said
    names_the_store = f"Sequence store {STORE}, {attempt.hook.where}"
    assert error.where == (attempt.hook.where if error.jobs else names_the_store)


def test_many_names_are_cut() -> None:
    names = [f"s3://b/{'x' * 900}/{number}" for number in range(3)]
    error, _ = failure(Outcome(ended(IMPORT, dict.fromkeys(names, MISSING))))
    assert error.others == (f"Not seen to be done: {names[0]}, and 2 more.",)


# --- refusals


def test_what_was_refused_is_raised_as_it_was() -> None:
    attempt = ended(EXPORT, {X: held(X), Y: MISSING, Z: MISSING}, refused={(Y,): NO, (Z,): OmicsRefusedError("No.")})
    error, xcoms = failure(Outcome(attempt))
    assert error is NO
    assert xcoms == {"failed_job": [], "failed_read_set_ids": []}


def test_different_refusals_are_told_in_a_line_each() -> None:
    error, _ = failure(Outcome(ended(EXPORT, {X: MISSING, Y: MISSING}, refused={(X,): NO, (Y,): NEVER})))
    assert type(error) is OmicsRefusedError
    assert str(error) == "No.\nNever."


def test_many_refusals_are_cut() -> None:
    refused: Any = {(name,): OmicsRefusedError(name * 90) for name in (X, Y, Z)}
    error, _ = failure(Outcome(ended(EXPORT, dict.fromkeys((X, Y, Z), MISSING), refused=refused)))
    assert str(error) == f"{X * 90}\nand 2 more"


def test_an_old_failure_of_what_is_refused_is_none_of_now() -> None:
    found = {X: Finding(State.MISSING, job_id=OLD), Y: Finding(State.MISSING, job_id=FIRST)}
    jobs = [job(EXPORT, OLD, told(X, FAILED)), job(EXPORT, FIRST, told(Y, FAILED))]
    error, _ = failure(Outcome(ended(EXPORT, found, *jobs, refused={(X,): NO})))
    assert error.jobs == (jobs[1],)
    assert error.others == (f"No. So no job was started for {X}.",)


# --- what may be missing


@pytest.mark.parametrize(
    ("found", "status", "refused", "is_accepted"),
    [
        ({X: held(X), Y: MISSING}, FAILED, {}, True),
        ({X: held(X), Y: MISSING}, "NOT_STARTED", {}, False),
        ({X: held(X), Y: MISSING}, FAILED, {(Y,): NO}, False),
        ({X: held(X), Y: MISSING, Z: MISSING}, FAILED, {}, False),
        ({Y: MISSING}, FAILED, {}, False),
    ],
    ids=["failed", "never finished", "refused", "of two one failed", "all failed"],
)
def test_only_what_jobs_failed_on_may_be_missing(
    found: dict[str, Finding], status: str, refused: Any, is_accepted: bool
) -> None:
    outcome = Outcome(ended(EXPORT, found, job(EXPORT, FIRST, told(Y, status)), refused=refused))
    error, xcoms = failure(outcome, accept_partial_failure=True)
    assert (error is None, xcoms == {}) == (is_accepted, is_accepted)
    assert failure(outcome)[0] is not None


# --- what is interrupted


def test_an_interrupted_export_or_import_takes_the_word_of_jobs() -> None:
    jobs = [job(IMPORT, job_id, told(TWO, FINISHED, of)) for job_id, of in [(OLD, STRANGER), (FIRST, X), (SECOND, Y)]]
    jobs.append(job(IMPORT, "2000000003", told(ONE, FAILED), told(TWO, FAILED)))
    names = {"s3://b/0": UNDER_WAY, TWO: UNDER_WAY, "s3://b/3": held(Z), ONE: MISSING}
    ti = TaskInstance()
    push_interrupted(ended(IMPORT, names, *jobs), {"ti": ti})
    assert ti.xcoms == {"read_set_ids": [Y, Z], "to_retry": [item("s3://b/0").source, item(ONE).source]}


def test_an_interrupted_activation_does_not() -> None:
    finished = job(ACTIVATION, FIRST, told(X, FINISHED))
    ti = TaskInstance()
    push_interrupted(ended(ACTIVATION, {X: UNDER_WAY, Y: held(Y)}, finished), {"ti": ti})
    assert ti.xcoms == {"read_set_ids": [Y], "to_retry": [X]}


def test_a_source_whose_read_set_is_not_told_is_not_done_when_the_task_is_interrupted() -> None:
    ti = TaskInstance()
    push_interrupted(ended(IMPORT, {ONE: UNDER_WAY}, job(IMPORT, FIRST, told(ONE, "FINISHED"))), {"ti": ti})
    assert ti.xcoms == {"read_set_ids": [], "to_retry": [item(ONE).source]}
