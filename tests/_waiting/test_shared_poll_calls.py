"""The poll that waits share, by what is asked of AWS and what is told; errors are in test_shared_poll_errors.py."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import Any

from conftest import JOB_SECONDS, World, first_event
from waiting import EXPORT, asked, gets, give_up, ids, run, the_poll, threads, trigger, until

from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import READ_SET, READ_SET_JOB_KINDS
from airflow_omics._waiting.schedule import FEW
from airflow_omics._waiting.shared_poll import FAILED_POLLS, SharedPoll
from airflow_omics.triggers import OmicsReadSetJobTrigger


def test_the_next_round_is_due_within_the_interval(world: World) -> None:
    job_id = world.start(EXPORT)

    async def one_round() -> None:
        waiting = asyncio.create_task(first_event(trigger(world, job_id, poll_interval=600)))
        poll = await the_poll()
        await until(lambda: poll._schedule._due)
        assert 500 < poll._schedule._due[job_id] - asyncio.get_running_loop().time() <= 600
        await give_up(waiting)

    run(one_round())


def test_what_ended_is_not_asked_for_again(world: World) -> None:
    done, running = world.job(EXPORT, "COMPLETED"), world.start(EXPORT)

    async def a_few_rounds() -> None:
        waiting = asyncio.create_task(first_event(trigger(world, done, running, poll_interval=0.1)))
        await until(lambda: gets(world).count(running) >= 4)
        assert gets(world).count(done) == 1
        world.end(running, "COMPLETED")
        await waiting

    run(a_few_rounds())


def test_a_shorter_interval_makes_nothing_due_at_once(world: World) -> None:
    jobs = [world.start(EXPORT) for _ in range(3)]

    async def one_after_the_other() -> None:
        waiting = []
        for number, job_id in enumerate(jobs):
            waiting.append(asyncio.create_task(first_event(trigger(world, job_id, poll_interval=600 - number))))
            await until(lambda: len(gets(world)) > number)  # noqa: B023 - awaited here
        assert gets(world) == jobs
        await give_up(*waiting)

    run(one_after_the_other())


def test_a_poll_has_one_thread_and_disconnects_after_its_last_round(world: World) -> None:
    slow = world.start(EXPORT)
    world.local.add_fault(operation="GetReadSetExportJob", delay=2)

    async def leave_while_asked() -> SharedPoll:
        leaving = asyncio.create_task(first_event(trigger(world, slow)))
        await until(lambda: gets(world))
        poll = await the_poll()
        assert "conn" in vars(poll._poll.hook)  # type: ignore[union-attr]
        assert threads() == ["airflow-omics-poll"]
        await give_up(leaving)
        assert threads() == ["airflow-omics-poll"]
        return poll

    assert "conn" not in vars(run(leave_while_asked())._poll.hook)


def test_all_waits_of_a_connection_share_one_client_and_one_thread(world: World) -> None:
    other = world.omics.create_sequence_store(name="another")["id"]
    world.local.archive_read_sets(world.read_sets)
    waits: list[tuple[Kind, str, str]] = [(kind, world.store, world.start(kind)) for kind in READ_SET_JOB_KINDS]
    waits += [(READ_SET, world.store, world.read_sets[2])]
    waits += [(READ_SET, other, world.local.add_read_sets(other, 1, "ARCHIVED")[0])]

    async def wait_for_all_kinds() -> None:
        arguments: dict[str, Any] = {"poll_interval": 0.3}
        waiting = [
            asyncio.create_task(
                first_event(
                    OmicsReadSetJobTrigger(kind=kind.word, sequence_store_id=store, job_ids=[work_id], **arguments)
                )
            )
            for kind, store, work_id in waits
        ]
        await until(lambda: asked(world, "GetReadSetMetadata") > 2)
        await until(lambda: all(asked(world, kind.operation("Get")) for kind in READ_SET_JOB_KINDS))
        assert threads() == ["airflow-omics-poll"]
        polls = SharedPoll._polls[asyncio.get_running_loop()].values()
        assert len(polls) == len(waits)
        assert len({poll._connection for poll in polls}) == 1
        await give_up(*waiting)

    run(wait_for_all_kinds())


def test_what_a_poll_logs_goes_to_no_tasks_log(world: World) -> None:
    task: ContextVar[str] = ContextVar("task")
    logged_by: list[str | None] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged_by.append(task.get(None))

    async def as_a_task() -> None:
        task.set("first")
        await first_event(trigger(world, *jobs))

    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(6)]
    world.local.add_fault(operation="ListReadSetExportJobs", error="AccessDeniedException")
    log, handler = logging.getLogger("airflow_omics._waiting.shared_poll"), Handler()
    log.addHandler(handler)
    try:
        run(as_a_task())
    finally:
        log.removeHandler(handler)
    assert set(logged_by) == {None}


def test_waits_share_a_few_calls_a_round_and_each_ending_is_fetched_once(world: World) -> None:
    jobs = [world.start(EXPORT, world.read_sets[:1]) for _ in range(250)]

    async def all_of_them() -> list[Any]:
        waiting = [asyncio.create_task(first_event(trigger(world, job_id, poll_interval=60))) for job_id in jobs]
        poll = await the_poll()
        await until(lambda: len(poll._schedule._due) == len(jobs))  # the first round has ended
        assert asked(world, "Get") == 0
        assert asked(world, "ListReadSetExportJobs") == 4  # one for IN_PROGRESS, three pages of SUBMITTED
        world.local.advance(JOB_SECONDS)
        more = asyncio.create_task(first_event(trigger(world, *jobs[:5])))
        return await asyncio.gather(*waiting, more)

    told = run(all_of_them())
    assert [ids(event) for event in told[:-1]] == [[job_id] for job_id in jobs]
    assert asked(world, "Get") <= len(jobs) + 5


def test_who_joins_with_a_shorter_interval_shares_it(world: World) -> None:
    first, second = world.start(EXPORT), world.start(EXPORT)

    async def staggered() -> None:
        slow = asyncio.create_task(first_event(trigger(world, first, poll_interval=600)))
        await until(lambda: asked(world, "Get") == 1)
        fast = asyncio.create_task(first_event(trigger(world, second, poll_interval=0.3)))
        await until(lambda: gets(world).count(first) >= 2)
        world.end(second, "COMPLETED")
        await fast
        again = asyncio.create_task(first_event(trigger(world, first, poll_interval=0.3)))
        assert ids(await slow) == ids(await again) == [first]

    run(staggered())


def test_what_joins_during_a_round_is_asked_for_after_it(world: World) -> None:
    done, slow = world.job(EXPORT, "COMPLETED"), world.job(EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", delay=0.5, path_contains=slow)

    async def again_and_again() -> Any:
        other = asyncio.create_task(first_event(trigger(world, slow, poll_interval=600)))
        told = [await first_event(trigger(world, done, poll_interval=600)) for _ in range(3)]
        return [*told, await other]

    assert [ids(event) for event in run(again_and_again())] == [[done]] * 3 + [[slow]]


def test_an_answer_that_nobody_waits_for_any_more_does_no_harm(world: World) -> None:
    left, done = world.job(EXPORT, "COMPLETED"), world.job(EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", delay=0.5, path_contains=left)

    async def leave_while_asked() -> Any:
        leaving = asyncio.create_task(first_event(trigger(world, left)))
        await until(lambda: asked(world, "Get"))
        staying = asyncio.create_task(first_event(trigger(world, done)))
        await asyncio.sleep(0)  # it joins
        leaving.cancel()
        return await staying

    assert ids(run(leave_while_asked())) == [done]


def test_leaving_one_by_one_leaves_nothing_behind(world: World) -> None:
    jobs = [world.start(EXPORT) for _ in range(5)]

    async def come_and_go() -> None:
        waiting = [asyncio.create_task(first_event(trigger(world, job_id))) for job_id in jobs]
        await until(lambda: asked(world, "List"))
        for each in waiting:
            each.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)

    run(come_and_go())


def test_after_slow_lists_there_is_time_for_what_they_found(world: World) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(6)]
    world.local.add_fault(operation="ListReadSetExportJobs", delay=1)
    world.local.add_fault(operation="GetReadSetExportJob", delay=0.1)
    assert sorted(ids(run(first_event(trigger(world, *jobs, poll_interval=0.1))))) == jobs
    assert asked(world, "List") == 2  # one round; a second one would list again


def test_only_rounds_in_a_row_count_as_lost(world: World) -> None:
    job_id = world.start(EXPORT)

    async def one_round() -> None:
        waiting = asyncio.create_task(first_event(trigger(world, job_id, poll_interval=0.1)))
        poll = await the_poll()
        poll._failed_polls = FAILED_POLLS - 1
        await until(lambda: len(gets(world)) >= 2)
        assert poll._failed_polls == 0
        await give_up(waiting)

    run(one_round())


def test_jobs_that_are_being_cancelled_are_listed_too(world: World) -> None:
    jobs = [world.start(EXPORT) for _ in range(10)]
    world.local.advance(JOB_SECONDS / 2)
    for job_id in jobs:
        world.local.cancel_job(job_id)

    async def wait() -> Any:
        waiting = asyncio.create_task(first_event(trigger(world, *jobs)))
        await until(lambda: len(set(gets(world))) > FEW)  # from the next round on, the list is asked for
        listed = asked(world, "List")
        await until(lambda: asked(world, "List") > listed)
        asked_before = gets(world)
        await until(lambda: asked(world, "List") >= listed + 6)
        assert gets(world) == asked_before
        world.local.advance(JOB_SECONDS)
        return await waiting

    assert {job["status"] for job in run(wait())["jobs"]} == {"CANCELLED"}


def test_a_list_whose_filter_is_not_applied_keeps_nobody_waiting(world: World) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(5)]
    listed = world.omics.list_read_set_export_jobs(sequenceStoreId=world.store)["exportJobs"]
    wire = [{**each, "creationTime": each["creationTime"].isoformat()} for each in listed]
    wire = [{name: value for name, value in each.items() if name != "completionTime"} for each in wire]
    world.local.add_fault(operation="ListReadSetExportJobs", response={"exportJobs": wire})
    assert sorted(ids(run(first_event(trigger(world, *jobs))))) == sorted(jobs)
