"""What one attempt makes of jobs of earlier attempts, and of others; for `make mutation`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attempts import ACTIVATION, EXPORT, IMPORT, asked, at, attempt, item, job, told
from conftest import BUCKET, JOB_SECONDS, World
from tasks import calls

from airflow_omics._service.job_items import FINISHED
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Finding, State
from airflow_omics._starting.starter import Chunk
from airflow_omics.exceptions import (
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
