"""What every attempt of an operator does about what it finds: the README's table, row by row, in both ways to wait."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import BUCKET, JOB_SECONDS, ONE_TRY, ROLE, TaskInstance, World, through_triggerer, wake
from starting import DESTINATION, operator, processed
from versions import TaskDeferred

from airflow_omics.compat import AirflowException, AirflowFailException
from airflow_omics.exceptions import OmicsArgumentError, OmicsReadSetJobFailedError, OmicsRefusedError
from airflow_omics.jobs import ReadSetJobKind

EXPORT, ACTIVATION, IMPORT = ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION, ReadSetJobKind.IMPORT


class Task:
    """A task that is tried, retried and cleared, as Airflow does it."""

    def __init__(self, world: World, kind: ReadSetJobKind, deferrable: bool) -> None:
        self.world, self.kind, self.deferrable = world, kind, deferrable
        self.ti = TaskInstance()
        self.ti.try_number = 0
        self.run_after: datetime | None = None

    def clear(self) -> None:
        self.ti.max_tries = self.ti.try_number

    def attempt(self, items: Any, **arguments: Any) -> Any:
        self.ti.try_number += 1
        self.ti.xcoms = {}
        started = operator(self.world, self.kind, items, deferrable=self.deferrable, **arguments)
        through = started.execute
        more: Any = {"dag_run": SimpleNamespace(run_after=self.run_after)} if self.run_after else {}

        def execute(context: Any) -> Any:
            return through(context | more)

        started.execute = execute  # type: ignore[method-assign]
        return through_triggerer(started, self.ti)

    def fail(self, items: Any, **arguments: Any) -> OmicsReadSetJobFailedError:
        with pytest.raises(OmicsReadSetJobFailedError) as caught:
            self.attempt(items, **arguments)
        assert not isinstance(caught.value, AirflowFailException)
        assert caught.value.to_retry == self.ti.xcoms["to_retry"]
        return caught.value


@pytest.fixture(params=[False, True], ids=["worker", "triggerer"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def task(fast: World, kind: ReadSetJobKind, deferrable: bool) -> Task:
    return Task(fast, kind, deferrable)


@pytest.fixture
def activation(fast: World, deferrable: bool) -> Task:
    return Task(fast, ACTIVATION, deferrable)


@pytest.fixture
def export(fast: World, deferrable: bool) -> Task:
    return Task(fast, EXPORT, deferrable)


@pytest.fixture
def importing(fast: World, deferrable: bool) -> Task:
    return Task(fast, IMPORT, deferrable)


def sources(world: World, count: int) -> list[dict[str, Any]]:
    return [{**world.sources[0], "sampleId": f"sample {number}"} for number in range(count)]


def calls(world: World, operation: str = "") -> int:
    return sum(count for name, count in world.local.call_counts().items() if name.startswith(operation))


def items_for(task: Task, count: int) -> list[Any]:
    if task.kind is IMPORT:
        return [world_source(task.world, number) for number in range(count)]
    return list(
        task.world.local.add_read_sets(task.world.store, count, "ARCHIVED" if task.kind is ACTIVATION else "ACTIVE")
    )


def world_source(world: World, number: int) -> dict[str, Any]:
    key = f"many/{number:05}.fastq"
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"@read\n")
    return World.source(f"s3://{BUCKET}/{key}")


def name_of(item: Any) -> str:
    return item if isinstance(item, str) else str(item["sourceFiles"]["source1"])


def statuses(world: World, ids: list[str]) -> list[str]:
    return [world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=each)["status"] for each in ids]


def job_items(world: World, kind: ReadSetJobKind) -> list[list[str]]:
    """Return what each job of a kind was started with, by name, in the order of the starts."""
    listed = getattr(world.omics, f"list_read_set_{kind.value}_jobs")(sequenceStoreId=world.store)[f"{kind.value}Jobs"]
    get = getattr(world.omics, f"get_read_set_{kind.value}_job")
    return [
        [
            item["sourceFiles"]["source1"] if kind is IMPORT else item[kind.item_id_key]
            for item in get(sequenceStoreId=world.store, id=job["id"])[kind.items_key]
        ]
        for job in listed
    ]


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
    assert task.ti.xcoms["failed_read_set_ids"] == ([] if task.kind is IMPORT else bad)
    assert len(task.ti.xcoms["read_set_ids"]) == 228
    before = len(job_items(task.world, task.kind))
    task.world.local.clear_faults()
    if is_cleared:
        task.clear()
    changed = change(items)
    summaries = task.attempt(changed)
    started = [name for names in job_items(task.world, task.kind)[before:] for name in names]
    assert sorted(started) == sorted(map(name_of, bad))
    assert len(task.ti.xcoms["read_set_ids"]) == len(changed)
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
    assert len(task.ti.xcoms["read_set_ids"]) == 230


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


def later(action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.7, action)
    timer.start()
    return timer


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
        assert task.ti.xcoms["read_set_ids"] == items  # for they are ACTIVE
        return
    error = task.fail(items)
    assert "3 of 3 read sets were never finished" in str(error)
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
    assert len(task.ti.xcoms["read_set_ids"]) == 3
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
def test_one_refused_job_keeps_no_other_from_its_work(export: Task, is_first: bool) -> None:
    world = export.world
    items = items_for(export, 250)
    if not is_first:
        world.local.add_fault(operation="StartReadSetExportJob", delay=0, times=1)
    world.local.add_fault(operation="StartReadSetExportJob", error="ValidationException", times=1)
    with pytest.raises(OmicsRefusedError, match="ValidationException"):
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
    export.world.local.add_fault(operation="StartReadSetExportJob", error=code)
    with pytest.raises(OmicsRefusedError):
        export.attempt(items)
    assert export.ti.xcoms["to_retry"] == items
    assert export.world.local.call_counts()["StartReadSetExportJob"] == 1


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
    assert f"Read set is {status or 'not found (or its sequence store is not)'}: {lost}." in str(error)
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


def test_two_equal_sources(fast: World) -> None:
    first, second = fast.sources[:2]
    with pytest.raises(OmicsArgumentError, match=r"sources\[0\] and sources\[2\] are the same source"):
        operator(fast, IMPORT, [first, second, {**first, "name": "another"}])


@pytest.mark.parametrize("wait", [True, False])
def test_nothing_to_do(task: Task, wait: bool) -> None:
    started = operator(task.world, task.kind, "{{ params.none }}", deferrable=task.deferrable, wait_for_completion=wait)
    setattr(started, "sources" if task.kind is IMPORT else "read_set_ids", [])
    before = calls(task.world)
    assert through_triggerer(started, task.ti) == []
    assert calls(task.world) == before
    if task.kind is ACTIVATION:
        assert task.attempt(task.world.read_sets, wait_for_completion=wait) == []
        assert task.ti.xcoms["read_set_ids"] == task.world.read_sets


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
    assert task.ti.xcoms["read_set_ids"] == world.read_sets
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


def test_a_job_that_start_tells_and_get_does_not_find_yet(world: World, kind: ReadSetJobKind, deferrable: bool) -> None:
    task = Task(world, kind, deferrable)
    items = items_for(task, 2)
    first = task.attempt(items, wait_for_completion=False)
    world.local.advance(10)
    world.local.add_fault(operation=kind.operation("List"), response={f"{kind.value}Jobs": []}, times=3)
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


def test_a_start_whose_answer_was_lost_is_ones_own(world: World, deferrable: bool) -> None:
    task = Task(world, EXPORT, deferrable)
    world.local.configure(job_seconds=0)
    items = items_for(task, 2)
    world.local.fail_read_sets(items[:1], "Torn")
    world.local.add_fault(operation="StartReadSetExportJob", response={"id": None}, times=1)
    with pytest.raises(AirflowException):  # AWS answered nonsense: the retry finds the job
        task.attempt(items)
    task.fail(items)
    assert job_items(world, EXPORT) == [items, items[:1]]


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
    assert str(error).startswith(f"Read set is not found (or its sequence store is not): {lost}.")
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
    assert deferrable or task.ti.xcoms["read_set_ids"] == world.read_sets


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
