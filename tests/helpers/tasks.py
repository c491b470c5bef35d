"""A plugin of pytest's: a task that starts jobs, as Airflow tries, retries and clears it, and its items."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import BUCKET, TaskInstance, World, through_triggerer
from starting import operator

from airflow_omics._airflow import AirflowFailException
from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import REFERENCE_IMPORT
from airflow_omics.exceptions import OmicsReadSetJobFailedError
from airflow_omics.jobs import ReadSetJobKind

EXPORT, ACTIVATION, IMPORT = ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION, ReadSetJobKind.IMPORT


class Task:
    """A task that is tried, retried and cleared, as Airflow does it."""

    def __init__(self, world: World, kind: Kind, deferrable: bool) -> None:
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
def task(fast: World, kind: Kind, deferrable: bool) -> Task:
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


def calls(world: World, operation: str = "") -> int:
    return sum(count for name, count in world.local.call_counts().items() if name.startswith(operation))


def items_for(task: Task, count: int) -> list[Any]:
    if task.kind == IMPORT:
        return [world_source(task.world, number) for number in range(count)]
    if task.kind == REFERENCE_IMPORT:
        files = [name_of(world_source(task.world, number)) for number in range(count)]
        return [World.reference_source(file) for file in files]
    return list(
        task.world.local.add_read_sets(task.world.store, count, "ARCHIVED" if task.kind == ACTIVATION else "ACTIVE")
    )


def world_source(world: World, number: int) -> dict[str, Any]:
    key = f"many/{number:05}.fastq"
    world.s3.put_object(Bucket=BUCKET, Key=key, Body=b"@read\n")
    return World.source(f"s3://{BUCKET}/{key}")


def name_of(item: Any) -> str:
    return item if isinstance(item, str) else str(item.get("sourceFile") or item["sourceFiles"]["source1"])


def statuses(world: World, ids: list[str]) -> list[str]:
    return [world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=each)["status"] for each in ids]


def job_items(world: World, kind: Kind) -> list[list[str]]:
    """Return what each job of a kind was started with, by name, in the order of the starts."""
    listed = world.call(kind, "List")[kind.listed_as]
    return [
        [
            name_of(item) if kind.makes_items else item[kind.item_id_key]
            for item in world.call(kind, "Get", id=job["id"])[kind.items_key]
        ]
        for job in listed
    ]


def later(action: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.7, action)
    timer.start()
    return timer
