"""Attempts at goals for tests, made at once of what they know, as no operator makes them."""

from __future__ import annotations

import logging
from typing import Any

from conftest import ONE_TRY, ROLE, World
from starting import DESTINATION

from airflow_omics._service.job_items import JobItem
from airflow_omics._service.kind import Kind
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import GOALS, Item
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind

ACTIVATION, EXPORT, IMPORT = ReadSetJobKind.ACTIVATION, ReadSetJobKind.EXPORT, ReadSetJobKind.IMPORT
STORE = "1234567890"
LOG = logging.getLogger("airflow_omics.tests")
LOG.setLevel("INFO")


def item(name: str) -> Item:
    """Return the item of a read set, or of a source to import if the name is a URI."""
    if name.startswith("s3://"):
        return Item.of({"sourceFiles": {"source1": name}, "sampleId": "sample", "subjectId": "subject"})
    return Item.of({"readSetId": name})


def attempt(kind: Kind, *names: str, store: str = STORE, **changes: Any) -> Attempt:
    """Return an attempt at read sets, or sources, of these names; nothing is asked, and nothing is started."""
    made: dict[str, Any] = {
        "hook": OmicsHook(),
        "goal": GOALS[kind](kind, changes.pop("destination", None), changes.pop("since", None)),
        "sequence_store_id": store,
        "identity": ["dag", "run", "task", -1, 1],
        "parameters": {},
        "max_concurrent_jobs": kind.max_concurrent_jobs,
        "log": LOG,
        "items": [item(name) for name in names],
        "is_first": True,
        "is_cleared": False,
    }
    return Attempt(**made | changes)


def at(world: World, kind: Kind, *names: str, **changes: Any) -> Attempt:
    """Return an attempt at what a world has."""
    parameters = {} if kind is ACTIVATION else {"roleArn": ROLE}
    if kind is EXPORT:
        parameters["destination"] = changes["destination"] = DESTINATION
    made: dict[str, Any] = {"store": world.store, "parameters": parameters, "hook": OmicsHook(config=ONE_TRY)}
    return attempt(kind, *names, **made | changes)


def told(name: str, status: str, read_set_id: str | None = None, message: str | None = None) -> JobItem:
    """Return what a job tells of an item."""
    of = item(name)
    is_import = "sourceFiles" in of.source
    return JobItem(of.key, status, read_set_id if is_import else name, message, name if is_import else None)


def job(kind: Kind, job_id: str, *items: JobItem, status: str = "COMPLETED", **changes: Any) -> ReadSetJob:
    return ReadSetJob(kind, job_id, STORE, JobStatus(status), items=items, **changes)


def asked(hook: OmicsHook) -> list[tuple[str, dict[str, Any]]]:
    """Return where this hook's calls will be, from now on: operations and parameters."""
    seen: list[tuple[str, dict[str, Any]]] = []
    hook.conn.meta.events.register(
        "provide-client-params.omics", lambda params, model, **_: seen.append((model.name, params))
    )
    return seen
