"""
What is to hold for the items of a task, and whether it does: the one place that says so, kind by kind.

================ =============================================================================================
kind             it holds for an item when
================ =============================================================================================
activation       the read set is ACTIVE, whoever activated it
import           a read set made by a job that counts, from this very source, is ACTIVE, ARCHIVED or ACTIVATING
export           a job that counts finished this read set
reference import a reference made by a job that counts, of this file under this name, is ACTIVE
================ =============================================================================================

AWS does not say whose a job is. A job counts if its store and destination, or source, match, and if it was created
since the DAG run was to run, whoever started it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from airflow_omics._service.job_items import FINISHED, ItemKey, JobItem, item_key
from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.kinds import REFERENCE_IMPORT, ReadSetJobKind
from airflow_omics._service.read_sets import ReadSetStatus

Source = Mapping[str, Any]
"""An item in the form of AWS's Start operations: ``{"readSetId": ...}``, or an import's source."""


@dataclass(frozen=True)
class Item:
    """A read set, or a source of an import, that a task was given."""

    key: ItemKey
    source: Source

    @classmethod
    def of(cls, source: Source) -> Item:
        """Return the item that Start takes as ``source``."""
        return cls(item_key(source), source)

    @property
    def name(self) -> str:
        """What people call it: its read set id, or the URI of its first file."""
        return self.key[0]

    @property
    def argument(self) -> str | Source:
        """The item in the form of the operator's own argument."""
        return self.source if self.is_source else self.name

    @property
    def is_source(self) -> bool:
        """Whether it is a source of an import, and has no id yet."""
        return "readSetId" not in self.source


class State(Enum):
    """What is known of an item."""

    HOLDS = auto()
    UNDER_WAY = auto()
    MISSING = auto()


@dataclass(frozen=True)
class Finding:
    """
    What was found out about an item.

    :param item_id: The read set or reference for which the goal holds.
    :param job_id: The job that tells so.
    :param why: What keeps the goal from holding, beside what jobs tell; the items' names come after it.
    :param is_hopeless: Whether starting a job would be for nothing.
    :param is_early: Whether the job that tells so may have ended too short a time ago for its work to be seen.
    """

    state: State
    item_id: str | None = None
    job_id: str | None = None
    why: str | None = None
    is_hopeless: bool = False
    is_early: bool = False


Record = tuple[ReadSetJob, JobItem]
"""An item as a job tells of it."""


def records(jobs: Iterable[ReadSetJob]) -> dict[ItemKey, list[Record]]:
    """Return, for every item, what jobs tell of it; what a job tells of two that are equal is the worse of it."""
    told: dict[ItemKey, dict[str, Record]] = {}
    for job in jobs:
        for item in job.items:
            of_item = told.setdefault(item.key, {})
            if job.job_id not in of_item or item.status != FINISHED:
                of_item[job.job_id] = (job, item)
    return {key: list(of_item.values()) for key, of_item in told.items() if key}


@dataclass(frozen=True)
class Goal:
    """
    A goal of one kind.

    :param destination: Where an export goes.
    :param since: When a job must have been created to count; None for no bound.
    """

    kind: Kind
    destination: str | None
    since: datetime | None

    do_jobs_vouch = True
    """Whether it takes a job to know that the goal holds."""
    is_looked_at = True
    """Whether the statuses of read sets tell whether the goal holds."""

    def counts(self, job: ReadSetJob, is_behind: timedelta) -> bool:
        """
        Tell whether a job of the task's store counts.

        :param is_behind: By how much AWS's clock, which a job's creation is told by, is behind Airflow's.
        """
        since = self.since and self.since - is_behind
        is_recent = since is None or (job.creation_time is not None and job.creation_time >= since)
        return is_recent and job.destination == self.destination

    def to_look_at(self, item: Item, told: Sequence[Record]) -> list[str]:
        """Return the ids of the read sets, or references, whose status has to be known."""
        raise NotImplementedError

    def find(self, item: Item, told: Sequence[Record], known: Mapping[str, Any]) -> Finding:
        """
        Return what is known of an item.

        :param told: What jobs that count tell of it.
        :param known: The read sets or references asked for, by id; None for one that AWS does not know. One is absent
            if AWS denied to tell of it.
        """
        raise NotImplementedError


class ExportGoal(Goal):
    """Every read set is exported; nobody reads the bucket."""

    is_looked_at = False

    def to_look_at(self, item: Item, told: Sequence[Record]) -> list[str]:  # noqa: ARG002
        """Return none: an export leaves no trace on a read set."""
        return []

    def find(self, item: Item, told: Sequence[Record], known: Mapping[str, Any]) -> Finding:  # noqa: ARG002
        """Return what the jobs tell."""
        for job, record in reversed(told):
            if record.status == FINISHED:
                return Finding(State.HOLDS, item.name, job.job_id)
        return _by_jobs(told)


class ImportGoal(Goal):
    """Every source has a read set, or a reference, in the store."""

    def to_look_at(self, item: Item, told: Sequence[Record]) -> list[str]:  # noqa: ARG002
        """Return what was made of a source."""
        return [record.id for _, record in told if record.status == FINISHED and record.id]

    def find(self, item: Item, told: Sequence[Record], known: Mapping[str, Any]) -> Finding:  # noqa: ARG002
        """Return whether something that was made of a source is in the store."""
        missing: Finding | None = None
        for job, record in reversed(told):
            if record.status != FINISHED or not record.id:
                continue
            # Where AWS does not allow to look, the job's word is all there is.
            made = known.get(record.id)
            if record.id not in known or (made and made.status in made.kind.kept):
                return Finding(State.HOLDS, record.id, job.job_id)
            if made and made.verdict() is Verdict.WAITING:  # PROCESSING_UPLOAD, or a status of tomorrow
                return Finding(State.UNDER_WAY, job_id=job.job_id)
            why = f"Imported by job {job.job_id}, but the {job.kind.item} {_what(made)}"
            missing = missing or Finding(State.MISSING, None, job.job_id, why, is_early=made is None)
        found = _by_jobs(told)
        return missing if missing and found.state is State.MISSING else found


class ActivationGoal(Goal):
    """Every read set is ACTIVE."""

    do_jobs_vouch = False

    def to_look_at(self, item: Item, told: Sequence[Record]) -> list[str]:  # noqa: ARG002
        """Return the read set itself."""
        return [item.name]

    def find(self, item: Item, told: Sequence[Record], known: Mapping[str, Any]) -> Finding:
        """Return what the read set's status tells, and for an ARCHIVED one whether a job has it under way."""
        read_set = known.get(item.name)
        verdict = read_set.verdict() if read_set else Verdict.FAILED
        job_id = told[-1][0].job_id if told else None
        finished = [job.job_id for job, record in told if record.status == FINISHED]
        if verdict is Verdict.SUCCEEDED:
            return Finding(State.HOLDS, item.name, finished[-1] if finished else None)
        if verdict is Verdict.FAILED:
            return Finding(
                State.MISSING,
                None,
                job_id,
                f"Read set {_what(read_set)}, and will not become ACTIVE; correct read_set_ids",
                is_hopeless=True,
            )
        if read_set and read_set.status != ReadSetStatus.ARCHIVED:
            return Finding(State.UNDER_WAY, job_id=job_id)
        found = _by_jobs(told)
        if finished and told[-1][1].status == FINISHED and found.state is State.MISSING:
            why = f"Read set is ARCHIVED still, although job {finished[-1]} finished it"
            return Finding(State.MISSING, None, finished[-1], why, is_early=True)
        return found


GOALS: dict[Kind, type[Goal]] = {
    ReadSetJobKind.EXPORT: ExportGoal,
    ReadSetJobKind.ACTIVATION: ActivationGoal,
    ReadSetJobKind.IMPORT: ImportGoal,
    REFERENCE_IMPORT: ImportGoal,
}


def _by_jobs(told: Sequence[Record]) -> Finding:
    """Return whether a job has an item under way."""
    for job, _ in reversed(told):
        if job.verdict() is Verdict.WAITING:
            return Finding(State.UNDER_WAY, job_id=job.job_id)
    return Finding(State.MISSING, None, told[-1][0].job_id if told else None)


def _what(read_set: Any) -> str:
    if read_set is None:
        return "is not found"
    said = f" ({read_set.status_message})" if read_set.status_message else ""
    return f"is {read_set.status}{said}"


def unfinished(jobs: Iterable[ReadSetJob], keys: Iterable[ItemKey]) -> set[ItemKey]:
    """Return those of these items that no job tells to be finished."""
    told = records(jobs)
    return {key for key in keys if not any(record.status == FINISHED for _, record in told.get(key, ()))}
