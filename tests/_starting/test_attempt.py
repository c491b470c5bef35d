"""One attempt, step by step: what it knows, lines up and asks; for `make mutation`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attempts import ACTIVATION, EXPORT, IMPORT, asked, at, attempt, item, job, told
from conftest import JOB_SECONDS, World

from airflow_omics._service.job_items import FAILED, FINISHED
from airflow_omics._service.kind import Kind
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Finding, State
from airflow_omics._starting.starter import Chunk
from airflow_omics.exceptions import (
    OmicsRefusedError,
)
from airflow_omics.jobs import ReadSetJob

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
X, Y, Z = "1000000001", "1000000002", "1000000003"
FIRST, SECOND, THIRD = "2000000001", "2000000002", "2000000003"
HOLDS, UNDER_WAY, MISSING = Finding(State.HOLDS), Finding(State.UNDER_WAY), Finding(State.MISSING)
HOPELESS = Finding(State.MISSING, is_hopeless=True)


def states(attempt: Attempt) -> list[str]:
    return [attempt.findings[item.key].state.name for item in attempt.items]


def known(*jobs: ReadSetJob) -> dict[str, ReadSetJob]:
    return {job.job_id: job for job in jobs}


# --- what is known


def test_jobs_are_known_in_the_order_of_their_creation() -> None:
    later = NOON + timedelta(1)
    order = [
        *(job(EXPORT, THIRD), job(EXPORT, "3000000000", creation_time=NOON - timedelta(1))),
        *(job(EXPORT, FIRST, creation_time=NOON), job(EXPORT, SECOND, creation_time=NOON)),
        job(EXPORT, "1000000000", creation_time=later),
    ]
    assert attempt(EXPORT, X, jobs={**known(*reversed(order)), "4000000000": None}).known() == order


def test_items_are_failed_when_nothing_more_will_change_or_can() -> None:
    names = [X, Y, Z, "1000000004", "1000000005"]
    tried = attempt(EXPORT, *names, refused={(Y,): OmicsRefusedError("No.")}, is_current=True)
    assert tried.failed() == []  # it has not looked
    tried.findings = dict(zip([(name,) for name in names], [MISSING, MISSING, HOPELESS, HOLDS, UNDER_WAY], strict=True))
    assert tried.failed() == tried.items[1:3]
    tried.findings[tried.items[4].key] = MISSING
    assert tried.failed() == [*tried.items[:3], tried.items[4]]
    assert [tried.holds(each) for each in tried.items[2:4]] == [False, True]
    assert [tried.is_under_way(each) for each in tried.items] == [False] * 5


# --- what is lined up


def lined_up(attempt: Attempt) -> list[Chunk]:
    attempt.judge()
    return list(attempt.pending)


def test_what_is_missing_is_cut_in_the_order_of_the_keys() -> None:
    names = [f"{number:010}" for number in range(205)]
    items = [item(name) for name in names]
    chunks = lined_up(attempt(EXPORT, *reversed(names)))
    assert chunks == [Chunk(tuple(items[:100])), Chunk(tuple(items[100:200])), Chunk(tuple(items[200:]))]


def test_what_was_tried_before_is_cut_by_itself_and_names_its_jobs() -> None:
    names = [f"{number:010}" for number in range(6)]
    jobs = [
        job(EXPORT, SECOND, told(names[4], FAILED), told(names[1], FAILED), creation_time=NOON),
        job(EXPORT, FIRST, told(names[4], FAILED), told(names[0], FINISHED)),
    ]
    sent, refused = {THIRD: [(names[2],)]}, {(names[3],): OmicsRefusedError("No.")}
    tried = attempt(EXPORT, *names, jobs=known(*jobs), sent=sent, refused=refused)
    new, again = lined_up(tried)
    assert new == Chunk((item(names[5]),))
    assert again == Chunk((item(names[1]), item(names[4])), (SECOND, FIRST))
    assert states(tried) == ["HOLDS", *["MISSING"] * 5]
    assert (tried.is_current, tried.running) == (True, set())


def test_a_job_that_has_an_item_under_way_is_waited_for() -> None:
    running = job(EXPORT, SECOND, told(X, "IN_PROGRESS"), told(Y, FINISHED), status="IN_PROGRESS")
    other = job(EXPORT, THIRD, told(Z, "IN_PROGRESS"), told(Y, "IN_PROGRESS"), status="IN_PROGRESS")
    jobs = known(job(EXPORT, FIRST, told(X, FAILED)), running, other)
    tried = attempt(EXPORT, X, Y, "1000000009", jobs=jobs)
    assert lined_up(tried) == [Chunk((item("1000000009"),))]
    assert states(tried) == ["UNDER_WAY", "HOLDS", "MISSING"]
    assert tried.running == {SECOND}


def test_looking_forgets_no_job_that_runs() -> None:
    """Of this one, AWS has not told yet what it has."""
    started = job(EXPORT, FIRST, status="SUBMITTED")
    tried = attempt(EXPORT, X, jobs=known(started), running={FIRST}, sent={FIRST: [(X,)]})
    assert lined_up(tried) == []
    assert tried.running == {FIRST}


SOURCES = [f"s3://b/{'x' * 600}/{number}" for number in range(3)]
ONE_TOLD = known(job(IMPORT, FIRST, told(SOURCES[1], FAILED)))
WARNING = (
    "No import job is known for these sources; if one has imported them and AWS has forgotten it, they are imported "
    f"twice: {SOURCES[0]}, and 1 more"
)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (IMPORT, {"is_first": False, "jobs": ONE_TOLD}, [WARNING]),
        (IMPORT, {"jobs": ONE_TOLD}, []),
        (EXPORT, {"is_first": False}, []),
    ],
    ids=["import", "its first attempt", "export"],
)
def test_a_retry_says_what_may_be_imported_twice(
    caplog: pytest.LogCaptureFixture, kind: Kind, changes: dict[str, Any], said: list[str]
) -> None:
    names = SOURCES if kind.makes_items else [X]
    lined_up(attempt(kind, *names, has_looked_for_jobs=True, **changes))
    assert caplog.messages == said


# --- what is asked


def test_a_first_attempt_starts_asks_and_looks_again(fast: World) -> None:
    tried = at(fast, EXPORT, *fast.read_sets)
    requests = asked(tried.hook)
    tried.step(is_waiting=True)
    assert [operation for operation, _ in requests] == ["StartReadSetExportJob", "GetReadSetExportJob"]
    assert states(tried) == ["HOLDS"] * 3
    assert tried.is_over


def test_who_does_not_wait_asks_no_job_once_all_is_started(world: World) -> None:
    tried = at(world, EXPORT, *world.read_sets)
    requests = asked(tried.hook)
    tried.step(is_waiting=False)
    assert [operation for operation, _ in requests] == ["StartReadSetExportJob"]
    assert (states(tried), tried.is_started) == (["MISSING"] * 3, True)


def test_who_does_not_wait_asks_for_jobs_while_some_are_to_be_started(world: World) -> None:
    names = world.local.add_read_sets(world.store, 101)
    tried = at(world, EXPORT, *names, max_concurrent_jobs=1)
    requests = asked(tried.hook)
    tried.step(is_waiting=False)
    assert [operation for operation, _ in requests] == ["StartReadSetExportJob", "GetReadSetExportJob"]
    world.local.advance(JOB_SECONDS)
    tried.step(is_waiting=False)
    assert [operation for operation, _ in requests[2:]] == ["GetReadSetExportJob", "StartReadSetExportJob"]
    assert tried.is_started


@pytest.mark.parametrize("is_waiting", [True, False])
def test_who_was_woken_asks_for_the_jobs_that_run_and_looks_if_it_does_not_wait(world: World, is_waiting: bool) -> None:
    running = world.start(EXPORT)
    tried = at(world, EXPORT, *world.read_sets, jobs={running: None}, running={running}, is_first=False)
    tried.has_looked_for_jobs = True
    requests = asked(tried.hook)
    tried.step(is_waiting=is_waiting)
    assert [operation for operation, _ in requests] == ["GetReadSetExportJob"]
    assert len(tried.findings) == (0 if is_waiting else 3)


def test_nothing_to_do_is_over_at_once_and_asks_nothing() -> None:
    nothing = attempt(EXPORT, is_first=False)  # without a world, every call would fail
    nothing.step(is_waiting=True)
    assert (nothing.is_over, nothing.failed()) == (True, [])


def test_what_held_when_the_wait_began_is_looked_at_again(world: World) -> None:
    x, y = world.read_sets[:2]
    world.local.archive_read_sets([y])
    tried = at(world, ACTIVATION, x, y)
    tried.step(is_waiting=True)
    assert states(tried) == ["HOLDS", "MISSING"]
    world.local.archive_read_sets([x])
    world.local.advance(JOB_SECONDS)
    tried.step(is_waiting=True)
    assert list(tried.sent.values()) == [[(y,)], [(x,)]]
    assert (states(tried), tried.is_current) == (["MISSING", "HOLDS"], False)
