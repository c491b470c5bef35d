"""Operators that start jobs, for tests: to make them, to run them, and to see what their jobs processed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from conftest import BUCKET, ROLE, TaskInstance, World

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator,
    OmicsStartReadSetExportJobOperator,
    OmicsStartReadSetImportJobOperator,
    OmicsStartReadSetJobOperator,
)

OPERATORS = {
    ReadSetJobKind.EXPORT: OmicsStartReadSetExportJobOperator,
    ReadSetJobKind.ACTIVATION: OmicsStartReadSetActivationJobOperator,
    ReadSetJobKind.IMPORT: OmicsStartReadSetImportJobOperator,
}
DESTINATION = f"s3://{BUCKET}/out/"


def operator(world: World, kind: ReadSetJobKind, items: Any, **arguments: Any) -> OmicsStartReadSetJobOperator:
    by_kind: dict[ReadSetJobKind, dict[str, Any]] = {
        ReadSetJobKind.EXPORT: {"read_set_ids": items, "destination": DESTINATION, "role_arn": ROLE},
        ReadSetJobKind.ACTIVATION: {"read_set_ids": items},
        ReadSetJobKind.IMPORT: {"sources": items, "role_arn": ROLE},
    }
    common: dict[str, Any] = {"task_id": "start", "sequence_store_id": world.store, "poll_interval": 0.05}
    return OPERATORS[kind](**{**common, **by_kind[kind], **arguments})


def run(started: OmicsStartReadSetJobOperator, ti: TaskInstance, try_number: int = 1) -> Any:
    ti.try_number = try_number
    return started.execute({"ti": ti})


def processed(world: World, kind: ReadSetJobKind) -> Counter[str]:
    """Count, for every read set, the jobs that processed it with success."""
    counts: Counter[str] = Counter()
    listed = getattr(world.omics, f"list_read_set_{kind.word}_jobs")(sequenceStoreId=world.store)[f"{kind.word}Jobs"]
    for each in listed:
        job = getattr(world.omics, f"get_read_set_{kind.word}_job")(sequenceStoreId=world.store, id=each["id"])
        counts.update(item[kind.item_id_key] for item in job[kind.items_key] if item["status"] == "FINISHED")
    return counts
