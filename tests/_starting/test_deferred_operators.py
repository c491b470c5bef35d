"""Operators that leave their worker: what they remember, what wakes them, and that they end as those that stay do."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import pytest
from conftest import ONE_TRY, PATIENCE, TaskInstance, World, first_event, through_triggerer, wake
from starting import operator, processed
from versions import TaskDeferred

from airflow_omics._airflow import AirflowException
from airflow_omics._service.kind import Kind
from airflow_omics._starting.base_operator import OmicsStartJobOperator
from airflow_omics.exceptions import OmicsEventError, OmicsReadSetJobFailedError, OmicsRefusedError
from airflow_omics.jobs import ReadSetJobKind

ACTIVATION, EXPORT, IMPORT = ReadSetJobKind.ACTIVATION, ReadSetJobKind.EXPORT, ReadSetJobKind.IMPORT


def deferrable(world: World, kind: Kind, items: Any, **arguments: Any) -> OmicsStartJobOperator:
    return operator(world, kind, items, **{"deferrable": True, "poll_interval": 0.2, **arguments})


def leave(started: OmicsStartJobOperator, ti: TaskInstance) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        started.execute({"ti": ti})
    return caught.value


@pytest.mark.parametrize("limit", [None, 2], ids=["all at once", "two at a time"])
def test_every_read_set_is_done_once_and_the_result_is_that_of_a_waiting_task(
    world: World, ti: TaskInstance, kind: Kind, limit: int | None
) -> None:
    world.local.configure(job_seconds=0.5)
    items = world.many(kind, 101)
    before = len(processed(world, kind))
    summaries = through_triggerer(deferrable(world, kind, items, max_concurrent_jobs=limit), ti)
    assert sum(len(each["finished"]) for each in summaries) == 101
    assert set(processed(world, kind).values()) == {1}
    assert len(processed(world, kind)) - before == 101
    if kind is not ACTIVATION:
        assert [each["job_id"] for each in summaries] == sorted(each["job_id"] for each in summaries)


def test_the_worker_is_left_with_what_there_is_room_for_started(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    started = deferrable(world, ACTIVATION, read_sets, max_concurrent_jobs=3, poll_interval=20)
    deferred = leave(started, ti)
    assert world.local.call_counts()["StartReadSetActivationJob"] == 3
    memory = json.loads(json.dumps(deferred.kwargs["memory"]))
    assert (len(memory["running"]), len(memory["pending"])) == (3, 2)
    _, arguments = deferred.trigger.serialize()
    assert (arguments["job_ids"], arguments["until"]) == (memory["running"], "any")

    world.local.advance(1000)
    with pytest.raises(TaskDeferred) as caught:
        wake(started, deferred, ti)
    _, arguments = caught.value.trigger.serialize()
    assert arguments["until"] == "all"  # nothing is left to start
    world.local.advance(1000)
    assert len(wake(started, caught.value, ti)) == 5


def test_a_task_that_may_start_all_at_once_is_woken_once(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    started = deferrable(world, ACTIVATION, read_sets)
    deferred = leave(started, ti)
    world.local.advance(1000)
    asked_before = world.local.call_counts()
    event = asyncio.run(first_event(deferred.trigger))
    asked = Counter(world.local.call_counts()) - Counter(asked_before)
    assert asked["GetReadSetActivationJob"] == 5
    assert len(wake(started, deferred, ti, event)) == 5
    asked["ListReadSets"] += 2  # the event told how the jobs ended, and the read sets that they are ACTIVE
    assert Counter(world.local.call_counts()) - Counter(asked_before) == asked


def test_without_waiting_the_task_leaves_until_all_are_started(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 60, "ARCHIVED")
    world.local.configure(job_seconds=0.3)
    started = deferrable(world, ACTIVATION, read_sets, max_concurrent_jobs=1, wait_for_completion=False)
    assert len(through_triggerer(started, ti)) == 3


def test_room_that_others_take_is_waited_for(world: World, ti: TaskInstance) -> None:
    world.local.configure(max_concurrent_jobs={"export": 1})
    other = world.start(EXPORT, world.read_sets[:1])
    started = deferrable(world, EXPORT, world.read_sets, botocore_config=ONE_TRY, timeout=PATIENCE)
    deferred = leave(started, ti)
    assert deferred.trigger.serialize()[1]["job_ids"] == []
    assert deferred.trigger.fire_after >= time.time() + 5
    world.end(other, "COMPLETED")
    world.local.configure(job_seconds=0)
    (summary,) = through_triggerer(started, ti, deferred)
    assert summary["job_id"] != other
    assert summary["finished"] == world.read_sets


def test_a_failure_is_told_as_a_waiting_task_tells_it(fast: World) -> None:
    fast.local.fail_read_sets(fast.read_sets[:1], "Torn")
    told = []
    for how in (operator, deferrable):
        ti = TaskInstance()
        ti.run_id = how.__name__
        with pytest.raises(OmicsReadSetJobFailedError) as caught:
            through_triggerer(how(fast, EXPORT, fast.read_sets), ti)
        assert ti.xcoms["failed_read_set_ids"] == fast.read_sets[:1]
        told.append(str(caught.value).partition(" in sequence store")[2])
    assert told[0] == told[1]
    accepted = deferrable(fast, EXPORT, fast.read_sets, accept_partial_failure=True)
    assert len(through_triggerer(accepted, TaskInstance())) == 1


def test_a_retry_redoes_only_what_is_missing(fast: World) -> None:
    read_sets = fast.local.add_read_sets(fast.store, 250)
    fast.local.fail_read_sets(read_sets[:3], "Torn")
    ti = TaskInstance()
    with pytest.raises(OmicsReadSetJobFailedError):
        through_triggerer(deferrable(fast, EXPORT, read_sets), ti)
    fast.local.clear_faults()
    ti.try_number = 2
    through_triggerer(deferrable(fast, EXPORT, read_sets), ti)
    assert processed(fast, EXPORT) == dict.fromkeys(read_sets, 1)


def test_transient_errors_are_waited_out(fast: World, ti: TaskInstance) -> None:
    read_sets = fast.local.add_read_sets(fast.store, 100, "ARCHIVED")
    fast.local.add_fault(error="ThrottlingException", rate=0.4)
    through_triggerer(deferrable(fast, ACTIVATION, read_sets, max_concurrent_jobs=3, botocore_config=ONE_TRY), ti)
    fast.local.clear_faults()
    assert processed(fast, ACTIVATION) == dict.fromkeys(read_sets, 1)


def test_a_refusal_in_the_triggerer_ends_the_task(
    world: World, ti: TaskInstance, logs: Callable[[], list[str]]
) -> None:
    started = deferrable(world, EXPORT, world.read_sets)
    deferred = leave(started, ti)
    world.local.add_fault(operation="GetReadSetExportJob", error="AccessDeniedException")
    with pytest.raises(OmicsRefusedError):
        wake(started, deferred, ti)
    (job_id,) = deferred.kwargs["memory"]["running"]
    assert any("These jobs go on at AWS" in line and job_id in line for line in logs())


def test_the_timeout_ends_the_task_and_names_its_jobs(world: World, ti: TaskInstance) -> None:
    started = deferrable(world, EXPORT, world.read_sets, timeout=0.5)
    deferred = leave(started, ti)
    assert 60 < deferred.timeout.total_seconds() <= 60.5  # only if no triggerer runs
    with pytest.raises(AirflowException, match="These export jobs go on at AWS") as caught:
        wake(started, deferred, ti)
    assert deferred.kwargs["memory"]["running"][0] in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"sources": None},
        {"sources": []},
        {"jobs": {"1234567890": {}}},
        {"jobs": {}},
        {"parameters": {"clientToken": "another"}},
        {"running": [5]},
        {"sent": {"1234567890": [7]}},
        {"pending": [{}]},
        {"pending": ["x"]},
        {"pending": [{"places": [], "after": []}]},
    ],
    ids=str,
)
def test_a_memory_that_is_none_fails_the_task(world: World, ti: TaskInstance, changes: dict[str, Any] | None) -> None:
    started = deferrable(world, EXPORT, world.read_sets)
    deferred = leave(started, ti)
    deferred.kwargs["memory"] = None if changes is None else {**deferred.kwargs["memory"], **changes}
    with pytest.raises(OmicsEventError, match="What this task remembered"):
        wake(started, deferred, ti, {"status": "due"})


@pytest.mark.parametrize("event", [None, {"status": "over"}, {"status": "over", "jobs": [{}]}], ids=str)
def test_a_malformed_event_fails_the_task(world: World, ti: TaskInstance, event: Any) -> None:
    started = deferrable(world, EXPORT, world.read_sets)
    with pytest.raises(OmicsEventError):
        wake(started, leave(started, ti), ti, event)


@pytest.mark.thorough
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_killed_worker_leaves_every_read_set_to_exactly_one_job(world: World, number: int) -> None:
    world.local.configure(job_seconds=0.3, max_concurrent_jobs={"activation": 2})
    read_sets = world.local.add_read_sets(world.store, 50, "ARCHIVED")
    started = deferrable(world, ACTIVATION, read_sets, max_concurrent_jobs=2, botocore_config=ONE_TRY)

    first = get_context("fork").Process(target=through_triggerer, args=(started, TaskInstance()))
    first.start()
    while first.is_alive() and world.local.call_counts().get("StartReadSetActivationJob", 0) < number:
        time.sleep(0.002)
    first.kill()
    first.join()

    again = TaskInstance()
    again.try_number = 2
    through_triggerer(started, again)
    assert processed(world, ACTIVATION) == dict.fromkeys(read_sets, 1)


def test_a_retry_that_is_woken_as_the_attempt_that_failed_begins_anew(fast: World, ti: TaskInstance) -> None:
    """As Airflow 3.0 does it."""
    fast.local.fail_read_sets(fast.read_sets[:1], "Torn")
    started = deferrable(fast, EXPORT, fast.read_sets)
    fast.local.configure(job_seconds=1)
    deferred = leave(started, ti)
    fast.local.advance(1)
    with pytest.raises(OmicsReadSetJobFailedError):
        wake(started, deferred, ti)
    fast.local.clear_faults()
    ti.try_number = 2
    assert len(through_triggerer(started, ti, deferred)) == 2
    assert processed(fast, EXPORT) == dict.fromkeys(fast.read_sets, 1)
