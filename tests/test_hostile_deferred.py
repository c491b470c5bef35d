"""What a deferred task is told and remembers, edited by hand: no wrong success, no hang, no error without a name."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from conftest import TaskInstance, World, first_event
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starting import operator
from test_hostile import EVENT, EXPORT, ID, JOB, OTHER, changed, hostile, only, over_http
from versions import TaskDeferred

from airflow_omics import events
from airflow_omics.bounds import LARGEST_ERROR
from airflow_omics.compat import AirflowException
from airflow_omics.exceptions import OmicsEventError
from airflow_omics.triggers import OmicsReadSetJobTrigger


@settings(max_examples=150, deadline=None)
@given(
    hostile
    | changed(EVENT, hostile)
    | changed(JOB.summary(), hostile).map(lambda job: {**EVENT, "jobs": [job]})
    | changed({"status": "error", "error": "OmicsRefusedError", "message": "No"}, hostile)
)
@example({**EVENT, "jobs": [JOB.summary(), {**JOB.summary(), "status": "FAILED"}]})
@example({**EVENT, "jobs": [{**JOB.summary(), "completion_time": "0001-01-01T00:00:00+14:00"}]})
def test_an_event_that_is_edited(event: Any) -> None:
    with only(AirflowException):
        told = events.parse(event, EXPORT, ID, [OTHER])
        assert told.keys() <= {OTHER}
        assert not told or (event["jobs"][0]["status"], len(event["jobs"])) == (told[OTHER].status, 1)
        json.dumps([job.summary() for job in told.values()], ensure_ascii=False).encode()


@settings(over_http, max_examples=20)
@given(data=st.data())
def test_a_trigger_that_is_edited(world: World, data: st.DataObject) -> None:
    job_id = world.job(EXPORT, "COMPLETED")
    good = OmicsReadSetJobTrigger(
        kind="export", sequence_store_id=world.store, job_ids=[job_id], poll_interval=0.1, wake_at=time.time() + 0.3
    ).serialize()[1]
    shapes = st.just({"job_ids": job_id}) | st.just({"job_ids": int(job_id)}) | st.just({"fire_after": 10**18})
    trigger = OmicsReadSetJobTrigger(**data.draw(changed(good, hostile) | shapes.map(lambda new: {**good, **new})))
    asyncio.run(trigger.on_kill())
    event = asyncio.run(first_event(trigger, seconds=20))
    assert len(json.dumps(event)) <= events.LARGEST
    with only(AirflowException):
        assert {status.status for status in events.parse(event, EXPORT, world.store, [job_id]).values()} <= {
            "COMPLETED"
        }


@pytest.fixture
def left(world: World) -> list[tuple[Any, dict[str, Any]]]:
    """A sensor and an operator that wait for a job that is not over, and what they remember."""
    tasks = [
        world.sensor(EXPORT, world.start(EXPORT), deferrable=True, timeout=10**8),
        operator(world, EXPORT, world.read_sets, deferrable=True, timeout=10**8),
    ]
    remembered = []
    for task in tasks:
        with pytest.raises(TaskDeferred) as caught:
            task.execute({"ti": TaskInstance()})
        remembered.append((task, {**(caught.value.kwargs or {}), "event": {"status": "due"}}))
    return remembered


@settings(over_http, max_examples=40)
@given(which=st.sampled_from([0, 1]), value=hostile, more=st.dictionaries(st.sampled_from(["new", "method"]), hostile))
@example(which=0, value=float("nan"), more={})
@example(which=1, value=10**400, more={"of_the_next_version": 1})
def test_what_a_deferred_task_is_woken_with(
    left: list[tuple[Any, dict[str, Any]]], which: int, value: Any, more: dict[str, Any]
) -> None:
    (task, kwargs), name = left[which], ["since", "deadline"][which]
    with pytest.raises((TaskDeferred, AirflowException)) as caught:  # for the job is not over
        task.resume_execution("execute_complete", {**kwargs, name: value, **more}, {"ti": TaskInstance()})
    is_moment = value is None or (type(value) in (int, float) and 0 <= value <= 10**10)
    assert isinstance(caught.value, OmicsEventError) != is_moment
    assert is_moment or name in str(caught.value)


@settings(over_http, max_examples=100)
@given(data=st.data())
def test_a_memory_that_is_edited(left: list[tuple[Any, dict[str, Any]]], data: st.DataObject) -> None:
    task, kwargs = left[1]
    memory = kwargs["memory"]
    jobs = changed(memory["jobs"][0], hostile).map(lambda job: {**memory, "jobs": [job]})
    edited = data.draw((hostile | changed(memory, hostile) | jobs).filter(lambda drawn: drawn != memory))
    with pytest.raises(OmicsEventError, match="What this task remembered") as caught:
        task.resume_execution("execute_complete", {**kwargs, "memory": edited}, {"ti": TaskInstance()})
    assert len(str(caught.value)) <= LARGEST_ERROR
