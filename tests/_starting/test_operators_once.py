"""Every read set is done once: what a retry starts again, and what a killed process leaves."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import pytest
from conftest import ONE_TRY, PATIENCE, TaskInstance, World
from starting import operator, processed, run
from ways import calls, until

from airflow_omics._airflow import AirflowException
from airflow_omics._service.kind import Kind
from airflow_omics._starting.base_operator import OmicsStartJobOperator
from airflow_omics.exceptions import OmicsReadSetJobFailedError
from airflow_omics.jobs import ReadSetJobKind

# --- failures and retries


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION], ids=str)
def test_three_of_500_fail_and_the_retry_submits_exactly_those(fast: World, kind: Kind) -> None:
    status = "ARCHIVED" if kind is ReadSetJobKind.ACTIVATION else "ACTIVE"
    read_sets = fast.local.add_read_sets(fast.store, 500, status)
    bad = [read_sets[3], read_sets[250], read_sets[499]]
    fast.local.fail_read_sets(bad, "Torn")
    ti = TaskInstance()
    with pytest.raises(OmicsReadSetJobFailedError) as caught:
        run(operator(fast, kind, read_sets), ti)
    assert all(f"{each} (Torn)" in str(caught.value) for each in bad)
    assert ti.xcoms["failed_read_set_ids"] == bad
    assert len(ti.xcoms["failed_job"]) == -(-500 // kind.max_items)

    fast.local.clear_faults()
    first = {each["job_id"] for each in ti.xcoms["failed_job"]}
    again = [each for each in run(operator(fast, kind, read_sets), ti, try_number=2) if each["job_id"] not in first]
    assert sorted(read_set for each in again for read_set in each["finished"]) == bad
    assert all(each["failed"] == each["unfinished"] == [] for each in again)
    assert processed(fast, kind) == dict.fromkeys(read_sets, 1)


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_retry_after_a_job_that_failed_starts_a_new_one(world: World, ti: TaskInstance, status: str) -> None:
    started = operator(world, ReadSetJobKind.EXPORT, world.read_sets, wait_for_completion=False)
    (first,) = run(started, ti)
    if status == "FAILED":
        world.local.fail_read_sets(world.read_sets, "Torn")
    else:
        world.local.cancel_job(first)
    world.local.advance(10_000)
    world.local.clear_faults()
    (second,) = run(started, ti, try_number=2)
    assert second != first
    assert world.status(ReadSetJobKind.EXPORT, first) == status
    (found,) = run(started, ti, try_number=3)
    assert found == second
    world.local.cancel_job(second)
    world.local.advance(10_000)
    (third,) = run(started, ti, try_number=4)
    assert third not in (first, second)


def test_a_retry_finds_what_is_running_or_has_succeeded(world: World, ti: TaskInstance, kind: Kind) -> None:
    world.local.archive_read_sets() if kind is ReadSetJobKind.ACTIVATION else None
    items = world.items(kind)
    started = operator(world, kind, items, wait_for_completion=False)
    (first,) = run(started, ti)
    assert run(started, ti, try_number=2) == [first]
    world.local.advance(10_000)
    found = [] if kind is ReadSetJobKind.ACTIVATION else [first]  # what is active needs no job
    assert [each["job_id"] for each in run(operator(world, kind, items), ti, try_number=3)] == found
    assert set(processed(world, kind).values()) == {1}


def test_a_retry_returns_the_ids_of_all_jobs_that_are_under_way(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    started = operator(world, ReadSetJobKind.ACTIVATION, read_sets, wait_for_completion=False)
    first = run(started, ti)
    assert len(first) == 5
    assert sorted(run(started, ti, try_number=2)) == sorted(first)


def test_the_retry_of_an_import_submits_exactly_the_sources_that_failed(fast: World) -> None:
    bad = fast.sources[1]["sourceFiles"]["source1"]
    fast.local.fail_read_sets([bad], "Torn")
    ti = TaskInstance()
    with pytest.raises(OmicsReadSetJobFailedError, match="Torn"):
        run(operator(fast, ReadSetJobKind.IMPORT, fast.sources), ti)
    fast.local.clear_faults()
    first, second = run(operator(fast, ReadSetJobKind.IMPORT, fast.sources), ti, try_number=2)
    assert (len(first["finished"]), first["failed"]) == (2, [])  # what is told of it now, the second tells
    job = fast.omics.get_read_set_import_job(sequenceStoreId=fast.store, id=second["job_id"])
    assert [(each["sourceFiles"]["source1"], each["status"]) for each in job["sources"]] == [(bad, "FINISHED")]


def test_other_runs_tasks_and_map_indexes_start_jobs_of_their_own(fast: World) -> None:
    jobs = set()
    for name, value in (("run_id", "a"), ("run_id", "b"), ("dag_id", "c"), ("task_id", "d"), ("map_index", 5)):
        ti = TaskInstance()
        setattr(ti, name, value)
        jobs |= {each["job_id"] for each in run(operator(fast, ReadSetJobKind.EXPORT, fast.read_sets), ti)}
    assert len(jobs) == 5


def test_a_client_token_of_ones_own_joins_runs(fast: World) -> None:
    jobs = set()
    for run_id in ("a", "b"):
        ti = TaskInstance()
        ti.run_id = run_id
        started = operator(fast, ReadSetJobKind.EXPORT, fast.read_sets, client_token="delivery 7")
        jobs |= {each["job_id"] for each in run(started, ti)}
    assert len(jobs) == 1


def test_accept_partial_failure(fast: World, ti: TaskInstance) -> None:
    fast.local.fail_read_sets(fast.read_sets[:1], "Torn")
    started = operator(fast, ReadSetJobKind.EXPORT, fast.read_sets, accept_partial_failure=True)
    (summary,) = run(started, ti)
    assert [each["read_set_id"] for each in summary["failed"]] == fast.read_sets[:1]


@pytest.mark.parametrize("timeout", [2, timedelta(seconds=2)], ids=str)
def test_a_timeout_names_the_jobs_that_go_on(world: World, ti: TaskInstance, timeout: Any) -> None:
    with pytest.raises(AirflowException, match="These export jobs go on at AWS") as caught:
        run(operator(world, ReadSetJobKind.EXPORT, world.read_sets, timeout=timeout), ti)
    (job,) = world.omics.list_read_set_export_jobs(sequenceStoreId=world.store)["exportJobs"]
    assert job["id"] in str(caught.value)


# --- killed


def in_a_process(started: OmicsStartJobOperator, try_number: int) -> Any:
    """Run an operator in a process of its own: a fork, as Airflow's workers are."""
    process = get_context("fork").Process(target=run, args=(started, TaskInstance(), try_number))
    process.start()
    return process


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("verb", "number"),
    [
        ("before", 1),  # the first Start is on its way, and never answered
        ("before", 2),
        ("Start", 1),  # right after so many were answered
        ("Start", 2),
        ("Start", 3),
        ("Get", 1),
        ("Get", 4),
        ("Get", 9),
    ],
    ids=str,
)
def test_a_killed_process_leaves_every_read_set_to_exactly_one_job(
    world: World, kind: Kind, verb: str, number: int
) -> None:
    world.local.configure(job_seconds=0.3, max_concurrent_jobs=2)
    count = 2 * kind.max_items + 10
    items = world.many(kind, count)
    started = operator(world, kind, items, max_concurrent_jobs=2, botocore_config=ONE_TRY)
    operation = kind.operation("Start" if verb == "before" else verb)
    if verb == "before":
        if number > 1:
            world.local.add_fault(operation=operation, delay=0, times=number - 1)
        world.local.add_fault(operation=operation, action="hang", times=1)

    first = in_a_process(started, 1)
    while first.is_alive() and world.local.call_counts().get(operation, 0) < number:
        time.sleep(0.002)
    first.kill()
    first.join()
    second = in_a_process(started, 2)
    second.join(PATIENCE)

    assert second.exitcode == 0
    assert list(processed(world, kind).values()) == [1] * count
    listed = world.call(kind, "List")
    assert [each["status"] for each in listed[kind.listed_as]] == ["COMPLETED"] * 3


@pytest.mark.thorough
def test_an_outage_is_asked_through_at_the_poll_interval(world: World, ti: TaskInstance) -> None:
    """No sooner, and until the time is up."""
    world.local.add_fault(operation="GetReadSetExportJob", error="InternalServerException")
    started = operator(
        world, ReadSetJobKind.EXPORT, world.read_sets, poll_interval=2, timeout=5, botocore_config=ONE_TRY
    )
    with pytest.raises(AirflowException, match="Last trouble: InternalServerException on GetReadSetExportJob"):
        run(started, ti)
    assert world.local.call_counts()["GetReadSetExportJob"] == 3


def _until_killed(started: OmicsStartJobOperator, ti: TaskInstance) -> None:
    """Do on SIGTERM what Airflow 3's task runner does: call on_kill, and raise nothing."""
    signal.signal(signal.SIGTERM, lambda *_: started.on_kill())
    run(started, ti)


def test_a_killed_task_starts_no_more_jobs_and_names_those_that_go_on(
    world: World, ti: TaskInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    world.local.configure(max_concurrent_jobs={"export": 1})
    read_sets = world.local.add_read_sets(world.store, 250)
    started = operator(world, ReadSetJobKind.EXPORT, read_sets, poll_interval=0.1)
    process = get_context("fork").Process(target=_until_killed, args=(started, ti))
    process.start()
    try:
        until(lambda: calls(world) > 2)
        os.kill(process.pid or 0, signal.SIGTERM)
        process.join(PATIENCE)
        assert process.exitcode == 1
    finally:
        process.kill()
    started_jobs = [call for call in world.local.calls() if call["operation"].startswith("Start") and not call["error"]]
    assert len(started_jobs) == 1
    assert "These jobs go on at AWS" in capfd.readouterr().out
