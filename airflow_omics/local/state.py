"""What the service remembers: stores, what they hold and jobs as data, the clock, and the agenda of what is to come."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import Any

from airflow_omics._service.kind import Kind
from airflow_omics.jobs import JobStatus
from airflow_omics.local.places import Place
from airflow_omics.local.s3 import S3

TERMINAL = {JobStatus.COMPLETED, JobStatus.COMPLETED_WITH_FAILURES, JobStatus.FAILED, JobStatus.CANCELLED}


class Clock:
    """Wall time, with an offset that can be moved forward by hand."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC) + self._offset

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self._offset += timedelta(seconds=seconds)


@dataclass
class Store:
    """A store with what it holds, things of one kind, and with its jobs, by id."""

    id: str
    holds: Kind
    place: Place
    request: dict[str, Any]
    creation_time: datetime
    held: dict[str, Stored] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The store's ARN."""
        return self.place.arn(f"{self.holds.store.member.removesuffix('Id')}/{self.id}")


@dataclass
class Stored:
    """
    A read set or a reference.

    ``source`` is the import's source item, ``files`` the bytes of its source files by member name.
    """

    id: str
    store: Store
    source: dict[str, Any]
    files: dict[str, bytes]
    creation_time: datetime
    creation_job_id: str | None
    status: str = "ACTIVE"
    status_message: str | None = None
    activated_by: Item | None = None
    """The item of the activation job that made a read set ACTIVATING last."""

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"{self.store.arn}/{self.store.holds.listed_as.removesuffix('s')}/{self.id}"


@dataclass
class Item:
    """One read set, or import source, of a job; ``made`` is the id of what an import made of it."""

    request: dict[str, Any]
    status: str = "NOT_STARTED"
    message: str | None = None
    made: str | None = None

    @property
    def files(self) -> dict[str, str]:
        """The URIs of an import's source files, by their names where Get tells of the files."""
        if "sourceFile" in self.request:  # a reference's
            return {"source": self.request["sourceFile"]}
        return dict(self.request.get("sourceFiles", {}))

    @property
    def names(self) -> set[str]:
        """What this item can be called by: its read set id, and the URIs of an import's source files."""
        return {self.request["readSetId"]} if "readSetId" in self.request else set(self.files.values())


@dataclass
class Job:
    """A job. ``seconds`` is how long it takes, unless others do its work; it is fixed when the job starts."""

    id: str
    kind: Kind
    store: Store
    request: dict[str, Any]
    items: list[Item]
    creation_time: datetime
    seconds: float
    status: JobStatus = JobStatus.SUBMITTED
    message: str = "The job is submitted and will start soon."
    completion_time: datetime | None = None
    cancel_time: datetime | None = None
    history: list[tuple[float, JobStatus, datetime | None]] = field(default_factory=list)
    """Real times (``time.monotonic``) with the status and the completion time that the job had from then on."""

    def __post_init__(self) -> None:
        self.become(self.status, self.message)

    def as_of(self, seconds_ago: float) -> tuple[JobStatus, datetime | None] | None:
        """Return the status and the completion time that the job had; None if it was not there yet."""
        then = time.monotonic() - seconds_ago
        return next(((status, end) for since, status, end in reversed(self.history) if since <= then), None)

    def become(self, status: JobStatus, message: str, when: datetime | None = None) -> None:
        """Take a status; ``when`` is the completion time of one that is the last."""
        self.status, self.message, self.completion_time = status, message, when
        self.history.append((time.monotonic(), status, when))

    def read_set(self, item: Item) -> Stored | None:
        """Return the read set that an item names; an import's names none."""
        return self.store.held.get(item.request.get("readSetId", ""))

    @property
    def is_over(self) -> bool:
        """Tell whether the job has ended."""
        return self.status in TERMINAL


class State:
    """Everything that the service remembers."""

    def __init__(self, s3: S3) -> None:
        self.s3 = s3
        self.clock = Clock()
        self.stores: dict[str, Store] = {}
        self.failing: dict[str, str] = {}
        """Read set ids and source URIs whose processing fails, each with the item's message."""
        self._next_id = 1_000_000_000
        self.time = self.clock.now()
        """The time of what is done now."""
        self._agenda: list[tuple[datetime, int, Iterator[datetime]]] = []
        self._numbers = itertools.count()
        self._running: list[Job] = []

    def new_id(self) -> str:
        """Return an id never used before."""
        self._next_id += 1
        return str(self._next_id)

    def add_job(self, job: Job, steps: Iterator[datetime]) -> None:
        """Take a new job up, whose life these steps are."""
        job.store.jobs[job.id] = job
        self._running.append(job)
        self.go_on(steps)

    def move_on(self) -> None:
        """
        Do what all jobs have done by now, in the order of time.

        Called before every request, so that nothing runs in the background.
        """
        now = self.clock.now()
        while self._agenda and self._agenda[0][0] <= now:
            self.time, _, steps = heappop(self._agenda)
            self.go_on(steps)
        self.time = now
        self._running = [job for job in self._running if not job.is_over]

    def go_on(self, steps: Iterator[datetime]) -> None:
        """Do the first of some steps, each of which yields when the next is due; the others are done when they are."""
        if (due := next(steps, None)) is not None:
            heappush(self._agenda, (due, next(self._numbers), steps))

    def add(self, store: Store, source: dict[str, Any], files: dict[str, bytes], job_id: str | None = None) -> Stored:
        """Put something into a store."""
        new_id = self.new_id()
        store.held[new_id] = Stored(
            id=new_id,
            store=store,
            source=source,
            files=files,
            creation_time=self.time,
            creation_job_id=job_id,
        )
        return store.held[new_id]

    def running(self, kind: Kind, place: Place) -> int:
        """Count the jobs of a kind in this place that are not over."""
        return sum(job.kind == kind and job.store.place == place for job in self._running)

    def all_of(self, kind: Kind) -> Iterator[Stored]:
        """Return what all stores hold of a kind."""
        for store in self.stores.values():
            if store.holds == kind:
                yield from store.held.values()

    def find_job(self, job_id: str) -> Job | None:
        """Look a job up by its id alone."""
        return next((store.jobs[job_id] for store in self.stores.values() if job_id in store.jobs), None)
