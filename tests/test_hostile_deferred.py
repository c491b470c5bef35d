"""What a deferred task is told and remembers, edited by hand: no wrong success, no hang, no error without a name."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import JOB_SECONDS, TaskInstance, World, first_event
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starting import operator, processed
from test_hostile import (
    ACTIVATION,
    EVENT,
    EXPORT,
    ID,
    IMPORT,
    JOB,
    OTHER,
    changed,
    hostile,
    only,
    over_http,
    texts,
)
from versions import TaskDeferred

from airflow_omics._airflow import AirflowException
from airflow_omics._arguments import LONGEST_WAIT
from airflow_omics._service.kinds import READ_SET_JOB_KINDS
from airflow_omics._waiting import trigger_events
from airflow_omics.exceptions import OmicsEventError
from airflow_omics.jobs import ReadSetJobKind
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
        told = trigger_events.parse(event, EXPORT, ID, [OTHER])
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
    assert len(json.dumps(event)) <= trigger_events.LARGEST
    with only(AirflowException):
        assert {status.status for status in trigger_events.parse(event, EXPORT, world.store, [job_id]).values()} <= {
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
    is_moment = value is None or (type(value) in (int, float) and 0 <= value <= time.time() + LONGEST_WAIT)
    assert isinstance(caught.value, OmicsEventError) != is_moment
    assert is_moment or name in str(caught.value)


@pytest.fixture(params=READ_SET_JOB_KINDS, ids=lambda kind: kind.word)
def started(request: pytest.FixtureRequest, world: World) -> tuple[ReadSetJobKind, Any, dict[str, Any]]:
    """An operator of every kind that left its worker, and what it remembers."""
    kind = request.param
    world.local.archive_read_sets() if kind is ACTIVATION else None
    items = world.sources if kind is IMPORT else world.read_sets
    task = operator(world, kind, items, deferrable=True, timeout=5)
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": TaskInstance()})
    return kind, task, {**(caught.value.kwargs or {}), "event": {"status": "due"}}


def wake_with(world: World, started: tuple[ReadSetJobKind, Any, dict[str, Any]], edited: Any) -> None:
    """
    Wake an operator that remembers something else: it goes on, or fails in words.

    It succeeds only if AWS itself told that the goal holds for everything that it believes to have been given.
    """
    kind, task, kwargs = started
    ti = TaskInstance()
    result = None
    with only(AirflowException), suppress(TaskDeferred):
        result = task.resume_execution("execute_complete", {**kwargs, "memory": edited}, {"ti": ti})
    if result is None:
        return
    assert len(ti.xcoms["read_set_ids"]) == len(edited["sources"])
    assert {each for job in result for each in job["finished"]} <= set(ti.xcoms["read_set_ids"])
    if kind is EXPORT:
        assert set(ti.xcoms["read_set_ids"]) <= processed(world, kind).keys()
    else:
        for each in ti.xcoms["read_set_ids"]:
            read_set = world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=each)
            assert read_set["status"] == "ACTIVE"


places = st.lists(st.integers(0, 2), min_size=1, max_size=3)
moments = st.integers(1_600_000_000, 1_900_000_000).map(lambda since: datetime.fromtimestamp(since, UTC).isoformat())
MEMBERS: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "sources": lambda known: st.lists(st.sampled_from(known["sources"]), max_size=4),
    "parameters": lambda known: changed({"clientToken": "mine", **known["parameters"]}, texts),
    "jobs": lambda known: st.dictionaries(st.sampled_from([*known["jobs"], OTHER]), st.none() | hostile, max_size=3),
    "running": lambda known: st.lists(st.sampled_from([*known["jobs"], OTHER]), max_size=3),
    "sent": lambda known: st.dictionaries(st.sampled_from([*known["jobs"], OTHER]), places, max_size=2),
    "lost": lambda known: st.dictionaries(st.sampled_from([*known["jobs"], OTHER]), moments, max_size=2),
    "refused": lambda known: st.lists(st.fixed_dictionaries({"message": texts, "places": places}), max_size=2),
    "pending": lambda known: st.lists(
        st.fixed_dictionaries({"places": places, "after": st.lists(st.sampled_from([*known["jobs"], OTHER]))}),
        max_size=2,
    ),
    "has_looked_for_jobs": lambda known: st.booleans(),
}
"""What every member may be, in its right form: so an edited memory is taken up."""


@pytest.mark.parametrize("is_over", [False, True], ids=["running", "over"])
@settings(over_http, max_examples=40)
@given(data=st.data())
def test_a_memory_that_is_edited(
    world: World, started: tuple[ReadSetJobKind, Any, dict[str, Any]], is_over: bool, data: st.DataObject
) -> None:
    memory = started[2]["memory"]
    names = st.lists(st.sampled_from(sorted(MEMBERS)), min_size=1, max_size=4, unique=True)
    alike = {name: data.draw(MEMBERS[name](memory)) for name in data.draw(names)}
    world.local.advance(JOB_SECONDS * 3) if is_over else None
    wake_with(world, started, data.draw(hostile | changed({**memory, **alike}, hostile) | st.just({**memory, **alike})))


NOTHING_KNOWN: dict[str, Any] = {"jobs": {}, "running": [], "sent": {}}
EDITS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a source twice": lambda known: {"sources": [known["sources"][0]] * 2, "sent": {}},
    "a source twice, and no job": lambda known: {"sources": [known["sources"][0]] * 2, **NOTHING_KNOWN},
    "a source less": lambda known: {"sources": known["sources"][:2], "sent": {min(known["jobs"]): [0, 1]}},
    "a source that is unknown": lambda known: {"sources": [*known["sources"][:2], {"readSetId": OTHER}]},
    "a member that AWS does not know": lambda known: {"sources": [{**known["sources"][0], "more": 1}], "sent": {}},
    "no job": lambda _: NOTHING_KNOWN,
    "somebody's job": lambda _: {"jobs": {OTHER: None}, "running": [OTHER], "sent": {}},
    "nothing running": lambda _: {"running": []},
    "a job twice": lambda known: {"running": known["running"] * 2},
    "a job that was not sent": lambda _: {"sent": {OTHER: [0, 1, 2]}},
    "a job lost for long": lambda known: {"lost": {min(known["jobs"]): "2020-01-01T00:00:00+00:00"}},
    "all to be started again": lambda _: {"pending": [{"places": [0, 1, 2], "after": []}]},
    "one to be started twice": lambda _: {"pending": [{"places": [0, 0], "after": []}] * 2, **NOTHING_KNOWN},
    "all refused": lambda _: {"refused": [{"message": "No.", "places": [0, 1, 2]}], **NOTHING_KNOWN},
    "no parameters": lambda _: {"parameters": {}, **NOTHING_KNOWN},
    "another token": lambda known: {"parameters": {**known["parameters"], "clientToken": "x"}, **NOTHING_KNOWN},
    "another kind": lambda known: {"parameters": {**known["parameters"], "kind": "x"}, **NOTHING_KNOWN},
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("is_over", [False, True], ids=["running", "over"])
@pytest.mark.parametrize("name", EDITS)
def test_a_memory_that_somebody_wrote(
    world: World, started: tuple[ReadSetJobKind, Any, dict[str, Any]], is_over: bool, name: str
) -> None:
    memory = started[2]["memory"]
    world.local.advance(JOB_SECONDS * 3) if is_over else None
    wake_with(world, started, {**memory, **EDITS[name](memory)})


@pytest.mark.parametrize(
    "edited",
    [None, {}, [], "memory", {"sources": [{}]}, {"jobs": {"x": None}}, {"running": [OTHER]}, {"lost": {OTHER: "2026"}}],
    ids=str,
)
def test_a_memory_that_cannot_be_is_named(left: list[tuple[Any, dict[str, Any]]], edited: Any) -> None:
    task, kwargs = left[1]
    memory = {**kwargs["memory"], **edited} if edited and isinstance(edited, dict) else edited
    with pytest.raises(OmicsEventError, match="What this task remembered"):
        task.resume_execution("execute_complete", {**kwargs, "memory": memory}, {"ti": TaskInstance()})
