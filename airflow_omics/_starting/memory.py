"""What an attempt that leaves its worker has to take up again, as JSON: items by their places in what it was given."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_omics._service.job_items import ItemKey, JobItem
from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import ID, ParseError, iso_time, items, message, text, texts
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Finding, Item, State
from airflow_omics._starting.starter import Chunk
from airflow_omics._values import number
from airflow_omics.exceptions import (
    OmicsCredentialsError,
    OmicsEventError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsTransientError,
)

_REFUSALS = {each.__name__: each for each in (OmicsRefusedError, OmicsNotFoundError, OmicsCredentialsError)}


def remember(attempt: Attempt) -> dict[str, Any]:
    """Return what :func:`take_up` takes: of a job that has ended what it told of the items, of others the id."""
    places = {item.key: place for place, item in enumerate(attempt.items)}
    refused: dict[tuple[str, str], list[int]] = {}
    for key, error in attempt.refused.items():
        refused.setdefault((type(error).__name__, str(error)), []).append(places[key])
    held = [(places[item.key], attempt.findings[item.key]) for item in attempt.items if attempt.holds(item)]
    return {
        "sources": [dict(item.source) for item in attempt.items],
        "sequence_store_id": attempt.sequence_store_id,
        "parameters": dict(attempt.parameters),
        "identity": list(attempt.identity),
        "held": [[place, finding.item_id, finding.job_id] for place, finding in held],
        "trouble": str(attempt.trouble) if attempt.trouble else None,
        "jobs": {
            job_id: _told(job, places) if job and job_id not in attempt.running else None
            for job_id, job in attempt.jobs.items()
        },
        "running": sorted(attempt.running),
        "others": sorted(attempt.running - attempt.own),
        "sent": {job_id: [places[key] for key in keys] for job_id, keys in attempt.sent.items()},
        "lost": {job_id: since.isoformat() for job_id, since in attempt.lost.items()},
        "ended": {job_id: when.isoformat() for job_id, when in attempt.ended.items()},
        "refused": [{"error": name, "message": said, "places": where} for (name, said), where in refused.items()],
        "pending": [
            {
                "places": [places[item.key] for item in chunk.items],
                "after": list(chunk.after),
                "tried": chunk.tried,
                "replayed": chunk.replayed,
            }
            for chunk in attempt.pending
        ],
        "has_looked_for_jobs": attempt.has_looked_for_jobs,
    }


def take_up(attempt: Attempt, memory: object) -> None:
    """
    Take up what :func:`remember` told.

    :raises OmicsEventError: It cannot be that.
    """
    try:
        if not isinstance(memory, Mapping):
            raise ParseError("expected a dictionary")
        _take_up_what_was_given(attempt, memory)
        _take_up_jobs(attempt, memory)
        for place, item_id, job_id in items(memory, "held"):
            (item,) = _at(attempt, [place])
            names = {"item_id": item_id, "job_id": job_id}
            attempt.findings[item.key] = Finding(State.HOLDS, text(names, "item_id"), text(names, "job_id"))
        said = text(memory, "trouble")
        attempt.trouble = OmicsTransientError(said) if said else None
        attempt.refused = {}
        for refusal in items(memory, "refused"):
            error = _REFUSALS[refusal["error"]](_text(refusal["message"]))
            attempt.refused.update({item.key: error for item in _at(attempt, refusal["places"])})
        attempt.pending = deque(_chunk(attempt, chunk) for chunk in items(memory, "pending"))
        if not isinstance(memory["has_looked_for_jobs"], bool):
            raise ParseError("has_looked_for_jobs is missing")
        attempt.has_looked_for_jobs = memory["has_looked_for_jobs"]
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise OmicsEventError(
            f"What this task remembered while it was deferred cannot be right: {shown(memory)} "
            f"({type(error).__name__}: {error}). A retry of the task finds its jobs again."
        ) from error


def _take_up_what_was_given(attempt: Attempt, memory: Mapping[str, Any]) -> None:
    attempt.items = [Item.of(_checked(source)) for source in items(memory, "sources")]
    keys = {item.key for item in attempt.items}
    if not keys or () in keys or len(keys) < len(attempt.items):
        raise ParseError("sources are missing, or there twice")
    parameters = {_text(name): _text(value) for name, value in dict(memory["parameters"]).items()}
    if not parameters.keys() <= {"destination", "roleArn"}:
        raise ParseError("parameters has another member than destination and roleArn")
    attempt.give(_id(memory["sequence_store_id"]), parameters, items(memory, "identity"))


def _take_up_jobs(attempt: Attempt, memory: Mapping[str, Any]) -> None:
    attempt.jobs = {_id(job_id): _taken_up(attempt, _id(job_id), told) for job_id, told in dict(memory["jobs"]).items()}
    attempt.running = set(texts(memory, "running"))
    attempt.others = frozenset(texts(memory, "others"))
    attempt.sent = {
        _id(job_id): [item.key for item in _at(attempt, places)] for job_id, places in dict(memory["sent"]).items()
    }
    attempt.lost = {job_id: _moment(since) for job_id, since in dict(memory["lost"]).items()}
    attempt.ended = {job_id: _moment(when) for job_id, when in dict(memory["ended"]).items()}
    if not attempt.running <= attempt.jobs.keys() or not attempt.lost.keys() <= attempt.jobs.keys():
        raise ParseError("a job is missing")


def _chunk(attempt: Attempt, chunk: Mapping[str, Any]) -> Chunk:
    if type(chunk["replayed"]) is not int:
        raise ParseError(f"replayed is {shown(chunk['replayed'], 80)}")
    after = tuple(map(_id, texts(chunk, "after")))
    return Chunk(tuple(_at(attempt, chunk["places"])), after, _seconds(chunk["tried"]), chunk["replayed"])


def _told(job: ReadSetJob, places: Mapping[ItemKey, int]) -> dict[str, Any]:
    """Return a job that has ended, with what it told of the task's items."""
    own = [item for item in job.items if item.key in places]
    told = [[places[item.key], item.status, item.id, item.message] for item in own]
    said = job.status_message if len(own) == len(job.items) else None  # it may tell of somebody else's items
    return {"summary": replace(job, items=(), status_message=said).summary(), "items": told}


def _taken_up(attempt: Attempt, job_id: str, told: Any) -> ReadSetJob | None:
    if told is None:
        return None
    job, found = ReadSetJob.from_summary(attempt.kind, told["summary"]), []
    if (job.kind, job.sequence_store_id, job.job_id) != (attempt.kind, attempt.sequence_store_id, job_id):
        raise ParseError(f"{shown(told, 80)} is another job")
    for place, status, item_id, said in items(told, "items"):
        (item,) = _at(attempt, [place])
        names = {"status": _text(status), "item_id": item_id}
        source = item.name if item.is_source else None
        found.append(
            JobItem(item.key, names["status"], text(names, "item_id"), message({"said": said}, "said"), source)
        )
    return replace(job, items=tuple(found))


def _at(attempt: Attempt, places: object) -> list[Item]:
    """Return the items at these places."""
    if not isinstance(places, list) or not places or not all(type(place) is int and place >= 0 for place in places):
        raise ParseError(f"{shown(places, 80)}: expected places of items")
    return [attempt.items[place] for place in places]


def _checked(source: object) -> dict[str, Any]:
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise ParseError(f"{shown(source, 80)} is no source")
    return dict(source)


def _id(job_id: object) -> str:
    if not isinstance(job_id, str) or not ID.fullmatch(job_id):
        raise ParseError(f"{shown(job_id, 80)} is no id of a job")
    return job_id


def _seconds(value: object) -> float | None:
    if value is not None and math.isnan(number(value)):
        raise ParseError(f"{shown(value, 80)}: expected seconds")
    return None if value is None else number(value)


def _moment(written: object) -> datetime:
    moment = iso_time({"lost": written}, "lost")
    if moment is None:
        raise ParseError("a time is missing")
    return moment


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ParseError(f"{shown(value, 80)}: expected text")
    return value
