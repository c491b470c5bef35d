"""
Jobs: their statuses, and what AWS tells of one.

Standard library only: no Airflow, no boto3. Facts about the service come from the service model that botocore
ships (``botocore/data/omics/2022-11-28/service-2.json.gz``) unless another source is named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from airflow_omics._service.job_items import FAILED, FINISHED, ItemKey, JobItem
from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.limits import MOST_READ_SETS, shown
from airflow_omics._service.parsing import (
    ParseError,
    check_asked,
    identifier,
    iso_time,
    items,
    message,
    text,
    texts,
    time,
    to_iso,
)


class JobStatus(StrEnum):
    """The seven statuses of a job, the same for all kinds, spelled as AWS spells them."""

    SUBMITTED = "SUBMITTED"
    IN_PROGRESS = "IN_PROGRESS"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_FAILURES = "COMPLETED_WITH_FAILURES"


JOB_VERDICTS: dict[str, Verdict] = {
    JobStatus.SUBMITTED: Verdict.WAITING,
    JobStatus.IN_PROGRESS: Verdict.WAITING,
    JobStatus.CANCELLING: Verdict.WAITING,
    JobStatus.CANCELLED: Verdict.FAILED,
    JobStatus.FAILED: Verdict.FAILED,
    JobStatus.COMPLETED: Verdict.SUCCEEDED,
    JobStatus.COMPLETED_WITH_FAILURES: Verdict.FAILED,
}


@dataclass(frozen=True)
class ReadSetJob:
    """
    A read set job, or a reference import job, as AWS last described it.

    ``status`` is a :class:`JobStatus`, or AWS's own text where this version does not know it. ``items`` are in the
    order of the request; there are none when AWS sent no details, which its documentation shows even for a job that has
    ended. Messages are cut, and other texts and lists beyond what :mod:`airflow_omics._service.limits` says refused, so
    that a summary has a bounded size.
    """

    kind: Kind
    job_id: str
    sequence_store_id: str
    """The store's id, of whatever kind the store is."""
    status: str
    status_message: str | None = None
    destination: str | None = None
    creation_time: datetime | None = None
    completion_time: datetime | None = None
    items: tuple[JobItem, ...] = ()

    def __post_init__(self) -> None:
        if len(self.items) > MOST_READ_SETS:
            raise ParseError(f"there are {len(self.items)} {self.kind.item}s, expected at most {MOST_READ_SETS}")

    @classmethod
    def from_response(
        cls, kind: Kind, response: Mapping[str, Any], *, sequence_store_id: str, work_id: str | None = None
    ) -> ReadSetJob:
        """
        Parse what boto3 returned for an operation on a job of ``kind``.

        :param work_id: The job asked for; None if the response is what tells it.
        :raises ParseError: A member is missing, of the wrong type, or speaks of another job; the message names it.
        """
        job_id = work_id or identifier(response, "id")
        check_asked(response, **{"id": job_id, kind.store.member: sequence_store_id})
        status = text(response, "status")
        if not status:
            raise ParseError(
                f"status is missing; the response has {shown(list(response)) if response else 'no members'}"
            )
        found = []
        for index, item in enumerate(items(response, kind.items_key)):
            try:
                found.append(JobItem.from_response(item, kind.item_id_key))
            except ParseError as error:
                raise ParseError(f"{kind.items_key}[{index}]: {error}") from None
        return cls(
            kind=kind,
            job_id=job_id,
            sequence_store_id=sequence_store_id,
            status=JobStatus(status) if status in JOB_VERDICTS else status,
            status_message=message(response, "statusMessage"),
            destination=text(response, "destination"),
            creation_time=time(response, "creationTime"),
            completion_time=time(response, "completionTime"),
            items=tuple(found),
        )

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job_id

    @property
    def is_complete(self) -> bool:
        """Whether it tells of its items; a List tells of none, and nobody takes a job from a List for the whole."""
        return True

    @property
    def finished(self) -> list[str | None]:
        """The ids of the read sets that are done; None where AWS sent no id."""
        return [item.id for item in self.items if item.status == FINISHED]

    @property
    def failed(self) -> list[JobItem]:
        """What the job could not process."""
        return [item for item in self.items if item.status == FAILED]

    @property
    def unfinished(self) -> list[str]:
        """The ids of the others, or for an import their sources; a status of tomorrow is not done, either."""
        others = (item for item in self.items if item.status not in (FINISHED, FAILED))
        return [item.source or item.id or "" for item in others]

    def about(self, keys: Collection[ItemKey]) -> ReadSetJob:
        """Return this job with those of its items alone that have one of these keys."""
        return replace(self, items=tuple(item for item in self.items if item.key in keys))

    @classmethod
    def from_summary(cls, kind: Kind, summary: object) -> ReadSetJob:
        """
        Take up again what :meth:`summary` told: out of a trigger's event, or out of a database.

        :raises ParseError: It is no summary; the message names what is wrong in it.
        """
        if not isinstance(summary, Mapping):
            raise ParseError(f"{shown(summary, 80)} is no summary of a job")
        job_id, store, status = (text(summary, each) for each in ("job_id", kind.store.argument, "status"))
        if not (job_id and store and status):
            raise ParseError(f"job_id, {kind.store.argument} or status is missing")
        if summary.get("kind") != kind.word:
            raise ParseError(f"kind is {shown(summary.get('kind'), 80)}, expected {kind.word!r}")
        finished = [text({"finished": each}, "finished") for each in items(summary, "finished")]
        found = [JobItem((each,) if each else (), FINISHED, each) for each in finished]
        for item in items(summary, "failed"):
            if not isinstance(item, Mapping):
                raise ParseError(f"failed holds {shown(item, 80)}, expected structures")
            failed, said, source = text(item, kind.item_argument), message(item, "message"), text(item, "source")
            found.append(JobItem((failed,) if failed else (), FAILED, failed, said, source))
        found += [JobItem((each,), "", each) for each in texts(summary, "unfinished")]
        return cls(
            kind=kind,
            job_id=job_id,
            sequence_store_id=store,
            status=JobStatus(status) if status in JOB_VERDICTS else status,
            status_message=message(summary, "status_message"),
            destination=text(summary, "destination"),
            creation_time=iso_time(summary, "creation_time"),
            completion_time=iso_time(summary, "completion_time"),
            items=tuple(found),
        )

    @property
    def is_status_known(self) -> bool:
        """False for a status that AWS introduced after this version was written."""
        return self.status in self.kind.verdicts

    def verdict(self, *, accept_partial_failure: bool = False) -> Verdict:
        """
        Say whether a wait for this job goes on, has succeeded or has failed.

        :param accept_partial_failure: Let COMPLETED_WITH_FAILURES succeed.
        """
        return self.kind.verdict(self.status, accept_partial_failure=accept_partial_failure)

    def summary(self) -> dict[str, Any]:
        """Return the job as JSON for XCom: every key always present, None where AWS sent nothing, times ISO 8601."""
        return {
            "kind": self.kind.word,
            "job_id": self.job_id,
            self.kind.store.argument: self.sequence_store_id,
            "status": str(self.status),
            "status_message": self.status_message,
            "destination": self.destination,
            "creation_time": to_iso(self.creation_time),
            "completion_time": to_iso(self.completion_time),
            "finished": self.finished,
            "failed": [
                {self.kind.item_argument: item.id, "message": item.message}
                | ({"source": item.source} if self.kind.makes_items else {})
                for item in self.failed
            ],
            "unfinished": self.unfinished,
        }

    @property
    def total(self) -> int:
        """How many read sets AWS sent details of."""
        return len(self.items)

    @property
    def progress(self) -> str:
        """How far the job is, in words for a log line."""
        if not self.total:
            return f"no details of its {self.kind.item}s"
        done = f"{len(self.finished)} of {self.total} {self.kind.item}s finished"
        return f"{done}, {len(self.failed)} failed, {len(self.unfinished)} open"

    @property
    def in_words(self) -> str:
        """Its status, and how far it is."""
        return f"{self.status}, {self.progress}"

    def __str__(self) -> str:
        return self.kind.describe(self.sequence_store_id, self.job_id)
