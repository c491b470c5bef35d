"""
Read set jobs: their kinds, their statuses, and the one rule for how a wait ends.

Standard library only: no Airflow, no boto3. Facts about the service come from the service model that botocore
ships (``botocore/data/omics/2022-11-28/service-2.json.gz``) unless another source is named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import Any

from airflow_omics.bounds import MOST_READ_SETS, shown
from airflow_omics.members import identifier, iso_time, items, message, text, texts, time, to_iso

UNKNOWN_STATUS = "%s has a status unknown to this version: %r. Waiting on."
"""How the log says so, with the job and the status."""


class JobStatus(StrEnum):
    """The seven statuses of a read set job, the same for all kinds, spelled as AWS spells them."""

    SUBMITTED = "SUBMITTED"
    IN_PROGRESS = "IN_PROGRESS"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_FAILURES = "COMPLETED_WITH_FAILURES"


FINISHED, FAILED = "FINISHED", "FAILED"
"""The two statuses of a job's item that are its last."""


class Verdict(Enum):
    """What a job's status means for whoever waits for it."""

    WAITING = auto()
    SUCCEEDED = auto()
    FAILED = auto()


_VERDICTS = {
    JobStatus.SUBMITTED: Verdict.WAITING,
    JobStatus.IN_PROGRESS: Verdict.WAITING,
    JobStatus.CANCELLING: Verdict.WAITING,
    JobStatus.CANCELLED: Verdict.FAILED,
    JobStatus.FAILED: Verdict.FAILED,
    JobStatus.COMPLETED: Verdict.SUCCEEDED,
    JobStatus.COMPLETED_WITH_FAILURES: Verdict.FAILED,
}


class ReadSetJobKind(Enum):
    """
    A kind of read set job; its value is the word used in logs and summaries.

    ``items_key`` and ``item_id_key`` say where a Get response keeps its per-read-set details.
    ``max_read_sets`` per job is fixed; ``max_concurrent_jobs`` per account and region is the default of an adjustable
    quota (AWS HealthOmics user guide, "Service quotas").
    """

    items_key: str
    item_id_key: str
    max_read_sets: int
    max_concurrent_jobs: int

    EXPORT = ("export", "readSets", "id", 100, 5)
    ACTIVATION = ("activation", "sources", "readSetId", 20, 25)
    IMPORT = ("import", "sources", "readSetId", 100, 5)

    def __new__(  # noqa: D102 - the defaults are for looking a kind up by its word alone
        cls, word: str, items_key: str = "", item_id_key: str = "", max_read_sets: int = 0, max_jobs: int = 0
    ) -> ReadSetJobKind:
        kind = object.__new__(cls)
        kind._value_ = word
        kind.items_key = items_key
        kind.item_id_key = item_id_key
        kind.max_read_sets = max_read_sets
        kind.max_concurrent_jobs = max_jobs
        return kind

    @classmethod
    def parse(cls, word: object) -> ReadSetJobKind:
        """
        Return the kind that a word from outside names.

        :raises ValueError: It names none.
        """
        for kind in cls:
            if kind.value == word:
                return kind
        raise ValueError(f"kind is {shown(word, 80)}, expected one of {', '.join(kind.value for kind in cls)}")

    def operation(self, verb: str) -> str:
        """Name an AWS operation on jobs of this kind: ``Start``, ``Get`` or ``List``."""
        return f"{verb}ReadSet{self.value.capitalize()}Job{'s' if verb == 'List' else ''}"


@dataclass(frozen=True)
class FailedReadSet:
    """
    A read set that a job could not process.

    ``source`` is the S3 URI of the first source file, for imports only; their ``read_set_id`` may be None, since AWS
    gives a read set its id only on the way.
    """

    read_set_id: str | None
    message: str | None
    source: str | None = None

    def summary(self, kind: ReadSetJobKind) -> dict[str, str | None]:
        """Return the entry of the job's summary."""
        entry = {"read_set_id": self.read_set_id, "message": self.message}
        return entry | {"source": self.source} if kind is ReadSetJobKind.IMPORT else entry

    def __str__(self) -> str:
        name = self.read_set_id or self.source or "a read set without an id"
        return f"{name} ({self.message})" if self.message else name


ItemKey = tuple[str, ...]
"""What an item of a job is recognized by: a read set's id, or an import's source files, sample and subject."""


def item_key(item: Mapping[str, Any], id_key: str = "readSetId") -> ItemKey:
    """Return what an item is recognized by, in a request as in an answer; empty where it cannot be told."""
    if "sourceFiles" not in item:
        return (item[id_key],) if isinstance(item.get(id_key), str) else ()
    files = item["sourceFiles"] if isinstance(item["sourceFiles"], Mapping) else {}
    parts = (files.get("source1"), files.get("source2") or "", item.get("sampleId"), item.get("subjectId"))
    key = tuple(part for part in parts if isinstance(part, str))
    return key if len(key) == len(parts) and key[0] else ()


@dataclass(frozen=True)
class JobItem:
    """One read set of a job, or one source of an import; ``source`` is the S3 URI of its first file."""

    key: ItemKey
    status: str
    read_set_id: str | None = None
    message: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class ReadSetJob:
    """
    A read set job as AWS last described it.

    ``status`` is a :class:`JobStatus`, or AWS's own text where this version does not know it. ``finished`` and
    ``unfinished`` hold read set ids in the order of the request; for an import ``finished`` has None where AWS sent no
    id yet, and ``unfinished`` holds the S3 URIs of the first source files. All three lists are empty when AWS sent no
    per-read-set details, which its documentation shows even for a job that is over. Messages are cut, and other texts
    and lists beyond what :mod:`airflow_omics.bounds` says refused, so that a summary has a bounded size.
    """

    kind: ReadSetJobKind
    job_id: str
    sequence_store_id: str
    status: str
    status_message: str | None = None
    destination: str | None = None
    creation_time: datetime | None = None
    completion_time: datetime | None = None
    finished: tuple[str | None, ...] = ()
    failed: tuple[FailedReadSet, ...] = ()
    unfinished: tuple[str, ...] = ()
    items: tuple[JobItem, ...] = field(default=(), compare=False, repr=False)
    """Where the three lists come from; a summary has none of an import's."""

    def __post_init__(self) -> None:
        if self.total > MOST_READ_SETS:
            raise ValueError(f"there are {self.total} read sets, expected at most {MOST_READ_SETS}")

    @classmethod
    def from_response(
        cls, kind: ReadSetJobKind, response: Mapping[str, Any], *, sequence_store_id: str, job_id: str | None = None
    ) -> ReadSetJob:
        """
        Parse what boto3 returned for an operation on a job of ``kind``.

        :param job_id: The job asked for; None if the response is what tells it.
        :raises ValueError: A member is missing, of the wrong type, or speaks of another job; the message names it.
        """
        job_id = job_id or identifier(response, "id")
        for member, asked in (("id", job_id), ("sequenceStoreId", sequence_store_id)):
            if text(response, member) not in (asked, None):
                raise ValueError(f"{member} is {shown(response[member], 80)}, expected {asked!r}, the one asked for")
        status = text(response, "status")
        if not status:
            raise ValueError(
                f"status is missing; the response has {shown(list(response)) if response else 'no members'}"
            )
        found = []
        for index, item in enumerate(items(response, kind.items_key)):
            try:
                read_set_id, source = _item_names(kind, item)
                item_status, said = text(item, "status"), message(item, "statusMessage")
            except ValueError as error:
                raise ValueError(f"{kind.items_key}[{index}]: {error}") from None
            found.append(JobItem(item_key(item, kind.item_id_key), item_status or "", read_set_id, said, source))
        return cls(
            kind=kind,
            job_id=job_id,
            sequence_store_id=sequence_store_id,
            status=JobStatus(status) if status in _VERDICTS else status,
            status_message=message(response, "statusMessage"),
            destination=text(response, "destination"),
            creation_time=time(response, "creationTime"),
            completion_time=time(response, "completionTime"),
        ).of(found)

    def of(self, found: Sequence[JobItem]) -> ReadSetJob:
        """Return this job as one that has these items alone."""
        return replace(
            self,
            finished=tuple(item.read_set_id for item in found if item.status == FINISHED),
            failed=tuple(
                FailedReadSet(item.read_set_id, item.message, item.source) for item in found if item.status == FAILED
            ),
            # NOT_STARTED, IN_PROGRESS, and any word this version has never heard of: not done.
            unfinished=tuple(
                item.source or item.read_set_id or "" for item in found if item.status not in (FINISHED, FAILED)
            ),
            items=tuple(found),
        )

    def about(self, keys: Collection[ItemKey]) -> ReadSetJob:
        """Return this job with those of its items alone that have one of these keys."""
        return self.of([item for item in self.items if item.key in keys])

    @classmethod
    def from_summary(cls, summary: object) -> ReadSetJob:
        """
        Take up again what :meth:`summary` told: out of a trigger's event, or out of a database.

        :raises ValueError: It is no summary; the message names what is wrong in it.
        """
        if not isinstance(summary, Mapping):
            raise ValueError(f"{shown(summary, 80)} is no summary of a job")
        kind, status = ReadSetJobKind.parse(summary.get("kind")), text(summary, "status")
        job_id, sequence_store_id = text(summary, "job_id"), text(summary, "sequence_store_id")
        if not (job_id and sequence_store_id and status):
            raise ValueError("job_id, sequence_store_id or status is missing")
        finished = [text({"finished": each}, "finished") for each in items(summary, "finished")]
        found = [JobItem((each,) if each else (), FINISHED, each) for each in finished]
        for item in items(summary, "failed"):
            if not isinstance(item, Mapping):
                raise ValueError(f"failed holds {shown(item, 80)}, expected structures")
            failed, said, source = text(item, "read_set_id"), message(item, "message"), text(item, "source")
            found.append(JobItem((failed,) if failed else (), FAILED, failed, said, source))
        found += [JobItem((each,), "", each) for each in texts(summary, "unfinished")]
        return cls(
            kind=kind,
            job_id=job_id,
            sequence_store_id=sequence_store_id,
            status=JobStatus(status) if status in _VERDICTS else status,
            status_message=message(summary, "status_message"),
            destination=text(summary, "destination"),
            creation_time=iso_time(summary, "creation_time"),
            completion_time=iso_time(summary, "completion_time"),
        ).of(found)

    @property
    def is_status_known(self) -> bool:
        """False for a status that AWS introduced after this version was written."""
        return self.status in _VERDICTS

    def verdict(self, *, accept_partial_failure: bool = False) -> Verdict:
        """
        Say whether a wait for this job goes on, has succeeded or has failed.

        An unknown status waits: it may be a new step, and the waiter's timeout still ends the wait.

        :param accept_partial_failure: Let COMPLETED_WITH_FAILURES succeed.
        """
        if accept_partial_failure and self.status == JobStatus.COMPLETED_WITH_FAILURES:
            return Verdict.SUCCEEDED
        return _VERDICTS.get(self.status, Verdict.WAITING)  # type: ignore[call-overload, no-any-return]

    def summary(self) -> dict[str, Any]:
        """Return the job as JSON for XCom: every key always present, None where AWS sent nothing, times ISO 8601."""
        return {
            "kind": self.kind.value,
            "job_id": self.job_id,
            "sequence_store_id": self.sequence_store_id,
            "status": str(self.status),
            "status_message": self.status_message,
            "destination": self.destination,
            "creation_time": to_iso(self.creation_time),
            "completion_time": to_iso(self.completion_time),
            "finished": list(self.finished),
            "failed": [item.summary(self.kind) for item in self.failed],
            "unfinished": list(self.unfinished),
        }

    @property
    def total(self) -> int:
        """How many read sets AWS sent details of."""
        return len(self.finished) + len(self.failed) + len(self.unfinished)

    @property
    def progress(self) -> str:
        """How far the job is, in words for a log line."""
        if not self.total:
            return "no details of its read sets"
        done = f"{len(self.finished)} of {self.total} read sets finished"
        return f"{done}, {len(self.failed)} failed, {len(self.unfinished)} open"

    def __str__(self) -> str:
        return describe(self.kind, self.sequence_store_id, self.job_id)


def describe(kind: ReadSetJobKind, sequence_store_id: str, job_id: str) -> str:
    """Name a job the same way in every log line and message."""
    return f"{kind.value} job {job_id} in sequence store {sequence_store_id}"


def _item_names(kind: ReadSetJobKind, item: Any) -> tuple[str | None, str | None]:
    """Return an item's read set id and, for an import, its first source file."""
    if not isinstance(item, Mapping):
        raise ValueError(f"{shown(item, 80)} is no structure")
    read_set_id, source = text(item, kind.item_id_key), None
    if kind is ReadSetJobKind.IMPORT:
        files = item.get("sourceFiles")
        source = text(files, "source1") if isinstance(files, Mapping) else None
    if not (source or read_set_id):
        raise ValueError(f"{kind.item_id_key} is missing")
    return read_set_id, source
