"""What one attempt makes of statuses, and of jobs that it waits for; for `make mutation`."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attempts import ACTIVATION, EXPORT, IMPORT, STORE, asked, at, attempt, item, job, told
from conftest import JOB_SECONDS, World
from tasks import calls

from airflow_omics._service.job_items import FINISHED
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Finding, State
from airflow_omics._starting.starter import Chunk, StopError
from airflow_omics.exceptions import (
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsTransientError,
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


# --- the statuses of read sets


def test_what_is_under_way_is_waited_for_without_a_job(world: World) -> None:
    world.local.set_read_set_status(world.read_sets[:1], "PROCESSING_UPLOAD")
    tried = at(world, ACTIVATION, *world.read_sets)
    tried.judge()
    assert (states(tried), tried.running, tried.is_over) == (["UNDER_WAY", "HOLDS", "HOLDS"], set(), False)


def test_many_read_sets_are_asked_for_by_status_first(world: World) -> None:
    names = world.local.add_read_sets(world.store, 24, "ARCHIVED")
    world.start(ACTIVATION, names[:12])
    world.local.advance(JOB_SECONDS / 2)
    tried = at(world, ACTIVATION, *names)
    requests = asked(tried.hook)
    for _ in range(2):
        tried.judge()
    listed = [parameters.get("filter") for operation, parameters in requests if operation == "ListReadSets"]
    assert listed == [None, {"status": "ACTIVATING"}, None]


def test_what_an_import_made_is_as_young_as_its_first_job(world: World) -> None:
    made = world.local.add_read_sets(world.store, 11)
    names = [f"s3://b/{number:02}" for number in range(11)]
    items = [told(name, FINISHED, read_set_id) for name, read_set_id in zip(names, made, strict=True)]
    jobs = [
        job(IMPORT, FIRST, *items[:6], creation_time=NOON),
        job(IMPORT, SECOND, *items[6:], creation_time=NOON + timedelta(hours=1)),
        job(IMPORT, THIRD),
    ]
    tried = at(world, IMPORT, *names, jobs={**known(*jobs)})
    requests = asked(tried.hook)
    tried.judge()
    (listed,) = (parameters["filter"] for operation, parameters in requests if operation == "ListReadSets")
    assert listed == {"createdAfter": NOON - timedelta(seconds=1)}
    assert states(tried) == ["HOLDS"] * 11


@pytest.mark.parametrize("is_first", [True, False])
def test_only_the_first_attempt_at_an_import_needs_no_permission_to_look(
    world: World, caplog: pytest.LogCaptureFixture, is_first: bool
) -> None:
    jobs = known(job(IMPORT, FIRST, told("s3://b/1", FINISHED, X)))
    tried = at(world, IMPORT, "s3://b/1", jobs=jobs, is_first=is_first, has_looked_for_jobs=True)
    world.local.add_fault(operation="GetReadSetMetadata", error="AccessDeniedException")
    if not is_first:
        with pytest.raises(OmicsRefusedError):
            tried.judge()
        return
    tried.judge()
    assert states(tried) == ["HOLDS"]
    (said,) = caplog.messages
    assert said.startswith("AccessDeniedException on GetReadSetMetadata")
    assert said.endswith(" So the jobs' word is taken.")


def test_the_first_attempt_at_an_activation_needs_it(world: World) -> None:
    world.local.add_fault(operation="GetReadSetMetadata", error="AccessDeniedException")
    with pytest.raises(OmicsRefusedError):
        at(world, ACTIVATION, *world.read_sets).judge()


def test_an_unknown_key_is_no_refusal_to_look(world: World) -> None:
    jobs = known(job(IMPORT, FIRST, told("s3://b/1", FINISHED, X)))
    world.local.add_fault(operation="GetReadSetMetadata", error="UnrecognizedClientException", http_status=403)
    with pytest.raises(OmicsCredentialsError):
        at(world, IMPORT, "s3://b/1", jobs=jobs).judge()


def test_where_no_read_set_is_found_the_store_may_be_missing(world: World) -> None:
    with pytest.raises(OmicsNotFoundError):
        at(world, ACTIVATION, X, store="9999999999").judge()
    tried = at(world, ACTIVATION, world.read_sets[0], X)
    requests = asked(tried.hook)
    tried.judge()
    assert (states(tried), len(requests)) == (["HOLDS", "MISSING"], 2)


def test_an_import_asks_for_no_store_where_its_read_sets_are_gone(world: World) -> None:
    jobs = known(job(IMPORT, FIRST, told("s3://b/1", FINISHED, X)))
    tried = at(world, IMPORT, "s3://b/1", jobs=jobs)
    requests = asked(tried.hook)
    tried.judge()
    assert [operation for operation, _ in requests] == ["GetReadSetMetadata"]


def test_what_a_job_did_may_be_seen_late(world: World) -> None:
    x = world.read_sets[0]
    world.local.archive_read_sets([x])
    tried = at(world, ACTIVATION, x)
    tried.step(is_waiting=True)
    (job_id,) = tried.sent
    world.local.add_fault(operation="GetReadSetMetadata", response={"status": "ARCHIVED"})
    world.local.advance(JOB_SECONDS)
    tried.step(is_waiting=True)
    assert tried.findings == {(x,): Finding(State.UNDER_WAY, job_id=job_id)}
    world.local.advance(4 * 60)
    tried.judge()
    assert states(tried) == ["UNDER_WAY"]
    world.local.advance(90)
    tried.judge()
    assert (states(tried), tried.findings[(x,)].job_id) == (["MISSING"], job_id)


def test_only_what_this_attempt_saw_end_is_waited_for_late(world: World) -> None:
    x, y = world.local.add_read_sets(world.store, 2, "ARCHIVED")
    jobs = known(job(ACTIVATION, FIRST, told(x, FINISHED)))
    tried = at(world, ACTIVATION, x, y, jobs=jobs, ended={SECOND: datetime.now(UTC)})
    tried.judge()
    assert states(tried) == ["MISSING"] * 2


# --- jobs that are waited for


def waiting(world: World, **changes: Any) -> tuple[Attempt, str]:
    """Return an attempt whose job runs, and the job."""
    tried = at(world, EXPORT, *world.read_sets, **changes)
    tried.step(is_waiting=False)
    (job_id,) = tried.sent
    return tried, job_id


def test_a_job_that_has_ended_is_taken_notice_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    tried, job_id = waiting(world)
    tried.trouble = OmicsTransientError("Of before")
    tried.poll()
    assert (tried.running, tried.ended, tried.is_current) == ({job_id}, {}, False)
    assert tried.trouble is None
    tried.is_current = True
    world.local.advance(JOB_SECONDS)
    caplog.clear()
    tried.poll()
    assert caplog.messages == [
        f"export job {job_id} in sequence store {world.store}: COMPLETED, 3 of 3 read sets finished, 0 failed, 0 open"
    ]
    assert (tried.running, set(tried.ended), tried.is_current) == (set(), {job_id}, False)


@pytest.mark.parametrize("minutes", [None, -5, 5], ids=str)
def test_a_job_has_not_ended_before_it_was_seen(minutes: int | None) -> None:
    tried = attempt(EXPORT, X, running={FIRST})
    now = tried.hook.service_time
    completed = None if minutes is None else now + timedelta(minutes=minutes)
    tried.take(job(EXPORT, FIRST, told(X, FINISHED), completion_time=completed))
    assert tried.ended == {FIRST: now + timedelta(minutes=max(minutes or 0, 0))}


def test_a_status_of_tomorrow_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    tried = attempt(EXPORT, X, running={FIRST}, is_current=True)
    paused = ReadSetJob(EXPORT, FIRST, STORE, "PAUSED")
    tried.take(paused)
    assert caplog.messages == [
        f"export job {FIRST} in sequence store {STORE} has a status unknown to this version: 'PAUSED'. Waiting on."
    ]
    assert (tried.jobs, tried.running, tried.ended, tried.is_current) == ({FIRST: paused}, {FIRST}, {}, True)


def test_a_trouble_that_passes_is_kept_and_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    tried, job_id = waiting(world)
    world.local.add_fault(operation="GetReadSetExportJob", error="InternalServerException")
    caplog.clear()
    tried.poll()
    assert str(tried.trouble).startswith("InternalServerException on GetReadSetExportJob")
    assert caplog.messages == [f"{tried.trouble} Nothing is lost; asking again."]
    assert (tried.running, tried.lost) == ({job_id}, {})


def test_no_job_is_asked_for_once_the_attempt_is_to_end(world: World) -> None:
    tried, _ = waiting(world)
    tried.is_stopped = True
    before = calls(world)
    with pytest.raises(StopError):
        tried.poll()
    assert calls(world) == before


def test_a_place_that_a_job_leaves_is_filled_at_once(world: World) -> None:
    tried, job_id = waiting(world)
    (new,) = world.local.add_read_sets(world.store)
    tried.max_concurrent_jobs = 1
    tried.pending = deque([Chunk((item(new),))])
    world.local.advance(JOB_SECONDS)
    tried.poll()
    assert tried.running == tried.sent.keys() - {job_id}
    assert len(tried.running) == 1


GONE = "It was not found for 15.0 minutes."


def test_a_job_that_is_not_found_is_asked_for_during_15_minutes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    tried, job_id = waiting(world)
    world.local.add_fault(operation="GetReadSetExportJob", error="ResourceNotFoundException")
    caplog.clear()
    tried.is_current = True
    tried.poll()
    since = tried.hook.service_time
    assert (tried.lost, tried.running, tried.is_current) == ({job_id: since}, {job_id}, True)
    (said,) = set(caplog.messages)
    assert said.startswith("ResourceNotFoundException on GetReadSetExportJob")
    assert said.endswith(" It was started, so it is asked for again.")
    world.local.advance(14 * 60)
    tried.poll()
    assert tried.lost == {job_id: since}
    world.local.advance(90)
    caplog.clear()
    tried.poll()
    assert (tried.lost, tried.running, tried.jobs, tried.is_current) == ({}, set(), {}, False)
    assert caplog.messages == [said.replace("It was started, so it is asked for again.", GONE)]


def test_a_job_that_is_found_again_is_lost_no_more(world: World) -> None:
    tried, job_id = waiting(world)
    tried.lost = {job_id: datetime.now(UTC)}
    tried.poll()
    assert (tried.lost, tried.running) == ({}, {job_id})


def test_a_job_known_by_its_id_alone_is_asked_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    running = world.start(EXPORT)
    tried = at(world, EXPORT, *world.read_sets, jobs={running: None})
    tried.judge()
    job = tried.jobs[running]
    assert job
    assert (job.status, tried.running) == ("SUBMITTED", {running})

    tried = at(world, EXPORT, *world.read_sets, jobs={FIRST: None}, running={FIRST})
    with pytest.raises(OmicsTransientError) as caught:
        tried.judge()
    assert str(caught.value) == f"export job {FIRST} is not found now."
    assert caplog.messages == [f"export job {FIRST} is not found. It was started, so it is asked for again."]
    caplog.clear()
    world.local.advance(16 * 60)
    tried.judge()
    assert (tried.jobs, tried.running, states(tried)) == ({}, set(), ["MISSING"] * 3)
    assert caplog.messages == [f"export job {FIRST} is not found. {GONE}"]


def test_a_job_that_is_not_found_is_asked_for_once_a_poll(world: World) -> None:
    tried = attempt(EXPORT, *world.read_sets, store=world.store, jobs={FIRST: None}, running={FIRST})
    requests = asked(tried.hook)
    tried.poll()
    assert [operation for operation, _ in requests] == ["GetReadSetExportJob"]
