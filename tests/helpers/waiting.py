"""Waits in the triggerer, for tests: to make them, to run them on a loop of their own, and to see what they asked."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from conftest import PATIENCE, World

from airflow_omics._service.kinds import KINDS
from airflow_omics._waiting.shared_poll import SharedPoll
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.triggers import OmicsReadSetJobTrigger

EXPORT = ReadSetJobKind.EXPORT


def trigger(world: World, *job_ids: str, **arguments: Any) -> OmicsReadSetJobTrigger:
    arguments = {"kind": "export", "poll_interval": 0.3, **arguments}
    kind = KINDS.get(arguments["kind"], EXPORT)
    arguments.setdefault("sequence_store_id", world.store_of(kind))
    return OmicsReadSetJobTrigger(job_ids=list(job_ids), **arguments)


def gets(world: World) -> list[str]:
    """Return which jobs were asked for by themselves."""
    return [call["parameters"]["id"] for call in world.local.calls() if call["operation"].startswith("Get")]


def asked(world: World, verb: str) -> int:
    return sum(call["operation"].startswith(verb) for call in world.local.calls())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def give_up(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def the_poll() -> SharedPoll:
    """Return the poll that tasks just created share."""
    await asyncio.sleep(0)
    (poll,) = SharedPoll._polls[asyncio.get_running_loop()].values()
    return poll


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("airflow-omics-poll")]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on a loop of its own; see that nothing goes wrong there unseen, and that no poll is left, nor a thread."""

    async def checked() -> Any:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        handler = logging.Handler(logging.ERROR)
        handler.emit = errors.append  # type: ignore[method-assign, assignment]
        log = logging.getLogger("airflow_omics._waiting.shared_poll")
        log.addHandler(handler)
        try:
            async with asyncio.timeout(2 * PATIENCE):
                result = await main
        finally:
            log.removeHandler(handler)
        assert not errors
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert SharedPoll._polls.get(asyncio.get_running_loop(), {}) == {}
        return result

    result = asyncio.run(checked())
    deadline = time.monotonic() + PATIENCE
    while threads():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def ids(event: Any) -> list[str]:
    return [job["job_id"] for job in event["jobs"]]
