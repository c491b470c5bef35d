"""What later attempts find, and what a task that is woken knows still."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import JOB_SECONDS, ONE_TRY, TaskInstance, World, through_triggerer, wake
from starting import DESTINATION, operator
from tasks import ACTIVATION, EXPORT, IMPORT, Task, calls, items_for, job_items, later, name_of, statuses
from versions import AirflowTaskTimeout, TaskDeferred

from airflow_omics._airflow import AirflowException
from airflow_omics.exceptions import OmicsArgumentError
from airflow_omics.hooks import OmicsHook


def context(task: Task) -> Any:
    return {"ti": task.ti}


def leave(task: Task, items: Any, **arguments: Any) -> tuple[Any, TaskDeferred]:
    """Let a task begin, and leave its worker; return its operator, and what Airflow keeps."""
    task.ti.try_number = 1
    started = operator(task.world, task.kind, items, **{"deferrable": True, **arguments})
    with pytest.raises(TaskDeferred) as caught:
        started.execute(context(task))
    return started, caught.value


@pytest.mark.parametrize("count", [1, 12])
def test_what_an_earlier_attempt_imported_may_be_found_late(world: World, deferrable: bool, count: int) -> None:
    task = Task(world, IMPORT, deferrable)
    world.local.configure(job_seconds=0)
    sources = items_for(task, count)
    task.attempt(sources, wait_for_completion=False)
    world.local.add_fault(operation="ListReadSets", response={"readSets": []})
    world.local.add_fault(operation="GetReadSetMetadata", error="ResourceNotFoundException")
    timer = later(world.local.clear_faults)
    task.attempt(sources)
    timer.join()
    assert len(job_items(world, IMPORT)) == 1
    assert len(task.ti.xcoms[f"{task.kind.item_argument}s"]) == count


def test_others_jobs_take_no_room_after_waking(world: World) -> None:
    task = Task(world, EXPORT, deferrable=True)
    items = items_for(task, 201)
    for _ in range(5):  # more than three: a List tells of them, and no Get
        world.start(EXPORT, [items[0], world.read_sets[0]])
    task.ti.try_number = 2
    started = operator(world, EXPORT, items, deferrable=True, max_concurrent_jobs=1)
    with pytest.raises(TaskDeferred) as caught:
        started.execute(context(task))
    own = max(caught.value.trigger.job_ids)  # type: ignore[attr-defined]
    assert calls(world, "StartReadSetExportJob") == 6
    world.local.cancel_job(own)
    world.local.advance(JOB_SECONDS * 0.11)
    with pytest.raises(TaskDeferred):
        wake(started, caught.value, task.ti, {"status": "due"})
    assert calls(world, "StartReadSetExportJob") == 7


def test_a_dag_that_changes_while_its_task_waits_changes_nothing(world: World) -> None:
    task = Task(world, EXPORT, deferrable=True)
    items = items_for(task, 150)
    elsewhere = world.omics.create_sequence_store(name="another")["id"]
    _, left = leave(task, items, max_concurrent_jobs=1)
    world.local.configure(job_seconds=0)
    world.local.advance(JOB_SECONDS)
    corrected = operator(
        world, EXPORT, items[:1], deferrable=True, sequence_store_id=elsewhere, destination=f"{DESTINATION}other/"
    )
    through_triggerer(corrected, task.ti, left)
    assert not world.omics.list_read_set_export_jobs(sequenceStoreId=elsewhere)["exportJobs"]
    assert task.ti.xcoms[f"{task.kind.item_argument}s"] == items
    jobs = world.omics.list_read_set_export_jobs(sequenceStoreId=world.store)["exportJobs"]
    assert {job["destination"] for job in jobs} == {DESTINATION}


def test_what_holds_and_what_is_in_the_way_is_known_after_waking(world: World) -> None:
    task = Task(world, ACTIVATION, deferrable=True)
    (archived,) = items_for(task, 1)
    world.local.add_fault(operation="StartReadSetActivationJob", error="ServiceQuotaExceededException")
    started, left = leave(task, [archived, *world.read_sets], timeout=1.5, botocore_config=ONE_TRY)
    with pytest.raises(AirflowException, match=r"after 1.5 s: 3 of 4 read sets done.*Last trouble: ServiceQuota"):
        through_triggerer(started, task.ti, left)
    assert task.ti.xcoms[f"{task.kind.item_argument}s"] == world.read_sets
    assert task.ti.xcoms["to_retry"] == [archived]


def test_a_store_that_is_not_found_is_told_as_such_after_waking(world: World) -> None:
    task = Task(world, EXPORT, deferrable=True)
    items = items_for(task, 101)
    world.local.add_fault(operation="StartReadSetExportJob", delay=0, times=1)
    for operation in ("StartReadSetExportJob", "ListReadSets"):
        world.local.add_fault(operation=operation, error="ResourceNotFoundException")
    started, left = leave(task, items)
    world.local.cancel_job(left.trigger.job_ids[0])  # type: ignore[attr-defined]
    world.local.advance(JOB_SECONDS)
    kept = json.loads(json.dumps(left.kwargs))["memory"]["refused"]
    assert [refusal["error"] for refusal in kept] == ["OmicsNotFoundError"]
    with pytest.raises(AirflowException, match="ended CANCELLED"):
        through_triggerer(started, task.ti, left)


def test_airflows_own_timeout_tells_what_is_known(world: World) -> None:
    task = Task(world, EXPORT, deferrable=False)
    items = items_for(task, 1)
    started = operator(world, EXPORT, items)
    task.ti.try_number = 1

    def interrupt(**_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    started.hook.conn.meta.events.register("before-call.omics.GetReadSetExportJob", interrupt)
    with pytest.raises(AirflowTaskTimeout):
        started.execute(context(task))
    assert task.ti.xcoms == {**task.ti.xcoms, "read_set_ids": [], "to_retry": items}


def test_an_old_failure_is_not_accepted_where_the_new_job_tells_nothing(task: Task) -> None:
    if task.kind is ACTIVATION:
        pytest.skip("its read set itself is asked for")
    bad, good = items_for(task, 2)
    world = task.world
    world.local.fail_read_sets([name_of(bad)], "Torn")
    task.fail([bad, good])
    world.local.clear_faults()
    key = task.kind.items_key
    latest = str(int(max(job["id"] for job in _jobs(task))) + 1)
    for number in range(20):  # whatever ids are given meanwhile
        path = f"/{int(latest) + number}"
        world.local.add_fault(operation=task.kind.operation("Get"), response={key: []}, path_contains=path)
    error = task.fail([bad, good], accept_partial_failure=True)
    assert error.to_retry == [bad]


def _jobs(task: Task) -> Any:
    return task.world.call(task.kind, "List")[task.kind.listed_as]


def test_an_item_of_an_earlier_failure_says_nothing_of_an_earlier_success(world: World, deferrable: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    world.local.configure(job_seconds=0)
    (mine,) = items_for(task, 1)
    task.attempt([mine])
    world.local.archive_read_sets([mine])
    world.local.fail_read_sets([mine], "Torn")
    error = task.fail([mine], client_token="the same")
    assert "ARCHIVED still" not in str(error)
    assert statuses(world, [mine]) == ["ARCHIVED"]


def test_a_store_with_very_many_jobs(fast: World, deferrable: bool) -> None:
    """A List of more pages than an endless one of a single status could have."""
    task = Task(fast, EXPORT, deferrable)
    items = items_for(task, 1)
    task.attempt(items)
    for number in range(120):
        page = {"exportJobs": [], "nextToken": urlsafe_b64encode(b"%05d" % number).decode()}
        fast.local.add_fault(operation="ListReadSetExportJobs", response=page, times=1)
    task.run_after = datetime.now(UTC) - timedelta(days=200)
    task.attempt(items)
    assert calls(fast, "StartReadSetExportJob") == 1


@pytest.mark.parametrize("criterion", ["sample_id", "status"])
def test_a_criterion_that_is_missing_does_not_find_the_whole_store(world: World, criterion: str) -> None:
    with pytest.raises(OmicsArgumentError, match=f"{criterion} is None"):
        OmicsHook().find_read_sets(world.store, **{criterion: None})


def test_a_jobs_message_is_not_told_after_waking_if_it_has_strangers_items(world: World) -> None:
    mine, new, other = world.read_sets
    world.local.fail_read_sets([other], "Torn")
    stranger = world.start(EXPORT, [mine, other])
    world.local.advance(JOB_SECONDS)
    assert world.status(EXPORT, stranger) == "COMPLETED_WITH_FAILURES"
    world.local.configure(job_seconds=0.3)
    world.local.add_fault(
        operation="GetReadSetExportJob", response={"statusMessage": f"{other} failed"}, path_contains=stranger
    )
    ti = TaskInstance()
    ti.try_number = 2
    summaries: Any = through_triggerer(operator(world, EXPORT, [mine, new], deferrable=True, poll_interval=0.1), ti)
    (old,) = (each for each in summaries if each["job_id"] == stranger)
    assert old["status_message"] is None


def test_what_was_active_when_the_worker_was_left_is_asked_for_again(world: World) -> None:
    task = Task(world, ACTIVATION, deferrable=True)
    archived = items_for(task, 21)
    started, left = leave(task, [*world.read_sets, *archived], max_concurrent_jobs=1, wait_for_completion=False)
    world.local.advance(JOB_SECONDS)
    world.local.archive_read_sets(world.read_sets[:1])
    timer = later(lambda: world.local.advance(JOB_SECONDS))  # there is room for one job at a time
    through_triggerer(started, task.ti, left)
    timer.join()
    assert [world.read_sets[0]] in job_items(world, ACTIVATION)
