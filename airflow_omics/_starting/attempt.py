"""
One attempt of a task at its goal: ask what holds, start what is missing, wait for it, ask again.

Every attempt asks AWS the same question, so that a retry, a clear, a crash, a corrected argument and somebody else's
jobs are one case. Nothing rests on what an earlier attempt did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_omics._service.job_items import FINISHED, ItemKey
from airflow_omics._service.jobs import JobStatus, ReadSetJob
from airflow_omics._service.kind import Verdict
from airflow_omics._service.limits import LONGEST_MESSAGE, some
from airflow_omics._starting.goals import Finding, Item, Record, State, records, unfinished
from airflow_omics._starting.starter import Chunk, Starter
from airflow_omics.exceptions import (
    UNKNOWN_STATUS,
    WAITED_OUT,
    OmicsCredentialsError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsTransientError,
)

LONG_AGO = datetime.min.replace(tzinfo=UTC)

UNDER_WAY = (JobStatus.SUBMITTED, JobStatus.IN_PROGRESS, JobStatus.CANCELLING)
"""What has not ended, in the order in which jobs go on: one that does so between two Lists is in one of them."""

LOST = timedelta(minutes=15)
"""How long a job that was started and is not found is asked for."""

SHOWN_LATE = timedelta(minutes=5)
"""How long after the end of its job a read set may still be ARCHIVED, or not be found."""


@dataclass(kw_only=True)
class Attempt(Starter):
    """
    What one attempt of a task knows, and what it can do next.

    :param is_first: Whether no attempt was before this one: then no job of an earlier one is looked for.
    :param is_cleared: Whether a clear began this generation of attempts; exports that are all done are then done again.
    """

    is_first: bool
    is_cleared: bool
    findings: dict[ItemKey, Finding] = field(default_factory=dict)
    lost: dict[str, datetime] = field(default_factory=dict)
    """Since when, by AWS's clock, a job is not found."""
    has_looked_for_jobs: bool = False
    ended: dict[str, datetime] = field(default_factory=dict)
    """When, by AWS's clock, the jobs ended that this attempt saw running."""
    _activating: set[str] = field(default_factory=set)

    # --- what an operator asks for

    def step(self, *, is_waiting: bool) -> None:
        """
        Do what can be done now.

        :param is_waiting: Whether the task waits for what it started.
        :raises StopError: The attempt is to end.
        :raises airflow_omics.exceptions.OmicsRequestError: A call failed; nothing is lost if it is transient.
        """
        while True:
            if not self.pending and not self.running:
                self.judge()
            self.start()
            if self.running and (is_waiting or self.pending or not self.is_judged):
                self.poll()
            if not self.pending and not is_waiting and not (self.is_judged and (self.running or self.is_current)):
                self.judge()  # it left its worker until all was started, or took what a job of before had finished
            if self.pending or self.running or self.is_current or not is_waiting:
                return

    @property
    def is_judged(self) -> bool:
        """Tell whether it was asked of every item what holds, since the attempt began or was taken up."""
        return len(self.findings) == len(self.items)

    @property
    def is_started(self) -> bool:
        """Tell whether everything that was missing was started, or refused."""
        return self.is_judged and not self.pending

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more will change: every item was looked at, and none is under way."""
        return self.is_started and self.is_current and not self.running and not any(map(self.is_under_way, self.items))

    def holds(self, item: Item) -> bool:
        """Tell whether the goal was seen to hold for an item."""
        return self._state(item) is State.HOLDS

    def is_under_way(self, item: Item) -> bool:
        """Tell whether an item was found to be in work."""
        return self._state(item) is State.UNDER_WAY

    def failed(self) -> list[Item]:
        """Return the items for which the goal does not hold, and never will; in the order asked for."""
        missing = [item for item in self.items if self._state(item) is State.MISSING]
        if self.is_over:
            return missing
        return [item for item in missing if item.key in self.refused or self.findings[item.key].is_hopeless]

    def told(self) -> dict[ItemKey, list[Record]]:
        """Return what jobs tell of every item."""
        return records(self.known())

    def known(self) -> list[ReadSetJob]:
        """Return the jobs that count, in the order of their creation."""
        jobs = [job for job in self.jobs.values() if job]
        return sorted(jobs, key=lambda job: (job.creation_time or LONG_AGO, job.job_id))

    @property
    def progress(self) -> str:
        """How far it is, in words for a log line."""
        done = {key for key, told in self.told().items() if any(record.status == FINISHED for _, record in told)}
        held = sum(self.holds(item) or (self.goal.do_jobs_vouch and item.key in done) for item in self.items)
        waiting = sum(len(chunk.items) for chunk in self.pending)
        done_so_far = f"{held} of {len(self.items)} {self.kind.item}s done, {waiting} to be started"
        return f"{done_so_far}, {len(self.refused)} refused; {len(self.running)} {self.kind.word} jobs running"

    # --- looking what holds

    def judge(self) -> None:
        """Find out what holds, what is under way and what is missing, and line up what is missing."""
        self.is_current = False
        if not self.is_judged:
            self.findings.clear()  # what held before the attempt left its worker may hold no more
        if self.items and not self.is_first and not self.has_looked_for_jobs:
            self._find_jobs()
        self._ask_for_untold_jobs()
        told = self.told()
        is_carried = any(map(self.holds, self.items))
        asked = [item for item in self.items if not self.holds(item)]
        known = self._look(asked, told)
        self._activating = {each.id for each in known.values() if each and each.status == "ACTIVATING"}
        by_whom = {key[0] for key, of_item in told.items() for job, _ in of_item if job.verdict() is Verdict.WAITING}
        is_somebodys = self._activating - by_whom and not self.goal.do_jobs_vouch
        if is_somebodys and not self.has_looked_for_jobs:
            self._find_jobs()
            told = self.told()
        for item in asked:
            self.findings[item.key] = self._find(item, told.get(item.key, ()), known)
        self._line_up(told)
        self.is_current = True
        self.running |= {
            job.job_id
            for item in asked
            if self.is_under_way(item)
            for job, _ in told.get(item.key, ())
            if job.verdict() is Verdict.WAITING
        }
        if is_carried and self.is_over and self.goal.is_looked_at:
            # What held when the wait began may hold no more.
            self.findings.clear()
            self.judge()

    def _find(self, item: Item, told: Sequence[Record], known: Mapping[str, Any]) -> Finding:
        """Return what is known of an item; how soon a read set shows what a job did is documented nowhere."""
        finding = self.goal.find(item, told, known)
        job = self.jobs.get(finding.job_id or "")
        # Of a job of an earlier attempt; a clear comes later than AWS takes to show what a job did.
        ended = self.ended.get(finding.job_id or "") or (job.completion_time if job and not self.is_cleared else None)
        is_fresh = ended and self.hook.service_time - ended < SHOWN_LATE
        return Finding(State.UNDER_WAY, job_id=finding.job_id) if finding.is_early and is_fresh else finding

    def _line_up(self, told: dict[ItemKey, list[Record]]) -> None:
        """Cut what is missing into jobs; what was tried before by itself, so that the rest is cut as it was then."""
        tried = {key for keys in self.sent.values() for key in keys} | self.refused.keys()
        missing = sorted(
            (
                item
                for item in self.items
                if (finding := self.findings[item.key]).state is State.MISSING
                and not finding.is_hopeless
                and item.key not in tried
            ),
            key=lambda item: item.key,
        )
        new = [item for item in missing if item.key not in told]
        if new and not self.is_first and self.kind.makes_items:
            self.log.warning(
                "No import job is known for these sources; if one has imported them and AWS has forgotten it, they are "
                "imported twice: %s",
                some([item.name for item in new], LONGEST_MESSAGE),
            )
        for group in (new, [item for item in missing if item.key in told]):
            size = self.kind.max_items
            for start in range(0, len(group), size):
                items = tuple(group[start : start + size])
                after = {job.job_id: None for item in items for job, _ in told.get(item.key, ())}
                self.pending.append(Chunk(items, tuple(after)))

    def _find_jobs(self) -> None:
        """Find the jobs that have some of the items: where only jobs vouch for the goal all, else those under way."""
        since = self.goal.since and self.goal.since - timedelta(days=1)  # for clocks differ; which count is told below
        statuses = (None,) if self.goal.do_jobs_vouch else UNDER_WAY
        listed = [job for job in self.store.list_jobs(statuses, since) if self.counts(job)]
        told = self.store.jobs([job.job_id for job in listed])
        for job in listed:
            if job.job_id not in told and job.creation_time and self.hook.service_time - job.creation_time < LOST:
                raise OmicsTransientError(f"{job} is listed, and not found by itself yet.")
        keys = {item.key for item in self.items}
        found = [job for job in told.values() if any(item.key in keys for item in job.items)]
        self.has_looked_for_jobs = True
        ended = [job for job in found if job.verdict() is not Verdict.WAITING]
        if self.is_cleared and not self.goal.is_looked_at and not unfinished(ended, keys):
            self.log.info("Everything was exported before this task was cleared; exporting it again")
            found = [job for job in found if job not in ended]
        for job in found:
            self.jobs.setdefault(job.job_id, job)
            self.log.info("%s has some of the %ss: %s", job, self.kind.item, job.in_words)

    def _ask_for_untold_jobs(self) -> None:
        """Ask for the jobs of which this process knows the id alone; forget those that AWS has forgotten."""
        untold = [job_id for job_id, job in self.jobs.items() if job is None]
        self.jobs.update(self.store.jobs(untold))
        for job_id in [job_id for job_id in untold if self.jobs[job_id] is None]:
            self._lose(job_id, f"{self.kind.name} {job_id} is not found.")
            if job_id in self.jobs:
                raise OmicsTransientError(f"{self.kind.name} {job_id} is not found now.")

    def _look(self, items: Iterable[Item], told: dict[ItemKey, list[Record]]) -> dict[str, Any]:
        """Return the read sets that matter: those found, and None for what AWS does not know."""
        found: dict[str, Any] = {}
        wanted = [name for item in items for name in self.goal.to_look_at(item, told.get(item.key, ()))]
        since = min((job.creation_time for job in self.jobs.values() if job and job.creation_time), default=None)
        # What an import makes is as young as its job. Of what was ACTIVATING, most is so still.
        youngest = {"createdAfter": since - timedelta(seconds=1)} if since and self.goal.do_jobs_vouch else {}
        filters: list[dict[str, Any]] = [youngest]
        if self._activating:
            filters.insert(0, {"status": "ACTIVATING"})
        try:
            self.store.look(wanted, found, filters)
            if found and not any(found.values()) and not self.goal.do_jobs_vouch:
                self.store.check_there()
        except OmicsCredentialsError:
            raise
        except OmicsRefusedError as error:
            if not (self.goal.do_jobs_vouch and self.is_first):  # which must not need a permission for that
                raise
            self.log.warning("%s So the jobs' word is taken.", error)
        return found

    # --- waiting

    def poll(self) -> None:
        """Ask for every running job that may have ended; a place that one leaves is filled at once."""
        self.check()
        self.trouble = None
        lost = list(self.lost)
        for job_id, answer in self.store.ended(self.running.difference(lost)):
            self._hear(job_id, answer)
        for job_id, answer in self.store.ask(lost):
            self._hear(job_id, answer)

    def _hear(self, job_id: str, answer: ReadSetJob | OmicsRequestError) -> None:
        if isinstance(answer, OmicsTransientError):
            self.trouble = answer
            self.log.warning(WAITED_OUT, answer)
        elif isinstance(answer, ReadSetJob):
            self.lost.pop(job_id, None)
            self.take(answer)
            self.start()
        else:
            self._lose(job_id, answer)

    def take(self, job: ReadSetJob) -> None:
        """Take notice of what AWS says of a running job."""
        self.jobs[job.job_id] = job
        if not job.is_status_known:
            self.log.warning(UNKNOWN_STATUS, job, job.status)
        if job.verdict() is not Verdict.WAITING:
            self.log.info("%s: %s, %s", job, job.status, job.progress)
            self.running.discard(job.job_id)
            self.ended[job.job_id] = max(job.completion_time or LONG_AGO, self.hook.service_time)
            self.is_current = False

    def _lose(self, job_id: str, error: OmicsRequestError | str) -> None:
        """Wait for a job that AWS does not find, and then no more: nobody documents how soon it can be found."""
        now = self.hook.service_time
        if now - self.lost.setdefault(job_id, now) < LOST:
            self.log.warning("%s It was started, so it is asked for again.", error)
            return
        self.log.error("%s It was not found for %s minutes.", error, LOST.total_seconds() / 60)
        self.running.discard(job_id)
        del self.jobs[job_id], self.lost[job_id]
        self.is_current = False

    def _state(self, item: Item) -> State | None:
        finding = self.findings.get(item.key)
        return finding.state if finding else None
