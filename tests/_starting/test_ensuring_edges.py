"""Attempts of operators and the odd: statuses, partial success, no waiting, what comes late, and what is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import JOB_SECONDS, ONE_TRY, World, through_triggerer, wake
from starting import DESTINATION, operator
from tasks import ACTIVATION, EXPORT, IMPORT, Task, calls, items_for, job_items, later, name_of, statuses
from versions import TaskDeferred

from airflow_omics._airflow import AirflowException
from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import OmicsArgumentError, OmicsReadSetJobFailedError

# --- the statuses of read sets


@pytest.mark.parametrize("status", ["ACTIVATING", "PROCESSING_UPLOAD", "TOMORROW"])
def test_what_is_under_way_is_waited_for(activation: Task, status: str) -> None:
    world = activation.world
    (mine,) = world.read_sets[:1]
    world.local.add_fault(operation="GetReadSetMetadata", response={"status": status}, times=3)
    assert activation.attempt([mine]) == []
    assert activation.ti.xcoms["read_set_ids"] == [mine]
    assert calls(world, "Start") == 0


@pytest.mark.parametrize("status", ["UPLOAD_FAILED", "DELETING", "DELETED", None])
def test_what_cannot_become_active_fails_by_name(activation: Task, status: str | None) -> None:
    world = activation.world
    good, lost = items_for(activation, 2)
    path = f"/readset/{lost}"
    if status is None:
        world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=[lost])
    else:
        world.local.add_fault(operation="GetReadSetMetadata", response={"status": status}, path_contains=path)
    error = activation.fail([lost, good])
    assert f"Read set is {status or 'not found'}, and will not become ACTIVE; correct read_set_ids: {lost}." in str(
        error
    )
    assert error.to_retry == [lost]
    assert activation.ti.xcoms["read_set_ids"] == [good]
    with pytest.raises(OmicsReadSetJobFailedError):
        activation.attempt([lost], wait_for_completion=False)


def test_what_stays_archived_after_its_job_is_asked_for_during_5_minutes(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    world.local.configure(job_seconds=0)
    (mine,) = items_for(task, 1)
    world.local.add_fault(operation="GetReadSetMetadata", response={"status": "ARCHIVED"})
    threading.Timer(1.5, world.local.advance, [301]).start()
    error = task.fail([mine], poll_interval=0.2)
    assert "ARCHIVED still" in str(error)
    assert calls(world, "StartReadSetActivationJob") == 1
    assert calls(world, "GetReadSetMetadata") > 3


# --- arguments, and nothing to do


def test_a_member_that_no_source_has(importing: Task) -> None:
    (source,) = items_for(importing, 1)
    with pytest.raises(OmicsArgumentError, match=r'(?s)sources\[0\]: "colour".*Nothing was sent'):
        importing.attempt([source | {"colour": "blue"}])


def test_two_equal_sources(fast: World) -> None:
    first, second = fast.sources[:2]
    with pytest.raises(OmicsArgumentError, match=r"sources\[0\] and sources\[2\] are the same source"):
        operator(fast, IMPORT, [first, second, {**first, "name": "another"}])


@pytest.mark.parametrize("wait", [True, False])
def test_nothing_to_do(task: Task, wait: bool) -> None:
    started = operator(task.world, task.kind, "{{ params.none }}", deferrable=task.deferrable, wait_for_completion=wait)
    setattr(started, "sources" if task.kind.makes_items else "read_set_ids", [])
    before = calls(task.world)
    assert through_triggerer(started, task.ti) == []
    assert calls(task.world) == before
    if task.kind is ACTIVATION:
        assert task.attempt(task.world.read_sets, wait_for_completion=wait) == []
        assert task.ti.xcoms[f"{task.kind.item_argument}s"] == task.world.read_sets


def test_the_record_of_an_imports_job_is_gone(importing: Task, logs: Callable[[], list[str]]) -> None:
    world = importing.world
    importing.attempt(world.sources[:1])
    world.local.add_fault(operation="ListReadSetImportJobs", response={"importJobs": []})
    world.local.configure(client_tokens=False)
    importing.clear()
    importing.attempt(world.sources[:1])
    assert len(job_items(world, IMPORT)) <= 2
    assert any("No import job is known" in line for line in logs())


# --- what is accepted


def test_accept_partial_failure_takes_what_a_job_ended_failed(task: Task) -> None:
    items = items_for(task, 3)
    task.world.local.fail_read_sets([name_of(items[0])], "Torn")
    (summary,) = task.attempt(items, accept_partial_failure=True)
    assert (len(summary["finished"]), len(summary["failed"])) == (2, 1)
    assert task.ti.xcoms["to_retry"] == items[:1]
    task.world.local.fail_read_sets([name_of(each) for each in items], "Torn")
    if task.kind is EXPORT:
        task.ti.run_id = "another"
        task.ti.try_number = 0
        task.fail(items, accept_partial_failure=True, destination=f"{DESTINATION}b/")  # not partial


# --- not waiting


def test_without_waiting_the_ids_of_what_is_under_way(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    items = items_for(task, 45)
    stranger = world.start(ACTIVATION, items[:1])
    world.local.advance(JOB_SECONDS / 2)
    ids = task.attempt([*items, *world.read_sets], wait_for_completion=False)
    assert ids[0] == stranger
    assert len(ids) == 4
    assert task.ti.xcoms[f"{task.kind.item_argument}s"] == world.read_sets
    assert sorted(task.attempt(items, wait_for_completion=False)) == sorted(ids)


# --- lost jobs, room


def test_a_job_that_is_not_found_is_missing_after_15_minutes(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    world.local.add_fault(operation="GetReadSetExportJob", error="ResourceNotFoundException")
    timers = [threading.Timer(after, world.local.advance, [451]) for after in (1, 3)]
    for timer in timers:
        timer.start()
    error = task.fail(world.read_sets, poll_interval=0.2)
    assert not timers[1].is_alive()
    assert "is not found" in str(error)
    assert error.to_retry == world.read_sets
    assert calls(world, "StartReadSetExportJob") == 1


def test_others_jobs_take_no_room(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    items = items_for(task, 101)
    for _ in range(2):
        world.start(EXPORT, [items[0], world.read_sets[0]])
    task.ti.try_number = 1
    ids = task.attempt(items, wait_for_completion=False, max_concurrent_jobs=1)
    assert len(ids) == 3  # both of others, and the one for what they do not have


# --- calls


def test_one_read_set_of_many_is_found_with_few_calls(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    world.local.add_read_sets(world.store, 1500)
    (mine,) = items_for(task, 1)
    task.attempt([mine], wait_for_completion=False)
    until_start = [call["operation"] for call in world.local.calls()]
    before = until_start[: until_start.index("StartReadSetActivationJob")]
    assert Counter(before)["GetReadSetMetadata"] == 1
    assert len(before) - before.count("CreateSequenceStore") <= 4


# --- what comes late, or is lost


def test_what_was_read_before_an_outage_is_not_believed_after_it(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    world.local.configure(job_seconds=0)
    x, y = world.read_sets[:2]
    world.local.add_fault(operation="GetReadSetMetadata", error="InternalServerException", path_contains=y)

    def end() -> None:
        world.local.archive_read_sets([x])
        world.local.clear_faults()

    timer = later(end)
    task.attempt([x, y], poll_interval=2, botocore_config=ONE_TRY)
    timer.join()
    assert statuses(world, [x, y]) == ["ACTIVE"] * 2


def test_an_outage_after_waking_is_waited_out_without_waiting(world: World) -> None:
    task = Task(world, ACTIVATION, deferrable=True)
    items = items_for(task, 30)
    started: Any = operator(
        world, ACTIVATION, items, deferrable=True, wait_for_completion=False, max_concurrent_jobs=1, poll_interval=0.1
    )
    task.ti.try_number = 1
    with pytest.raises(TaskDeferred) as caught:
        started.execute({"ti": task.ti})
    world.local.advance(JOB_SECONDS)
    world.local.add_fault(operation="ListReadSets", error="InternalServerException", times=5)
    assert len(through_triggerer(started, task.ti, caught.value)) == 2


def test_a_read_set_that_is_found_late_is_not_imported_twice(importing: Task) -> None:
    importing.world.local.add_fault(operation="GetReadSetMetadata", error="ResourceNotFoundException", times=3)
    importing.attempt(items_for(importing, 1))
    assert len(job_items(importing.world, IMPORT)) == 1


def test_a_job_that_start_tells_and_get_does_not_find_yet(world: World, kind: Kind, deferrable: bool) -> None:
    task = Task(world, kind, deferrable)
    items = items_for(task, 2)
    first = task.attempt(items, wait_for_completion=False)
    world.local.advance(10)
    world.local.add_fault(operation=kind.operation("List"), response={f"{kind.word}Jobs": []}, times=3)
    world.local.add_fault(operation=kind.operation("Get"), error="ResourceNotFoundException", times=8)
    assert task.attempt(items, wait_for_completion=False) == first


def test_a_job_that_is_listed_and_not_found_yet_is_waited_for(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    items = items_for(task, 2)
    first = task.attempt(items, wait_for_completion=False)
    world.local.add_fault(operation="GetReadSetExportJob", error="ResourceNotFoundException", times=4)
    assert task.attempt([*items, world.read_sets[0]], wait_for_completion=False)[0] == first[0]
    assert job_items(world, EXPORT) == [items, world.read_sets[:1]]


def test_jobs_that_start_says_have_ended_are_not_started_without_end(task: Task) -> None:
    items = items_for(task, 1)
    task.world.local.fail_read_sets([name_of(items[0])], "Torn")
    task.world.local.add_fault(operation=task.kind.operation("Start"), response={"status": "FAILED"})
    task.fail(items)
    assert len(job_items(task.world, task.kind)) <= 4


@pytest.mark.thorough
def test_a_start_whose_answer_was_lost_is_ones_own(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    world.local.configure(job_seconds=0)
    items = items_for(task, 2)
    world.local.fail_read_sets(items[:1], "Torn")
    world.local.add_fault(operation="StartReadSetExportJob", delay=3, times=1)
    impatient = {"retries": {"total_max_attempts": 1}, "read_timeout": 1}
    assert task.fail(items, botocore_config=impatient, poll_interval=5).to_retry == items[:1]
    assert job_items(world, EXPORT) == [items]


def test_earlier_jobs_take_room_after_waking(world: World) -> None:
    task = Task(world, EXPORT, deferrable=True)
    items = items_for(task, 350)
    task.ti.try_number = 1
    arguments: dict[str, Any] = {"deferrable": True, "poll_interval": 0.1}
    for limit in (1, 2):
        started: Any = operator(world, EXPORT, items, max_concurrent_jobs=limit, **arguments)
        with pytest.raises(TaskDeferred) as caught:
            started.execute({"ti": task.ti})
        task.ti.try_number += 1
    assert len(job_items(world, EXPORT)) == 2
    with pytest.raises(TaskDeferred):
        wake(started, caught.value, task.ti, {"status": "due"})
    assert len(job_items(world, EXPORT)) == 2


def test_without_waiting_only_what_is_missing_is_told_as_such(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    good, lost = items_for(task, 2)
    world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=[lost])
    error = task.fail([good, lost], wait_for_completion=False)
    assert str(error).startswith(f"Read set is not found, and will not become ACTIVE; correct read_set_ids: {lost}.")
    assert error.jobs == ()
    assert error.to_retry == [lost]


def test_an_archived_read_set_is_not_activated_twice_by_who_waited_for_the_job(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    items = items_for(task, 1)
    task.attempt(items, wait_for_completion=False)
    world.local.advance(JOB_SECONDS / 2)

    def end() -> None:
        world.local.add_fault(operation="GetReadSetMetadata", response={"status": "ARCHIVED"}, times=4)
        world.local.advance(JOB_SECONDS / 2 + 9)

    task.clear()
    timer = later(end)
    task.attempt(items)
    timer.join()
    assert len(job_items(world, ACTIVATION)) == 1


def test_an_import_that_tells_no_read_set(importing: Task) -> None:
    items = items_for(importing, 1)
    response = {"status": "COMPLETED", "sources": [{**items[0], "status": "FINISHED"}]}
    importing.world.local.add_fault(operation="GetReadSetImportJob", response=response)
    assert "did not tell which read set it made" in str(importing.fail(items))


def test_what_is_known_is_pushed_when_the_time_is_up(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    items = items_for(task, 2)
    with pytest.raises(AirflowException, match="Timed out"):
        task.attempt([*items, *world.read_sets], timeout=2)
    assert set(task.ti.xcoms["to_retry"]) >= set(items)  # woken, it has not looked again at the others
    assert deferrable or task.ti.xcoms[f"{task.kind.item_argument}s"] == world.read_sets


def test_a_jobs_message_is_not_told_if_it_has_strangers_items(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    world.local.configure(job_seconds=0)
    mine, other = items_for(task, 2)
    world.local.fail_read_sets([other], "Torn")
    world.start(EXPORT, [mine, other])
    told = {"statusMessage": f"Read set {other} failed"}
    world.local.add_fault(operation="GetReadSetExportJob", response=told)
    task.ti.try_number = 1
    (summary,) = task.attempt([mine])
    assert (summary["finished"], summary["status_message"]) == ([mine], None)
