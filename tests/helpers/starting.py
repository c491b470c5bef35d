"""Operators that start jobs, for tests: to make them, to run them, and to see what their jobs processed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from conftest import BUCKET, ROLE, TaskInstance, World

from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import REFERENCE_IMPORT
from airflow_omics._starting.base_operator import OmicsStartJobOperator
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator,
    OmicsStartReadSetExportJobOperator,
    OmicsStartReadSetImportJobOperator,
    OmicsStartReferenceImportJobOperator,
)

OPERATORS: dict[Kind, Any] = {
    ReadSetJobKind.EXPORT: OmicsStartReadSetExportJobOperator,
    ReadSetJobKind.ACTIVATION: OmicsStartReadSetActivationJobOperator,
    ReadSetJobKind.IMPORT: OmicsStartReadSetImportJobOperator,
    REFERENCE_IMPORT: OmicsStartReferenceImportJobOperator,
}
DESTINATION = f"s3://{BUCKET}/out/"


def operator(world: World, kind: Kind, items: Any, **arguments: Any) -> OmicsStartJobOperator:
    by_kind: dict[Kind, dict[str, Any]] = {
        ReadSetJobKind.EXPORT: {"read_set_ids": items, "destination": DESTINATION, "role_arn": ROLE},
        ReadSetJobKind.ACTIVATION: {"read_set_ids": items},
        ReadSetJobKind.IMPORT: {"sources": items, "role_arn": ROLE},
        REFERENCE_IMPORT: {"sources": items, "role_arn": ROLE},
    }
    common: dict[str, Any] = {"task_id": "start", "poll_interval": 0.05, kind.store.argument: world.store_of(kind)}
    made: OmicsStartJobOperator = OPERATORS[kind](**{**common, **by_kind[kind], **arguments})
    return made


def run(started: OmicsStartJobOperator, ti: TaskInstance, try_number: int = 1) -> Any:
    ti.try_number = try_number
    return started.execute({"ti": ti})


def processed(world: World, kind: Kind) -> Counter[str]:
    """Count, for every read set, the jobs that processed it with success."""
    counts: Counter[str] = Counter()
    listed = world.call(kind, "List")[kind.listed_as]
    for each in listed:
        job = world.call(kind, "Get", id=each["id"])
        counts.update(item[kind.item_id_key] for item in job[kind.items_key] if item["status"] == "FINISHED")
    return counts
