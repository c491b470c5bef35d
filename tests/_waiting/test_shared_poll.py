"""The poll that waits share, by itself: who joins and leaves, what a round is about."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import replace
from typing import Any

import pytest
from conftest import ONE_TRY, PATIENCE, World
from waiting import EXPORT, gets, run, until

from airflow_omics._waiting.poll import Poll
from airflow_omics._waiting.schedule import FEW
from airflow_omics._waiting.shared_connection import Connection, SharedConnection
from airflow_omics._waiting.shared_poll import LONGEST_GATHERING, SharedPoll, Source, Wait
from airflow_omics.exceptions import OmicsTransientError
from airflow_omics.hooks import OmicsHook

LOG = logging.getLogger("airflow_omics.tests")

CONNECTION = Connection("aws_default", None, None, "{}")
SOURCE = Source(EXPORT, "1234567890", CONNECTION)


def test_what_is_to_be_known_is_told_once_however_fast_it_comes() -> None:
    async def tell_and_listen() -> None:
        wait, news = Wait(["1234567890"], 60), [OmicsTransientError(str(number)) for number in range(4)]
        wait.tell(news[0])
        assert wait.listen().done()
        wait.tell(news[1])
        assert wait.take_news() == news[:2]
        assert wait.take_news() == []
        listener = wait.listen()
        assert not listener.done()
        wait.tell(news[2])
        wait.tell(news[3])
        await listener
        assert wait.take_news() == news[2:]

    asyncio.run(tell_and_listen())


def test_a_bug_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def break_it() -> None:
        poll, wait = SharedPoll.of(SOURCE), Wait(["1"], 10)
        poll.join(wait)
        poll._schedule.begin(["1"])
        poll._schedule.end("soon", [], 0)  # type: ignore[arg-type]
        await wait.listen()
        (error,) = wait.take_news()
        assert isinstance(error, TypeError)
        assert SharedPoll._polls[asyncio.get_running_loop()] == {}
        poll.leave(wait)

    asyncio.run(break_it())
    assert [each.getMessage() for each in caplog.records if each.exc_info] == [f"The shared poll of {SOURCE!r} ended"]


def test_who_leaves_takes_along_what_only_he_waited_for() -> None:
    async def join_and_leave() -> None:
        poll = SharedPoll.of(SOURCE)
        first, second, hurried = Wait(["1", "2"], 10), Wait(["2", "3"], 10), Wait(["4"], 5)
        poll.join(first)
        poll.join(second)
        poll.join(hurried)
        assert (poll._interval, sorted(poll._schedule.choose(5))) == (5, ["1", "2", "3", "4"])
        poll.leave(hurried)
        assert (poll._interval, poll._by_id) == (10, {"1": {first}, "2": {first, second}, "3": {second}})
        poll.leave(first)
        assert (poll._interval, poll._by_id) == (10, {"2": {second}, "3": {second}})
        assert poll._schedule.choose(10) == ["2", "3"]
        poll.leave(second)
        assert (poll._interval, poll._by_id, len(poll._schedule)) == (60, {}, 0)

    run(join_and_leave())


def test_a_round_tells_what_it_had_no_time_for(world: World) -> None:
    jobs = [world.start(EXPORT) for _ in range(FEW)]
    source = Source(EXPORT, world.store, replace(CONNECTION, botocore_config=json.dumps(ONE_TRY)))

    async def ask(seconds: float) -> list[str]:
        poll, wait = SharedPoll.of(source), Wait(jobs, 600)
        poll.join(wait)
        poll._task.cancel()  # only this asks
        left = await asyncio.to_thread(poll._ask, jobs, seconds)
        poll.leave(wait)
        return left

    world.local.add_fault(operation="GetReadSetExportJob", delay=1, times=1)  # longer than it takes to list nothing
    assert run(ask(0)) == jobs[1:]
    world.local.add_fault(error="ThrottlingException", path_contains=jobs[0], times=1)
    assert run(ask(60)) == []
    assert gets(world) == [jobs[0], *jobs, jobs[0]]


def test_a_poll_with_nothing_to_ask_goes_on(world: World) -> None:
    async def join_with_nothing() -> None:
        poll, nothing, something = SharedPoll.of(SOURCE), Wait([], 600), Wait(["1234567890"], 600)
        poll.join(nothing)
        await until(lambda: poll._joined._waiters)  # type: ignore[attr-defined]
        poll.join(something)
        await something.listen()
        poll.leave(something)
        poll.leave(nothing)

    run(join_with_nothing())


@pytest.mark.parametrize("turns", range(4))
def test_a_poll_ends_whenever_it_is_left(turns: int) -> None:
    async def leave_after_another_joined() -> None:
        poll, first, second = SharedPoll.of(SOURCE), Wait([], 600), Wait([], 600)
        poll.join(first)
        await until(lambda: poll._joined._waiters)  # type: ignore[attr-defined]
        poll.join(second)
        for _ in range(turns):
            await asyncio.sleep(0)
        poll.leave(first)
        poll.leave(second)

    run(leave_after_another_joined())


def test_a_round_begins_after_those_who_come_together_but_waits_no_longer() -> None:
    async def keep_joining() -> None:
        poll, wait = SharedPoll.of(SOURCE), Wait([], 600)
        poll.join(wait)
        poll._task.cancel()  # only this gathers
        gathering, began = asyncio.create_task(poll._gather()), time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while not gathering.done():
                poll._joined.set()
                await asyncio.sleep(0.01)
        assert time.monotonic() - began >= LONGEST_GATHERING
        poll.leave(wait)

    run(keep_joining())


def test_aws_is_asked_as_the_waits_say(world: World) -> None:
    connection = Connection("aws_default", "eu-west-3", False, '{"read_timeout": 5}')

    async def connect() -> Any:
        shared = SharedConnection.of(connection)
        hook = await asyncio.to_thread(lambda: shared.hook)
        shared.release()
        return hook

    hook = run(connect())
    assert (hook.aws_conn_id, hook.region_name, hook.verify) == ("aws_default", "eu-west-3", False)
    assert hook.conn.meta.config.read_timeout == 5


def test_a_poll_whose_waits_all_left_comes_to_its_end(world: World) -> None:
    async def leave_and_ask() -> list[str]:
        poll, wait = SharedPoll.of(replace(SOURCE, store_id=world.store)), Wait([], 600)
        poll.join(wait)
        poll.leave(wait)
        return await asyncio.to_thread(poll._ask, [], 60)

    assert run(leave_and_ask()) == []


def test_who_joins_begins_anew_to_wait_for_what_is_not_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OMICS__NOT_FOUND_SECONDS", "60")

    async def join_late() -> list[str]:
        poll = SharedPoll.of(replace(SOURCE, store_id=world.store))
        first, second = Wait([], 600), Wait(["9999999999"], 600)
        poll.join(first)
        await until(lambda: poll._joined._waiters)  # type: ignore[attr-defined]
        poll._poll = Poll(poll._connection.hook, EXPORT, world.store, LOG, is_patient=False)
        list(poll._poll.ask(["9999999999"]))  # for somebody who left meanwhile
        assert poll._poll.not_found == ["9999999999"]
        poll._task.cancel()  # only this asks
        poll.join(second)
        found = poll._poll.not_found
        poll.leave(second)
        poll.leave(first)
        return found

    assert run(join_late()) == []


def test_what_a_list_tells_is_no_more_not_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OMICS__NOT_FOUND_SECONDS", "60")
    jobs = [world.start(EXPORT) for _ in range(FEW + 1)]
    poll = Poll(OmicsHook(config=ONE_TRY), EXPORT, world.store, LOG, is_patient=False)
    world.local.add_fault(operation="GetReadSetExportJob", error="ResourceNotFoundException")
    assert list(poll.ask(jobs)) == []
    assert poll.not_found == jobs
    assert poll.find_open(jobs) == set(jobs)
    assert poll.not_found == []
