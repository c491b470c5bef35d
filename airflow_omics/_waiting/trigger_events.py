"""What a trigger tells the task that it wakes: written by the trigger, checked by the task."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_omics._airflow import AirflowException, Context
from airflow_omics._arguments import parse_moment
from airflow_omics._service.kind import Kind, Work
from airflow_omics._service.limits import LARGEST_ERROR, cut, shown
from airflow_omics._service.parsing import ParseError, message, text
from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsCredentialsError,
    OmicsEventError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsResponseError,
)

LARGEST = 60_000
"""Characters of JSON up to which an event carries the jobs themselves; Airflow 2 on MySQL keeps it in 65,535 bytes."""

_ERRORS: dict[str | None, type[AirflowException]] = {
    each.__name__: each
    for each in (
        OmicsArgumentError,
        OmicsCredentialsError,
        OmicsNotFoundError,
        OmicsRefusedError,
        OmicsRequestError,
        OmicsResponseError,
    )
}


def ended(found: Collection[Work]) -> dict[str, Any]:
    """Tell how this work ended; if that may change, or is too much for an event, the task asks itself."""
    summaries = [work.summary() for work in found if work.kind.from_summary]
    is_told = len(summaries) == len(found) and len(json.dumps(summaries)) <= LARGEST
    return {"status": "over", "jobs": summaries if is_told else None}


def failed(error: Exception) -> dict[str, Any]:
    """Tell that the wait cannot go on."""
    return {"status": "error", "error": type(error).__name__, "message": cut(str(error), LARGEST_ERROR)}


def due() -> dict[str, Any]:
    """Tell that the time has come which the task wanted to be woken at."""
    return {"status": "due"}


def parse(event: object, kind: Kind, store_id: str, ids: Collection[str]) -> dict[str, Any]:
    """
    Return the work that an event tells of, by id; none if the task has to ask itself.

    :param ids: What the trigger waited for.

    :raises OmicsEventError: It is no event of :class:`airflow_omics.triggers.OmicsReadSetJobTrigger`, or not for work
        of this kind and store.
    :raises airflow_omics.exceptions.OmicsRequestError: The event tells of one, as of what else a trigger fails with.
    """
    with _checking(event):
        members = _members(event)
        if members["status"] == "due":
            return {}
        if "jobs" not in members:
            raise ParseError(f"status is 'over' with members {shown(list(members))}")
        if members["jobs"] is None or not kind.from_summary:
            return {}
        if not isinstance(members["jobs"], list):
            raise ParseError("jobs is no list")
        found = [kind.from_summary(kind, summary) for summary in members["jobs"]]
        for work in found:
            if work.sequence_store_id != store_id or work.id not in ids:
                raise ParseError(f"it tells of {work}, which is not waited for")
        told = {work.id: work for work in found}
        if len(told) < len(found):
            raise ParseError("it tells of the same twice")
    return told


def _members(event: object) -> Mapping[str, Any]:
    """Return an event's members; raise what the event tells that the trigger failed with."""
    if not isinstance(event, Mapping):
        raise ParseError(f"expected a dictionary, found {type(event).__name__}")
    status = text(event, "status")
    if status == "error":
        raise _ERRORS.get(text(event, "error"), AirflowException)(
            message(event, "message", LARGEST_ERROR) or "no message"
        )
    if status not in ("over", "due"):
        raise ParseError(f"status is {shown(status, 80)} with members {shown(list(event))}")
    return event


@contextmanager
def _checking(event: object) -> Iterator[None]:
    """Say of what event it was, if it cannot be right."""
    try:
        yield
    except ParseError as error:
        raise OmicsEventError(
            f"The trigger woke this task with an event that cannot be right: {shown(event)} ({error}). "
            "Airflow's retries wait anew. If it happens again, compare the versions of airflow-omics on the triggerer "
            "and on the workers."
        ) from error


def remembered(name: str, moment: object) -> float | None:
    """
    Return a time that a deferred task remembered, in seconds since the epoch, or None where it had none.

    :raises OmicsEventError: It is no time.
    """
    try:
        return None if moment is None else parse_moment(name, moment)
    except OmicsArgumentError as error:
        raise OmicsEventError(
            f"What this task remembered while it was deferred cannot be right: {error} Airflow's retries begin anew."
        ) from error


def is_of_another_attempt(try_number: object, context: Context) -> bool:
    """
    Tell whether it was another attempt that left its worker: Airflow 3.0 wakes a retry with what a failed one left.

    :param try_number: That attempt's; None if an older version left.
    """
    return try_number is not None and try_number != context["ti"].try_number
