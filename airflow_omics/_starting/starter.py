"""
Starting jobs: in chunks of the size that AWS allows, as room appears, each with a client token.

A token guards one gap alone: a Start that AWS carried out, and whose answer was lost with the process. The next attempt
makes the same token of the same request, and AWS answers with the job that is there.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from airflow_omics._aws.errors import is_denied
from airflow_omics._service.job_items import ItemKey
from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._starting.goals import Goal, Item, unfinished
from airflow_omics._starting.store import Store
from airflow_omics.exceptions import (
    WAITED_OUT,
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsResponseError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook

CLOCK = timedelta(seconds=2)
"""How far a job's creation may lie before the Date of the answer that tells of a new one: Dates are whole seconds."""


MOST_REPLAYED = 3
"""
How often a job that has ended, and by its age may be new, is taken for an old one: no job is that fast, but an attempt
must not start jobs without end.
"""


class StopError(Exception):
    """The attempt is to end now: its time is up, or its task is being killed."""


@dataclass(frozen=True)
class Chunk:
    """
    What one job is to do, and the jobs in whose place it is started.

    :param tried: When it was tried first, in seconds since the epoch.
    :param replayed: How often AWS answered with a job that had ended, and may have been new.
    """

    items: tuple[Item, ...]
    after: tuple[str, ...] = ()
    tried: float | None = None
    replayed: int = 0


@dataclass(kw_only=True)
class Starter:
    """
    What one attempt of a task has started, and is to start.

    :param identity: What identifies the work: DAG, run, task and map index, or a client token; and the generation.
    :param parameters: What Start takes beside store, sources and token: roleArn, destination.
    :param deadline: When its time is up, in seconds since the epoch.
    """

    hook: OmicsHook
    goal: Goal
    sequence_store_id: str
    identity: Sequence[object]
    parameters: dict[str, str]
    max_concurrent_jobs: int
    log: Any
    items: list[Item] = field(default_factory=list)
    deadline: float | None = None
    is_stopped: bool = False
    trouble: OmicsTransientError | None = None

    jobs: dict[str, ReadSetJob | None] = field(default_factory=dict)
    """The jobs that count and have some of the items; None for one that is to be asked for."""
    running: set[str] = field(default_factory=set)
    """Those of them that are not known to have ended."""
    sent: dict[str, list[ItemKey]] = field(default_factory=dict)
    """The jobs that this attempt started, with the items of each."""
    refused: dict[ItemKey, OmicsRefusedError] = field(default_factory=dict)
    pending: deque[Chunk] = field(default_factory=deque)
    others: frozenset[str] = frozenset()
    """The running jobs that had somebody else's items, too, when the attempt left its worker."""
    is_current: bool = False
    """Whether nothing was started, and nothing has ended, since it was looked what holds."""

    def __post_init__(self) -> None:
        self.kind: Kind = self.goal.kind
        self.give(self.sequence_store_id, self.parameters, self.identity)

    def give(self, sequence_store_id: str, parameters: dict[str, str], identity: Sequence[object]) -> None:
        """Take what the task was given: a DAG may change while its task is deferred."""
        self.sequence_store_id, self.parameters, self.identity = sequence_store_id, parameters, identity
        self.goal = replace(self.goal, destination=parameters.get("destination"))
        self.store = Store(self.hook, self.kind, sequence_store_id, self.log, self.check)

    def counts(self, job: ReadSetJob) -> bool:
        """Tell whether a job of the store counts."""
        return self.goal.counts(job, self.hook.is_behind)

    def check(self) -> None:
        """
        Do nothing, if there is time.

        :raises StopError: The attempt is to end now.
        """
        if self.is_stopped or (self.deadline is not None and time.time() >= self.deadline):
            raise StopError

    @property
    def own(self) -> set[str]:
        """The running jobs that have the task's items alone: AWS does not say whose a job is."""
        keys = {item.key for item in self.items}
        return {
            job_id
            for job_id in self.running
            if job_id in self.sent
            or (
                all(item.key in keys for item in job.items) if (job := self.jobs[job_id]) else job_id not in self.others
            )
        }

    @property
    def has_room(self) -> bool:
        """Tell whether another job may be started."""
        return len(self.own) < self.max_concurrent_jobs

    def start(self) -> None:
        """Start as many jobs as there is room for."""
        while self.pending and self.has_room:
            self.check()
            try:
                self._start(self.pending[0])
            except OmicsTransientError as error:
                self.trouble = error
                self.log.warning(WAITED_OUT, error)
                return
            except OmicsRefusedError as error:
                if isinstance(error, OmicsCredentialsError):
                    raise
                self._refuse(error)

    def _start(self, chunk: Chunk) -> None:
        sources = [item.source for item in chunk.items]
        began = time.time() if chunk.tried is None else chunk.tried
        self.pending[0] = replace(chunk, tried=began)
        self.is_current = False
        job = self.hook.start_job(
            self.kind, self.sequence_store_id, sources, clientToken=self._token(chunk), **self.parameters
        )
        if job.job_id in self.sent or job.job_id in chunk.after:
            raise OmicsResponseError(
                f"{self.kind.operation('Start')} for {len(sources)} {self.kind.item}s was answered with {job}, which "
                "was started for others. Check what stands between Airflow and AWS (endpoint_url, proxy)."
            )
        since = self.hook.service_time - CLOCK - timedelta(seconds=max(time.time() - began, 0))
        is_of_before = job.creation_time is not None and job.creation_time < since
        has_ended = job.verdict() is not Verdict.WAITING
        # Tried twice, it may be this attempt's own, of which the first answer was lost.
        is_replayed = has_ended and chunk.tried is None and chunk.replayed < MOST_REPLAYED
        if is_of_before or is_replayed:
            self._take_up(job, replace(chunk, replayed=chunk.replayed + (not is_of_before)))
            return
        self.pending.popleft()
        self.sent[job.job_id] = [item.key for item in chunk.items]
        self.jobs[job.job_id] = job
        self.running.add(job.job_id)
        self.log.info("%s is %s, with %s %ss", job, job.status, len(sources), self.kind.item)

    def _take_up(self, job: ReadSetJob, chunk: Chunk) -> None:
        """Make of a job from before this attempt what it is good for; what it has not done is started again."""
        found = self.store.jobs([job.job_id]).get(job.job_id)
        if found is None and job.verdict() is Verdict.WAITING:
            found = job  # it is there, and will be found
        rest = chunk.items
        if found and self.counts(found):
            self.jobs[found.job_id] = found
            if found.verdict() is Verdict.WAITING:
                rest = ()
                self.running.add(found.job_id)
            elif self.goal.do_jobs_vouch:
                left = unfinished([found], [item.key for item in chunk.items])
                rest = tuple(item for item in chunk.items if item.key in left)
        self.log.info("%s was started before; %s of its %ss are started again", job, len(rest), self.kind.item)
        self.pending.popleft()
        if rest:
            self.pending.appendleft(Chunk(rest, (*chunk.after, job.job_id), None, chunk.replayed))

    def _refuse(self, error: OmicsRefusedError) -> None:
        """Note that a job is not to be; where no other would be either, all that are to come."""
        refused = list(self.pending) if self._is_for_all(error) else [self.pending[0]]
        self.log.error("%s", error)
        for chunk in refused:
            self.pending.popleft()
            self.refused.update(dict.fromkeys((item.key for item in chunk.items), error))

    def _is_for_all(self, error: OmicsRefusedError) -> bool:
        if isinstance(error, OmicsNotFoundError):  # the store, or something that one job alone names
            try:
                self.store.check_there()
            except OmicsNotFoundError:
                return True
        return isinstance(error.__cause__, ClientError) and is_denied(error.__cause__)

    def _token(self, chunk: Chunk) -> str:
        request = [self.sequence_store_id, self.kind.word, self.parameters, [item.source for item in chunk.items]]
        described = json.dumps([*self.identity, *request, sorted(chunk.after)], sort_keys=True, default=dict)
        return f"airflow-{hashlib.sha256(described.encode()).hexdigest()}"
