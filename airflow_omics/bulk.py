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

from airflow_omics.exceptions import OmicsRefusedError, OmicsTransientError
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind, Verdict

Source = Mapping[str, Any]
"""A source item in the form of AWS's Start operations: ``{"readSetId": ...}``, or an import's."""


FEW = 3
"""Up to how many jobs are asked for one by one."""


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

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

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
            for job_id in self.hook.list_read_set_job_ids(self.kind, self.sequence_store_id, status):
                job = self.hook.get_read_set_job(self.kind, self.sequence_store_id, job_id)
                covered = read_set_ids & {*job.finished, *job.unfinished}
                if covered:
                    self.log.info("%s has %s of the read sets under way already; waiting for it", job, len(covered))
                    self.running[job_id] = None
                    self.seen[job_id] = job
                    found |= covered
        return found

    def start(self) -> None:
        """Start as many jobs as there is room for."""
        while self.pending and len(self.running) < self.max_concurrent_jobs:
            chunk = self.pending[0]
            try:
                job = self.hook.start_read_set_job(
                    self.kind, self.sequence_store_id, chunk.sources, clientToken=self._token(chunk), **self.parameters
                )
            except OmicsTransientError as error:
                self.log.warning("%s Nothing is lost; asking again.", error)
                return
            self.pending.popleft()
            self.running[job.job_id] = chunk
            self.unlooked.add(job.job_id)
            self.seen[job.job_id] = job
            self.log.info("%s is %s, with %s read sets", job, job.status, len(chunk.sources))

    def look(self) -> None:
        """Ask for every job that may be over."""
        surely_open = self._surely_open()
        for job_id, chunk in list(self.running.items()):
            if job_id in surely_open:
                self.unlooked.discard(job_id)
                continue
            try:
                job = self.hook.get_read_set_job(self.kind, self.sequence_store_id, job_id)
            except OmicsTransientError as error:
                self.log.warning("%s Nothing is lost; asking again.", error)
                continue
            self.seen[job_id] = job
            is_first_look = job_id in self.unlooked
            self.unlooked.discard(job_id)
            if not job.is_status_known:
                self.log.warning("%s has a status unknown to this version: %r. Waiting on.", job, job.status)
            verdict = job.verdict(accept_partial_failure=self.accept_partial_failure)
            if verdict is Verdict.WAITING:
                continue
            del self.running[job_id]
            # What is over moments after Start answered was over before: no job is that fast. And an attempt starts
            # the same work at most once more than the attempts before it did, whatever AWS answers.
            was_over = is_first_look and chunk is not None and len(chunk.after) < self.earlier_attempts
            if verdict is Verdict.FAILED and chunk is not None and was_over:
                rest = tuple(source for source in chunk.sources if not _names(source) & _done(job, chunk))
                self.log.info("%s ended %s in an earlier attempt; starting %s again", job, job.status, len(rest))
                self.superseded.add(job_id)
                if rest:
                    self.pending.appendleft(Chunk(rest, (*chunk.after, job_id)))
            self.start()  # at once, and not when all have been asked for, which takes its time

    def _surely_open(self) -> set[str]:
        """Return jobs that need no Get now: two Lists say it of all, in a page each, since quotas keep them few."""
        if len(self.running) <= FEW:
            return set()
        try:
            # In this order: a job that moves on in between is in the second list.
            return {
                job_id
                for status in (JobStatus.SUBMITTED, JobStatus.IN_PROGRESS)
                for job_id in self.hook.list_read_set_job_ids(self.kind, self.sequence_store_id, status)
            }
        except OmicsRefusedError as error:
            self.log.debug("Asking for every job by itself: %s", error)
            return set()

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
        work = [*self.identity, *request, chunk.after]
        return "airflow-" + hashlib.sha256(json.dumps(work, sort_keys=True, default=list).encode()).hexdigest()


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
