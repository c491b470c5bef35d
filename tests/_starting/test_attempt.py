"""One attempt, step by step: what it asks, what it lines up, and what it makes of answers; for `make mutation`."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attempts import ACTIVATION, EXPORT, IMPORT, STORE, asked, at, attempt, item, job, told
from conftest import BUCKET, JOB_SECONDS, World
from tasks import calls

from airflow_omics._service.job_items import FAILED, FINISHED
from airflow_omics._service.kind import Kind
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


# --- jobs of earlier attempts, and of others


def test_a_retry_of_an_export_asks_for_every_job_since_the_run_was_to_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    x, y, z = world.read_sets
    mine, other = world.start(EXPORT, [x, y]), world.start(EXPORT, [z])
    elsewhere = world.start(EXPORT, [x], destination=f"s3://{BUCKET}/elsewhere/")
    since = datetime.now(UTC) - timedelta(seconds=30)
    tried = at(world, EXPORT, x, y, is_first=False, since=since)
    requests = asked(tried.hook)
    tried.judge()
    a_day_before = {"createdAfter": since - timedelta(days=1)}
    assert requests == [
        ("ListReadSetExportJobs", {"sequenceStoreId": world.store, "maxResults": 100, "filter": a_day_before}),
        ("GetReadSetExportJob", {"sequenceStoreId": world.store, "id": mine}),
        ("GetReadSetExportJob", {"sequenceStoreId": world.store, "id": other}),
    ]
    assert elsewhere
    assert (set(tried.jobs), tried.running, states(tried)) == ({mine}, {mine}, ["UNDER_WAY"] * 2)
    assert tried.has_looked_for_jobs is True
    assert caplog.messages == [
        f"export job {mine} in sequence store {world.store} has some of the read sets: SUBMITTED, "
        "0 of 2 read sets finished, 0 failed, 2 open"
    ]
    tried.judge()
    assert len(requests) == 3


def test_a_retry_of_an_activation_asks_for_what_is_under_way(world: World) -> None:
    world.local.archive_read_sets()
    tried = at(world, ACTIVATION, *world.read_sets, is_first=False)
    requests = asked(tried.hook)
    tried.judge()
    listed = [parameters["filter"] for operation, parameters in requests if operation == "ListReadSetActivationJobs"]
    assert listed == [{"status": status} for status in ("SUBMITTED", "IN_PROGRESS", "CANCELLING")]


def test_what_is_known_of_a_job_is_not_told_again_by_looking_for_jobs(world: World) -> None:
    x, y, _ = world.read_sets
    running = world.start(EXPORT, [x])
    ended = job(EXPORT, running, told(y, FINISHED))
    tried = at(world, EXPORT, x, y, is_first=False, jobs=known(ended))
    tried.judge()
    assert tried.jobs == known(ended)


def test_a_job_that_is_listed_and_not_found_is_waited_for_if_it_is_new(world: World) -> None:
    job_id = world.start(EXPORT)
    world.local.add_fault(operation="GetReadSetExportJob", error="ResourceNotFoundException")
    tried = at(world, EXPORT, *world.read_sets, is_first=False, is_current=True)
    with pytest.raises(OmicsTransientError) as caught:
        tried.judge()
    assert str(caught.value) == (
        f"export job {job_id} in sequence store {world.store} is listed, and not found by itself yet."
    )
    assert tried.is_current is False
    assert tried.has_looked_for_jobs is False
    world.local.advance(14 * 60)
    with pytest.raises(OmicsTransientError):
        tried.judge()
    world.local.advance(90)
    tried.judge()
    assert (tried.jobs, states(tried)) == ({}, ["MISSING"] * 3)


def test_a_job_without_a_time_that_is_listed_and_not_found_is_left_out(world: World) -> None:
    world.local.add_fault(
        operation="ListReadSetExportJobs", response={"exportJobs": [{"id": FIRST, "status": "FAILED"}]}
    )
    tried = attempt(EXPORT, *world.read_sets, store=world.store, is_first=False)
    tried.judge()
    assert tried.jobs == {}


@pytest.mark.parametrize(
    ("changes", "is_again"),
    [({"is_cleared": True}, True), ({"is_cleared": True, "has_more": True}, False), ({}, False)],
    ids=["cleared", "cleared with another read set", "retried"],
)
def test_an_export_that_was_all_done_is_done_again_after_a_clear(
    world: World, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], is_again: bool
) -> None:
    x, y, z = world.read_sets
    ended = world.start(EXPORT, [x])
    world.local.advance(JOB_SECONDS)
    assert world.status(EXPORT, ended) == "COMPLETED"
    running = world.start(EXPORT, [x, z])
    names = [x, y] if changes.pop("has_more", False) else [x]
    tried = at(world, EXPORT, *names, is_first=False, **changes)
    tried.judge()
    assert set(tried.jobs) == ({running} if is_again else {ended, running})
    said = "Everything was exported before this task was cleared; exporting it again"
    assert (said in caplog.messages) == is_again


def test_an_import_is_never_done_again_after_a_clear(fast: World) -> None:
    names = [each["sourceFiles"]["source1"] for each in fast.sources]
    ended = fast.start(IMPORT)
    assert fast.status(IMPORT, ended) == "COMPLETED"
    tried = at(fast, IMPORT, *names, is_first=False, is_cleared=True)
    tried.judge()
    assert states(tried) == ["HOLDS"] * 3


def test_what_somebody_else_activates_is_waited_for_with_the_job(world: World) -> None:
    x, y, _ = world.read_sets
    world.local.archive_read_sets()
    stranger = world.start(ACTIVATION, [x])
    world.local.advance(JOB_SECONDS / 2)
    tried = at(world, ACTIVATION, x, y)
    tried.judge()
    assert (states(tried), tried.running, list(tried.jobs)) == (["UNDER_WAY", "MISSING"], {stranger}, [stranger])
    assert list(tried.pending) == [Chunk((item(y),))]


def test_what_a_known_job_activates_makes_nobody_look_for_jobs(world: World) -> None:
    world.local.archive_read_sets()
    tried = at(world, ACTIVATION, *world.read_sets)
    tried.step(is_waiting=False)
    world.local.advance(JOB_SECONDS / 2)
    (job_id,) = tried.sent
    tried.jobs[job_id] = None
    tried.judge()
    assert (states(tried), tried.has_looked_for_jobs) == (["HOLDS", "UNDER_WAY", "UNDER_WAY"], False)
    assert calls(world, "ListReadSetActivationJobs") == 0


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
