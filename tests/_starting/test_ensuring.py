"""What every attempt of an operator does about what it finds: the README's table, row by row, in both ways to wait."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import BUCKET, JOB_SECONDS, ROLE, World
from starting import processed
from tasks import ACTIVATION, EXPORT, IMPORT, Task, items_for, job_items, later, name_of, statuses

from airflow_omics.exceptions import OmicsRefusedError

# --- some items failed


def as_it_was(items: list[Any]) -> list[Any]:
    return items


def reordered(items: list[Any]) -> list[Any]:
    return items[::-1]


def shortened(items: list[Any]) -> list[Any]:
    return [*items[:60], *items[61:]]


@pytest.mark.parametrize("change", [as_it_was, reordered, shortened], ids=lambda change: change.__name__)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["retried", "cleared"])
def test_only_what_is_missing_is_started(task: Task, change: Callable[[Any], Any], is_cleared: bool) -> None:
    items = items_for(task, 230)
    bad = [items[5], items[150]]
    task.world.local.fail_read_sets([name_of(each) for each in bad], "Torn")
    error = task.fail(items)
    assert error.to_retry == bad
    assert task.ti.xcoms[f"failed_{task.kind.item_argument}s"] == ([] if task.kind.makes_items else bad)
    assert len(task.ti.xcoms[f"{task.kind.item_argument}s"]) == 228
    before = len(job_items(task.world, task.kind))
    task.world.local.clear_faults()
    if is_cleared:
        task.clear()
    changed = change(items)
    summaries = task.attempt(changed)
    started = [name for names in job_items(task.world, task.kind)[before:] for name in names]
    assert sorted(started) == sorted(map(name_of, bad))
    assert len(task.ti.xcoms[f"{task.kind.item_argument}s"]) == len(changed)
    if task.kind is not ACTIVATION:
        assert sum(len(each["finished"]) for each in summaries) == len(changed)
        assert all(each["failed"] == each["unfinished"] == [] for each in summaries)


def test_a_corrected_list_starts_what_is_new_in_it(task: Task) -> None:
    *items, new = items_for(task, 231)
    task.world.local.fail_read_sets([name_of(items[100])], "Torn")
    task.fail(items)
    before = len(job_items(task.world, task.kind))
    corrected = [*items[:100], new, *items[101:]]
    task.attempt(corrected, **({} if task.kind is ACTIVATION else {"role_arn": f"{ROLE}2"}))
    assert job_items(task.world, task.kind)[before:] == [[name_of(new)]]
    assert len(task.ti.xcoms[f"{task.kind.item_argument}s"]) == 230


# --- cleared after success


def test_an_activation_cleared_weeks_later(activation: Task) -> None:
    world = activation.world
    items = items_for(activation, 3)
    activation.attempt(items)
    world.local.archive_read_sets(items[:2])
    activation.clear()
    (summary,) = activation.attempt(items)
    assert summary["finished"] == items[:2]
    assert activation.ti.xcoms["read_set_ids"] == items
    assert statuses(world, items) == ["ACTIVE"] * 3
    activation.clear()
    assert activation.attempt(items) == []


def test_an_import_cleared_imports_again_what_was_deleted(importing: Task) -> None:
    world = importing.world
    importing.attempt(world.sources)
    ids = importing.ti.xcoms["read_set_ids"]
    world.local.archive_read_sets(ids[:1])
    world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=ids[1:2])
    importing.clear()
    importing.attempt(world.sources)
    again = importing.ti.xcoms["read_set_ids"]
    assert (again[0], again[2]) == (ids[0], ids[2])
    assert again[1] != ids[1]
    assert [len(each) for each in job_items(world, IMPORT)] == [3, 1]


def test_an_export_cleared_after_success_is_done_again_and_not_after_a_failure(export: Task) -> None:
    world = export.world
    items = items_for(export, 150)
    export.attempt(items)
    export.clear()
    summaries = export.attempt(items)
    assert set(processed(world, EXPORT).values()) == {2}
    assert sum(len(each["finished"]) for each in summaries) == 150
    export.clear()
    world.local.fail_read_sets(items[:1], "Torn")
    export.fail(items)
    world.local.clear_faults()
    export.attempt(items)
    assert len(processed(world, EXPORT)) == 150


def test_an_attempt_that_dies_after_a_clear_skips_no_export(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    world.local.configure(job_seconds=0)
    items = items_for(task, 150)
    task.attempt(items)
    task.clear()
    world.local.configure(job_seconds=JOB_SECONDS, max_concurrent_jobs={"export": 1})
    with pytest.raises(Exception, match="Timed out"):  # one of two jobs is started
        task.attempt(items, timeout=1, botocore_config={"retries": {"total_max_attempts": 1}})
    world.local.configure(job_seconds=0, max_concurrent_jobs=None)
    world.local.advance(JOB_SECONDS)
    task.attempt(items)
    assert min(processed(world, EXPORT)[each] for each in items) == 2
    assert max(processed(world, EXPORT)[each] for each in items) <= 3


# --- somebody else's jobs


@pytest.mark.parametrize("is_good", [True, False], ids=["does it", "fails"])
def test_somebody_elses_activation(world: World, deferrable: bool, is_good: bool) -> None:
    task = Task(world, ACTIVATION, deferrable)
    mine, other = items_for(task, 2)
    stranger = world.start(ACTIVATION, [mine, other])
    world.local.advance(JOB_SECONDS / 2)
    world.local.fail_read_sets([other] if is_good else [mine, other], "Torn")

    def end() -> None:
        world.local.configure(job_seconds=0)
        world.local.advance(JOB_SECONDS)
        assert world.status(ACTIVATION, stranger).startswith(("COMPLETED", "FAILED"))
        world.local.clear_faults()

    timer = later(end)
    summaries = task.attempt([mine])
    timer.join()
    assert [each["finished"] for each in summaries] == [[mine]]
    assert ([each["job_id"] for each in summaries] == [stranger]) == is_good
    assert other not in json.dumps([summaries, task.ti.xcoms])
    assert statuses(world, [mine]) == ["ACTIVE"]


def test_somebody_elses_export_is_waited_for_by_a_retry_only_if_it_counts(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    mine, other = items_for(task, 2)
    elsewhere = world.start(EXPORT, [mine], destination=f"s3://{BUCKET}/elsewhere/")
    stranger = world.start(EXPORT, [mine, other])
    task.ti.try_number = 1
    ids = task.attempt([mine], wait_for_completion=False)
    assert ids == [stranger]
    task.run_after = datetime.now(UTC) + timedelta(seconds=1)  # it was started before the run was to run
    (own,) = task.attempt([mine], wait_for_completion=False)
    assert own not in (stranger, elsewhere)


# --- what AWS tells


def test_what_a_job_does_not_list_is_not_finished(task: Task) -> None:
    items = items_for(task, 3)
    sent = {"status": "COMPLETED", task.kind.items_key: []}
    task.world.local.add_fault(operation=task.kind.operation("Get"), response=sent)
    if task.kind is ACTIVATION:
        task.attempt(items)
        assert task.ti.xcoms[f"{task.kind.item_argument}s"] == items  # for they are ACTIVE
        return
    error = task.fail(items)
    assert f"3 of 3 {task.kind.item}s were never finished" in str(error)
    assert error.to_retry == items


def test_items_that_cannot_be_told_apart_are_not_finished(importing: Task) -> None:
    world = importing.world
    source = {**world.sources[0], "readSetId": world.read_sets[0], "status": "FINISHED"}
    listed = [source, {**source, "status": "FAILED", "statusMessage": "Torn"}]
    world.local.add_fault(
        operation="GetReadSetImportJob", response={"status": "COMPLETED_WITH_FAILURES", "sources": listed}
    )
    assert importing.fail(world.sources[:2]).to_retry == world.sources[:2]


@pytest.mark.parametrize("status", ["FAILED", "COMPLETED"])
def test_a_job_that_a_token_finds_is_never_told_as_one_of_now(task: Task, status: str) -> None:
    """A run that is deleted and made again makes the same tokens, and looks for no job."""
    items = items_for(task, 3)
    if status == "FAILED":
        task.world.local.fail_read_sets([name_of(each) for each in items], "Torn")
        task.fail(items, client_token="mine")
        task.world.local.clear_faults()
    else:
        task.attempt(items, client_token="mine")
    if task.kind is ACTIVATION:
        task.world.local.archive_read_sets(items) if status == "COMPLETED" else None
    task.world.local.advance(3600)
    task.ti.try_number = 0
    task.attempt(items, client_token="mine")
    assert len(task.ti.xcoms[f"{task.kind.item_argument}s"]) == 3
    jobs = len(job_items(task.world, task.kind))
    assert jobs == (1 if status == "COMPLETED" and task.kind is not ACTIVATION else 2)
    # In another run it does not count.
    task.ti.try_number = 0
    task.run_after = datetime.now(UTC) + timedelta(seconds=7200)
    task.world.local.advance(7200)
    task.attempt(items, client_token="mine")
    assert len(job_items(task.world, task.kind)) == jobs + (task.kind is not ACTIVATION)


# --- refusals


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "the second"])
@pytest.mark.parametrize("code", ["ValidationException", "ResourceNotFoundException"])
def test_one_refused_job_keeps_no_other_from_its_work(export: Task, code: str, is_first: bool) -> None:
    world = export.world
    items = items_for(export, 250)
    if not is_first:
        world.local.add_fault(operation="StartReadSetExportJob", delay=0, times=1)
    world.local.add_fault(operation="StartReadSetExportJob", error=code, times=1)
    with pytest.raises(OmicsRefusedError, match=code):
        export.attempt(items)
    left = sorted(items)[:100] if is_first else sorted(items)[100:200]
    assert export.ti.xcoms["to_retry"] == left
    assert set(export.ti.xcoms["read_set_ids"]) == set(items) - set(left)
    assert len(export.ti.xcoms["failed_job"]) == 2
    export.attempt(items)
    assert processed(world, EXPORT) == dict.fromkeys(items, 1)


def test_refused_and_failed_is_the_failure_of_the_operator(export: Task) -> None:
    world = export.world
    items = items_for(export, 101)
    world.local.add_fault(operation="StartReadSetExportJob", delay=0, times=1)
    world.local.add_fault(operation="StartReadSetExportJob", error="ValidationException", times=1)
    world.local.fail_read_sets(items[:1], "Torn")
    error = export.fail(items, accept_partial_failure=True)
    assert error.to_retry == [items[0], items[100]]
    assert all(said in str(error) for said in ("Torn", "ValidationException", items[100]))


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_what_is_refused_for_all_is_asked_for_once(export: Task, code: str) -> None:
    items = items_for(export, 450)
    for operation in ("StartReadSetExportJob", "ListReadSets"):
        export.world.local.add_fault(operation=operation, error=code)
    with pytest.raises(OmicsRefusedError):
        export.attempt(items)
    assert export.ti.xcoms["to_retry"] == items
    assert export.world.local.call_counts()["StartReadSetExportJob"] == 1
