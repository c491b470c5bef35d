"""The ways to wait, for tests that have to end alike in all: what begins one, strikes midway, and sees how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conftest import PATIENCE, TaskInstance, World, through_triggerer
from starting import operator
from versions import AirflowRescheduleException

from airflow_omics.jobs import ReadSetJobKind

EXPORT = ReadSetJobKind.EXPORT
WAYS = ("poke", "reschedule", "deferrable", "operator", "deferrable operator")


@dataclass
class End:
    """How a wait ended: what it returned, or what it raised."""

    result: Any = None
    error: Exception | None = None

    @property
    def kind(self) -> str:
        return type(self.error).__name__ if self.error else "success"


def wait(world: World, way: str, job_ids: Any, midway: Callable[[], None] = lambda: None, **arguments: Any) -> End:
    """
    Wait for jobs, or with an operator for one that it starts, to the end.

    :param midway: What happens, in a thread of its own, once AWS was asked.
    """
    task = task_of(world, way, job_ids, **arguments)
    failed: list[BaseException] = []
    ended = threading.Event()

    def strike() -> None:
        try:
            until(lambda: calls(world) > before or ended.is_set())
            midway()
        except BaseException as error:
            failed.append(error)

    before = calls(world)
    striker = threading.Thread(target=strike)
    striker.start()
    end = end_of(task)
    ended.set()
    striker.join()
    assert end.error or not failed, failed
    return end


def task_of(world: World, way: str, job_ids: Any, **arguments: Any) -> Any:
    """Return the sensor, or the operator, that waits this way."""
    if "operator" in way:
        return operator(world, EXPORT, world.read_sets, deferrable="deferrable" in way, **arguments)
    modes: dict[str, Any] = {"poke": {"mode": "poke"}, "reschedule": {}, "deferrable": {"deferrable": True}}
    return world.sensor(EXPORT, job_ids, **{"poke_interval": 0.2, **modes[way], **arguments})


def calls(world: World) -> int:
    """Count the calls so far that were about jobs, refused ones too."""
    return sum("Job" in call["operation"] for call in world.local.calls())


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end_of(task: Any) -> End:
    """Execute a task to its end."""
    ti = TaskInstance()
    while True:
        try:
            return End(through_triggerer(task, ti))
        except AirflowRescheduleException:
            task.__dict__.pop("hook", None)  # a process of its own for every poke
            time.sleep(0.1)
        except Exception as error:
            return End(error=error)
