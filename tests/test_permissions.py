"""The IAM policy in docs/connection.md: what it allows is enough, and all of it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TaskInstance, World, wake
from starting import operator
from versions import TaskDeferred

from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import READ_SET, READ_SET_JOB_KINDS, REFERENCE, REFERENCE_IMPORT
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local.wire import service_model

CONNECTION = (Path(__file__).parent.parent / "docs" / "connection.md").read_text()
(POLICY,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", CONNECTION, re.DOTALL))
ALLOWED = {
    statement["Sid"]: {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    for statement in POLICY["Statement"]
}


def used(world: World, allowed: set[str], call: Callable[[], Any]) -> set[str]:
    """Return the actions that something uses while all others are denied."""
    for operation in service_model().operation_names:
        if f"omics:{operation}" not in allowed:
            world.local.add_fault(operation=operation, error="AccessDeniedException")
    before = len(world.local.calls())
    call()
    calls = world.local.calls()[before:]
    assert {each["error"] for each in calls} == {None}
    world.local.clear_faults()
    passes_role = any("roleArn" in each["parameters"] for each in calls)
    return {f"omics:{each['operation']}" for each in calls} | ({"iam:PassRole"} if passes_role else set())


def wait(world: World, kind: Kind, job_ids: list[str]) -> None:
    """Wait for jobs that begin to run, by rescheduling and in the triggerer."""
    ti = TaskInstance()
    poking, deferring = world.sensor(kind, job_ids), world.sensor(kind, job_ids, deferrable=True)
    assert not poking.poke({"ti": ti})
    with pytest.raises(TaskDeferred) as caught:
        deferring.execute({"ti": ti})
    world.local.advance(10_000)
    assert len(wake(deferring, caught.value, ti)) == len(job_ids)
    assert poking.poke({"ti": ti})


def test_the_sensors_use_the_first_statement(world: World) -> None:
    actions = set()
    for kind in READ_SET_JOB_KINDS:
        job_ids = [world.start(kind) for _ in range(5)]
        actions |= used(world, ALLOWED["Wait"], lambda: wait(world, kind, job_ids))  # noqa: B023
    assert actions == ALLOWED["Wait"]


def test_the_operators_use_the_rest_as_well(fast: World) -> None:
    actions = set()
    for kind in READ_SET_JOB_KINDS:
        items = fast.sources if kind is ReadSetJobKind.IMPORT else fast.read_sets
        if kind is ReadSetJobKind.ACTIVATION:  # so many that they are listed; the few of the import are asked for
            items = fast.local.add_read_sets(fast.store, READ_SET.few + 1, "ARCHIVED")
        started = operator(fast, kind, items)
        actions |= used(fast, set().union(*ALLOWED.values()), lambda: started.execute({"ti": TaskInstance()}))  # noqa: B023
    assert actions - ALLOWED["Wait"] == ALLOWED["Start"] | ALLOWED["Look"] | ALLOWED["PassRole"]


def test_reference_imports_use_the_statement_for_references(fast: World) -> None:
    allowed = ALLOWED["References"] | ALLOWED["PassRole"]
    started = [operator(fast, REFERENCE_IMPORT, fast.many(REFERENCE_IMPORT, count)) for count in (1, REFERENCE.few + 1)]
    actions = set()
    for each in started:
        actions |= used(fast, allowed, lambda: each.execute({"ti": TaskInstance()}))  # noqa: B023
    fast.local.configure(job_seconds=100, max_concurrent_jobs=None)
    job_ids = [fast.start(REFERENCE_IMPORT) for _ in range(5)]
    actions |= used(fast, allowed, lambda: wait(fast, REFERENCE_IMPORT, job_ids))
    assert actions == allowed


def test_a_role_is_passed_to_healthomics_only() -> None:
    (statement,) = (each for each in POLICY["Statement"] if "iam:PassRole" in each["Action"])
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "omics.amazonaws.com"}}
    assert ":role/" in statement["Resource"]
