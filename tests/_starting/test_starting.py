"""How jobs are started, and what is made of AWS's answers to that; `make mutation` runs these alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attempts import EXPORT, asked, at, item
from conftest import JOB_SECONDS, ROLE, World
from starting import DESTINATION
from tasks import ACTIVATION, calls

from airflow_omics._service.kind import Kind
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.starter import Chunk, StopError
from airflow_omics.exceptions import (
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsResponseError,
    OmicsThrottledError,
)
from airflow_omics.jobs import ReadSetJob

START, GET = "StartReadSetExportJob", "GetReadSetExportJob"
LONG_AGO = "2020-01-01T00:00:00Z"


def starter(world: World, *names: str, kind: Kind = EXPORT, **changes: Any) -> Attempt:
    """Return an attempt that is to start a job for each of these items."""
    pending = deque(Chunk((item(name),)) for name in names)
    since = datetime.now(UTC) - timedelta(minutes=1)
    return at(world, kind, *names, **{"pending": pending, "since": since, "is_current": True} | changes)


def keys(*names: str) -> list[tuple[str, ...]]:
    return [item(name).key for name in names]


def job_of(attempt: Attempt, job_id: str) -> ReadSetJob:
    job = attempt.jobs[job_id]
    assert job
    return job


# --- what is sent


def test_a_job_is_asked_for_with_a_token_made_of_what_it_is_to_do(world: World) -> None:
    after = ("2000000002", "2000000001")
    chunk = Chunk((item(world.read_sets[0]), item(world.read_sets[1])), after)
    started = starter(world, *world.read_sets, identity=("dag", -1), pending=deque([chunk]))
    sent = asked(started.hook)
    started.start()
    sources = [{"readSetId": each} for each in world.read_sets[:2]]
    parameters = {"roleArn": ROLE, "destination": DESTINATION}
    work = ["dag", -1, world.store, "export", parameters, sources, ["2000000001", "2000000002"]]
    token = f"airflow-{hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()}"
    assert sent == [(START, {"sequenceStoreId": world.store, "sources": sources, "clientToken": token, **parameters})]


def test_what_a_start_says_is_known_from_then_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    started = starter(world, *world.read_sets, max_concurrent_jobs=2)
    started.start()
    first, second = started.sent
    assert started.sent == {first: keys(world.read_sets[0]), second: keys(world.read_sets[1])}
    assert started.running == started.jobs.keys() == {first, second}
    assert job_of(started, first).status == "SUBMITTED"
    assert list(started.pending) == [Chunk((item(world.read_sets[2]),))]
    assert (started.is_current, started.trouble) == (False, None)
    assert caplog.messages == [
        f"export job {each} in sequence store {world.store} is SUBMITTED, with 1 read sets" for each in (first, second)
    ]


def test_what_the_store_says_goes_to_the_tasks_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.local.add_fault(operation="ListReadSetExportJobs", error="AccessDeniedException")
    assert list(starter(world).store.list_jobs([None], None)) == []
    (said,) = caplog.messages
    assert said.endswith(" So jobs of earlier attempts are only found by their client tokens.")


@pytest.mark.parametrize("reason", [{"is_stopped": True}, {"deadline": 1.0}], ids=["killed", "late"])
def test_no_job_is_started_once_the_attempt_is_to_end(world: World, reason: dict[str, Any]) -> None:
    started = starter(world, *world.read_sets, **reason)
    with pytest.raises(StopError):
        started.start()
    assert calls(world, START) == 0
    assert len(started.pending) == 3


# --- what goes wrong


def test_a_trouble_that_passes_leaves_the_rest_for_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    started = starter(world, *world.read_sets)
    world.local.add_fault(operation=START, delay=0, times=1)
    world.local.add_fault(operation=START, error="ThrottlingException", times=1)
    started.start()
    assert type(started.trouble) is OmicsThrottledError
    assert caplog.messages[1:] == [f"{started.trouble} Nothing is lost; asking again."]
    assert list(started.sent.values()) == [keys(world.read_sets[0])]
    tried, untried = started.pending
    assert time.time() - 30 < (tried.tried or 0) <= time.time()
    assert untried.tried is None
    sent = asked(started.hook)
    started.start()
    assert sorted(started.sent.values()) == sorted(keys(each) for each in world.read_sets)
    assert len({parameters["clientToken"] for _, parameters in sent}) == 2


def test_an_unknown_key_ends_the_attempt(world: World) -> None:
    started = starter(world, *world.read_sets)
    world.local.add_fault(operation=START, error="UnrecognizedClientException", http_status=403)
    with pytest.raises(OmicsCredentialsError):
        started.start()
    assert (started.refused, len(started.pending)) == ({}, 3)


def test_one_refused_job_is_left_out(world: World, caplog: pytest.LogCaptureFixture) -> None:
    started = starter(world, *world.read_sets)
    world.local.add_fault(operation=START, error="ValidationException", times=1)
    started.start()
    (error,) = started.refused.values()
    assert started.refused.keys() == set(keys(world.read_sets[0]))
    assert type(error) is OmicsRefusedError
    assert caplog.messages[0] == str(error)
    assert list(started.sent.values()) == [keys(each) for each in world.read_sets[1:]]


@pytest.mark.parametrize(
    ("code", "expected"),
    [("AccessDeniedException", OmicsRefusedError), ("ResourceNotFoundException", OmicsNotFoundError)],
)
def test_what_would_be_refused_for_all_is_asked_for_once(world: World, code: str, expected: type[Exception]) -> None:
    started = starter(world, *world.read_sets)
    for operation in (START, "ListReadSets"):
        world.local.add_fault(operation=operation, error=code)
    started.start()
    (error,) = set(started.refused.values())
    assert type(error) is expected
    assert (list(started.refused), list(started.pending), calls(world, START)) == (keys(*world.read_sets), [], 1)


@pytest.mark.parametrize("is_sent", [True, False], ids=["of this attempt", "of before"])
def test_a_job_that_was_started_for_others_is_no_answer(world: World, is_sent: bool) -> None:
    other, job_id = world.start(EXPORT), "2000000001"
    done = Chunk((item(world.read_sets[0]), item(world.read_sets[1])), () if is_sent else (other,))
    started = starter(world, *world.read_sets, pending=deque([done]), sent={other: []} if is_sent else {job_id: []})
    world.local.add_fault(operation=START, response={"id": other})
    with pytest.raises(OmicsResponseError) as caught:
        started.start()
    assert str(caught.value) == (
        f"StartReadSetExportJob for 2 read sets was answered with export job {other} in sequence store {world.store}, "
        "which was started for others. Check what stands between Airflow and AWS (endpoint_url, proxy)."
    )


# --- jobs of before


def before(world: World, *names: str, kind: Kind = EXPORT) -> tuple[str, Chunk]:
    """Let a run that is gone now have started a job; return it, and what it was to do."""
    chunk = Chunk(tuple(item(name) for name in names))
    gone = starter(world, *names, kind=kind, pending=deque([chunk]))
    gone.start()
    (job_id,) = gone.sent
    return job_id, chunk


def test_a_running_job_of_before_is_waited_for(world: World, caplog: pytest.LogCaptureFixture) -> None:
    job_id, chunk = before(world, *world.read_sets)
    world.local.advance(JOB_SECONDS / 2)
    started = starter(world, *world.read_sets, pending=deque([chunk]))
    started.start()
    assert (started.running, started.sent, list(started.pending)) == ({job_id}, {}, [])
    assert [item.key for item in job_of(started, job_id).items] == keys(*world.read_sets)
    assert started.is_current is False
    assert caplog.messages[-1] == (
        f"export job {job_id} in sequence store {world.store} was started before; 0 of its read sets are started again"
    )


def test_a_running_job_of_before_that_get_does_not_find_will_be_found(world: World) -> None:
    job_id, chunk = before(world, *world.read_sets)
    world.local.advance(9)
    world.local.add_fault(operation=GET, error="ResourceNotFoundException")
    started = starter(world, *world.read_sets, pending=deque([chunk]))
    started.start()
    assert (started.running, started.sent) == ({job_id}, {})
    assert job_of(started, job_id).items == ()


def test_only_what_an_export_of_before_did_not_finish_is_started_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    x, y, z = world.read_sets
    world.local.fail_read_sets([x, z], "Torn")
    old, chunk = before(world, x, y, z)
    world.local.advance(JOB_SECONDS)
    assert world.status(EXPORT, old) == "COMPLETED_WITH_FAILURES"
    started = starter(world, x, y, z, pending=deque([chunk, Chunk((item(y),))]))
    sent = asked(started.hook)
    started.start()
    new = list(started.sent)
    assert started.sent == {new[0]: keys(x, z), new[1]: keys(y)}
    assert set(started.jobs) == {old, *new}
    assert started.running == set(new)
    assert [len(parameters["sources"]) for operation, parameters in sent if operation == START] == [3, 2, 1]
    assert caplog.messages[1] == (
        f"export job {old} in sequence store {world.store} was started before; 2 of its read sets are started again"
    )


def test_an_export_of_before_that_is_all_done_is_not_started_again(world: World) -> None:
    old, chunk = before(world, *world.read_sets)
    world.local.advance(JOB_SECONDS)
    assert world.status(EXPORT, old) == "COMPLETED"
    started = starter(world, *world.read_sets, pending=deque([chunk]))
    started.start()
    assert (set(started.jobs), started.sent, list(started.pending)) == ({old}, {}, [])


def test_an_activation_of_before_is_started_again_for_all_that_is_archived(world: World) -> None:
    world.local.archive_read_sets()
    old, chunk = before(world, *world.read_sets, kind=ACTIVATION)
    world.local.advance(JOB_SECONDS)
    assert world.status(ACTIVATION, old) == "COMPLETED"
    started = starter(world, *world.read_sets, kind=ACTIVATION, pending=deque([chunk]))
    started.start()
    assert list(started.sent.values()) == [keys(*world.read_sets)]
    assert set(started.jobs) == {old, *started.sent}


def test_a_job_of_before_that_does_not_count_is_started_again(world: World) -> None:
    old, chunk = before(world, *world.read_sets)
    world.local.advance(3600)
    since = datetime.now(UTC) + timedelta(seconds=1800)
    started = starter(world, *world.read_sets, pending=deque([chunk]), since=since)
    started.start()
    assert list(started.sent.values()) == [keys(*world.read_sets)]
    assert old not in started.jobs
    assert started.running == set(started.sent)


def test_a_job_whose_end_start_tells_is_of_before_however_new_it_looks(world: World) -> None:
    """Of one that Get does not find, nothing is taken."""
    world.local.add_fault(operation=START, response={"status": "FAILED"}, times=1)
    world.local.add_fault(operation=GET, error="ResourceNotFoundException")
    started = starter(world, world.read_sets[0])
    sent = asked(started.hook)
    started.start()
    (job_id,) = started.sent
    assert (set(started.jobs), started.running) == ({job_id}, {job_id})
    first, second = (parameters["clientToken"] for operation, parameters in sent if operation == START)
    assert first != second


def test_jobs_that_end_at_once_are_not_started_without_end(fast: World) -> None:
    """Those that are told to be old do not count for that."""
    fast.local.fail_read_sets(fast.read_sets, "Torn")
    for _ in range(2):
        fast.local.add_fault(operation=START, response={"status": "FAILED", "creationTime": LONG_AGO}, times=1)
    fast.local.add_fault(operation=START, response={"status": "FAILED"})
    started = starter(fast, fast.read_sets[0])
    started.start()
    assert calls(fast, START) == 2 + 3 + 1
    assert list(started.sent.values()) == [keys(fast.read_sets[0])]
    assert started.running == set(started.sent)


@pytest.mark.parametrize("created", [-50, -1, 100], ids=["after the first try", "a moment before", "after"])
def test_a_job_that_was_created_since_the_first_try_is_ones_own(world: World, created: int) -> None:
    """Its first answer may have been lost."""
    now = time.time()
    tried = Chunk((item(world.read_sets[0]),), tried=now - 100 if created == -50 else now)
    moment = datetime.fromtimestamp(int(now) + created, UTC).isoformat().replace("+00:00", "Z")
    status = "FAILED" if created == -50 else "SUBMITTED"
    world.local.add_fault(operation=START, response={"status": status, "creationTime": moment})
    started = starter(world, world.read_sets[0], pending=deque([tried]))
    started.start()
    assert list(started.sent.values()) == [keys(world.read_sets[0])]
    assert started.running == set(started.sent)
