"""
Starting jobs for any number of read sets, once each.

How "once" is kept, on every Airflow and without a state store: each job is started with a client token made of what
identifies the work (DAG, run, task, map index) and of the job's own content. A retry after a crash makes the same
tokens, and AWS answers with the job that is already there instead of starting another. AWS documents what a client
token is for, but neither how long it is remembered nor whether it is remembered for a job that failed. If it
forgets one, that job would be started again.

AWS is also what remembers failures: where the job found under a token ended badly in an earlier attempt, its item
list says which read sets are done, and only the others are started again, under a token that names that job.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow.utils.log.logging_mixin import LoggingMixin

from airflow_omics.bounds import shown
from airflow_omics.exceptions import WAITED_OUT, OmicsEventError, OmicsResponseError, OmicsTransientError
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJob, ReadSetJobKind, Verdict
from airflow_omics.members import items, texts
from airflow_omics.polling import JobPoll

Source = Mapping[str, Any]
"""A source item in the form of AWS's Start operations: ``{"readSetId": ...}``, or an import's."""


@dataclass(frozen=True)
class Chunk:
    """What one job does: its sources, and the jobs that tried the same in earlier attempts."""

    sources: tuple[Source, ...]
    after: tuple[str, ...] = ()


@dataclass
class Bulk(LoggingMixin):
    """
    Jobs of one kind and store, started as room appears; all that a task must remember between two looks.

    :param identity: What identifies the work beside its content.
    :param parameters: What Start takes beside store, sources and token: roleArn, destination.
    :param earlier_attempts: How many attempts of this task there were before this one.
    """

    hook: OmicsHook
    kind: ReadSetJobKind
    sequence_store_id: str
    identity: Sequence[object]
    parameters: Mapping[str, str]
    max_concurrent_jobs: int
    accept_partial_failure: bool
    earlier_attempts: int
    pending: deque[Chunk] = field(default_factory=deque)
    running: dict[str, Chunk | None] = field(default_factory=dict)
    seen: dict[str, ReadSetJob] = field(default_factory=dict)
    unlooked: set[str] = field(default_factory=set)
    superseded: set[str] = field(default_factory=set)
    total: int = 0
    trouble: OmicsTransientError | None = None
    is_stopped: bool = False

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._poll = JobPoll(self.hook, self.kind, self.sequence_store_id, self.log)

    def add(self, sources: Sequence[Source]) -> None:
        """Take sources on, cut into jobs of the size that AWS allows."""
        size = self.kind.max_read_sets
        self.total += len(sources)
        self.pending.extend(Chunk(tuple(sources[start : start + size])) for start in range(0, len(sources), size))

    def adopt(self, read_set_ids: set[str]) -> set[str]:
        """
        Wait for the jobs that have some of these read sets under way already; return those read sets.

        Needed where the content of a job, and so its token, cannot be made again: what is ACTIVE by now was not
        when an earlier attempt left it out.
        """
        found = set()
        for status in ("SUBMITTED", "IN_PROGRESS"):
            for listed in list(self.hook.list_read_set_jobs(self.kind, self.sequence_store_id, status)):
                job = self.hook.get_read_set_job(self.kind, self.sequence_store_id, listed.job_id)
                covered = read_set_ids & {*job.finished, *job.unfinished}
                if covered:
                    self.log.info("%s has %s of the read sets under way already; waiting for it", job, len(covered))
                    self.running[job.job_id] = None
                    self.seen[job.job_id] = job
                    found |= covered
        return found

    def start(self) -> None:
        """Start as many jobs as there is room for, unless it was stopped."""
        while self.pending and not self.is_stopped and len(self.running) < self.max_concurrent_jobs:
            chunk = self.pending[0]
            try:
                job = self.hook.start_read_set_job(
                    self.kind, self.sequence_store_id, chunk.sources, clientToken=self._token(chunk), **self.parameters
                )
            except OmicsTransientError as error:
                self.trouble = error
                self.log.warning(WAITED_OUT, error)
                return
            if job.job_id in self.seen:
                raise OmicsResponseError(
                    f"{self.kind.operation('Start')} for {len(chunk.sources)} read sets was answered with {job}, which "
                    "was started for others. Check what stands between Airflow and AWS (endpoint_url, proxy)."
                )
            self.pending.popleft()
            self.running[job.job_id] = chunk
            self.unlooked.add(job.job_id)
            self.seen[job.job_id] = job
            self.log.info("%s is %s, with %s read sets", job, job.status, len(chunk.sources))

    def look(self) -> None:
        """Ask for every job that may be over; a place that one leaves is filled at once."""
        surely_open = self._poll.find_open(self.running)
        self.unlooked -= surely_open
        for job in self._poll.get([job_id for job_id in self.running if job_id not in surely_open]):
            self.take(job)
            self.start()
        self.trouble = self._poll.trouble

    def take(self, job: ReadSetJob) -> None:
        """Take notice of what AWS says of a running job."""
        self.seen[job.job_id] = job
        is_first_look = job.job_id in self.unlooked
        self.unlooked.discard(job.job_id)
        verdict = job.verdict(accept_partial_failure=self.accept_partial_failure)
        if verdict is Verdict.WAITING:
            return
        chunk = self.running.pop(job.job_id)
        # What is over moments after Start answered was over before: no job is that fast. And an attempt starts
        # the same work at most once more than the attempts before it did, whatever AWS answers.
        was_over = is_first_look and chunk is not None and len(chunk.after) < self.earlier_attempts
        if verdict is Verdict.FAILED and chunk is not None and was_over:
            rest = tuple(source for source in chunk.sources if not _names(source) & _done(job, chunk))
            self.log.info("%s ended %s in an earlier attempt; starting %s again", job, job.status, len(rest))
            self.superseded.add(job.job_id)
            if rest:
                self.pending.appendleft(Chunk(rest, (*chunk.after, job.job_id)))

    def remember(self) -> dict[str, Any]:
        """Return, as JSON, what a task that leaves has to take up again with :meth:`take_up`."""
        memory = {
            "parameters": dict(self.parameters),
            "pending": [{"sources": list(chunk.sources), "after": list(chunk.after)} for chunk in self.pending],
            "jobs": [job.summary() for job in self.seen.values()],
            "running": list(self.running),
            "superseded": list(self.superseded),
            "total": self.total,
        }
        return {**memory, "digest": _digest(memory)}

    def take_up(self, memory: object) -> None:
        """
        Take up what :meth:`remember` told.

        :raises OmicsEventError: It cannot be that, or was changed since: read sets might be forgotten.
        """
        try:
            if not isinstance(memory, Mapping) or not isinstance(memory.get("total"), int):
                raise ValueError("total is missing")
            if memory.get("digest") != _digest({name: memory[name] for name in memory if name != "digest"}):
                raise ValueError("it was changed")
            self.parameters = {str(name): str(value) for name, value in dict(memory.get("parameters", {})).items()}
            for chunk in items(memory, "pending"):
                self.pending.append(Chunk(tuple(items(chunk, "sources")), tuple(texts(chunk, "after"))))
            jobs = [ReadSetJob.from_summary(summary) for summary in items(memory, "jobs")]
            self.seen = {job.job_id: job for job in jobs}
            self.running = dict.fromkeys(texts(memory, "running"))
            if not self.running.keys() <= self.seen.keys() or not all(chunk.sources for chunk in self.pending):
                raise ValueError("a job or a source is missing")
            self.superseded = set(texts(memory, "superseded"))
            self.total = memory["total"]
        except (AttributeError, RecursionError, TypeError, ValueError) as error:
            raise OmicsEventError(
                f"What this task remembered while it was deferred cannot be right: {shown(memory)} ({error}). "
                "A retry of the task finds its jobs again."
            ) from error

    @property
    def is_over(self) -> bool:
        """Tell whether every job was started and has ended."""
        return not self.pending and not self.running

    def jobs(self) -> list[ReadSetJob]:
        """Return every job that was started or found, in that order."""
        return list(self.seen.values())

    def failed(self) -> list[ReadSetJob]:
        """Return the jobs that failed, without those whose rest was started again."""
        return [
            job
            for job in self.seen.values()
            if job.job_id not in self.superseded
            and job.verdict(accept_partial_failure=self.accept_partial_failure) is Verdict.FAILED
        ]

    @property
    def progress(self) -> str:
        """How far it is, in words for a log line."""
        finished = sum(len(job.finished) for job in self.seen.values())
        failed = sum(len(job.failed) for job in self.seen.values() if job.job_id not in self.superseded)
        return (
            f"{finished} of {self.total} read sets finished, {failed} failed, "
            f"{max(self.total - finished - failed, 0)} open; "
            f"{len(self.running)} jobs running, {len(self.pending)} waiting for room"
        )

    def _token(self, chunk: Chunk) -> str:
        request = [self.sequence_store_id, self.kind.value, dict(self.parameters), chunk.sources]
        return f"airflow-{_digest([*self.identity, *request, chunk.after])}"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()


def _names(source: Source) -> set[object]:
    return {source["readSetId"]} if "readSetId" in source else {source["sourceFiles"]["source1"]}


def _done(job: ReadSetJob, chunk: Chunk) -> set[object]:
    """Return the names of a chunk's sources that a job has finished."""
    if job.kind is not ReadSetJobKind.IMPORT:
        return set(job.finished)
    if not job.total:
        return set()
    left = {*job.unfinished, *(each.source for each in job.failed)}
    return {name for source in chunk.sources for name in _names(source)} - left
