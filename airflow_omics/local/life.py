"""How a job gets on with time. What it does to its items is the :class:`Work` of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from airflow_omics.jobs import JobStatus
from airflow_omics.local.state import Item, Job, State

SUBMITTED_SHARE = 0.1
"""The share of a job's time that it stays SUBMITTED, and that a cancelled one stays CANCELLING."""

DONE = "The source was processed successfully."
LONGEST_MESSAGE = 127
"""Characters that an item's message has at most (service model: ``JobStatusMessage``)."""


class ItemFailedError(Exception):
    """An item of a job could not be processed; the message is the item's."""


class Work:
    """What jobs of a kind do to their items; each kind has one that says :meth:`do`, and what else differs."""

    def __init__(self, state: State) -> None:
        self._state = state

    def is_to_fail(self, item: Item) -> bool:
        """Tell whether somebody asked for this item to fail."""
        return not item.names.isdisjoint(self._state.failing)

    def needless(self, job: Job, item: Item) -> str | None:  # noqa: ARG002
        """Return the message of an item that takes this job no time, since others are at its work; else None."""
        return None

    def begin(self, job: Job, item: Item) -> None:
        """Begin with an item."""

    def abandon(self, job: Job, item: Item) -> None:
        """Take back what was begun with an item, and nothing that another job began."""

    def finish(self, job: Job, item: Item) -> str:
        """
        Do an item's work, and return its message.

        :raises ItemFailedError: It could not be done.
        """
        for name in item.names & self._state.failing.keys():
            self.abandon(job, item)
            raise ItemFailedError(self._state.failing[name])
        return self.do(job, item)

    def do(self, job: Job, item: Item) -> str:
        """Do an item's work when nobody asked for its failure; see :meth:`finish`."""
        raise NotImplementedError


class Life:
    """A job's way from SUBMITTED to its end; its steps yield when the next one is due."""

    def __init__(self, job: Job, work: Work) -> None:
        self._job = job
        self._work = work

    def steps(self) -> Iterator[datetime]:
        """Go through the job, item by item."""
        job = self._job
        now = job.creation_time
        yield now
        ahead = [item for item in job.items if not self._is_settled(item)]
        working_time = (1 - SUBMITTED_SHARE) * job.seconds
        if ahead:
            now = self._after(job.seconds - working_time)
            yield now
        worked = 0
        for item in ahead:
            if job.cancel_time is not None:
                return
            job.become(JobStatus.IN_PROGRESS, "The job is currently in progress.")
            if self._is_settled(item):
                continue
            worked += 1
            now = self._after(job.seconds - working_time * (1 - worked / len(ahead)))
            item.status, item.message = "IN_PROGRESS", "The source job is currently in progress."
            self._work.begin(job, item)
            yield now
            if job.cancel_time is not None:
                return
            self._finish(item)
        self._end_by_items(now)

    def cancellation(self, now: datetime) -> Iterator[datetime]:
        """Cancel the job: items not processed by now never will be."""
        job = self._job
        job.become(JobStatus.CANCELLING, "The job is being cancelled.")
        job.cancel_time = now
        end = now + timedelta(seconds=SUBMITTED_SHARE * job.seconds)
        yield end
        for item in job.items:
            if item.status == "IN_PROGRESS":
                self._work.abandon(job, item)
        job.become(JobStatus.CANCELLED, "The job was cancelled.", end)

    def _is_settled(self, item: Item) -> bool:
        """Finish an item at once if it takes this job no time, and tell whether it is so."""
        message = self._work.needless(self._job, item)
        if message is not None:
            item.status, item.message = "FINISHED", message
        return message is not None

    def _finish(self, item: Item) -> None:
        try:
            item.message = self._work.finish(self._job, item)
            item.status = "FINISHED"
        except ItemFailedError as error:
            item.message, item.status = str(error)[:LONGEST_MESSAGE], "FAILED"

    def _after(self, seconds: float) -> datetime:
        return self._job.creation_time + timedelta(seconds=seconds)

    def _end_by_items(self, when: datetime) -> None:
        job = self._job
        failures = sum(item.status == "FAILED" for item in job.items)
        if not failures:
            job.become(JobStatus.COMPLETED, "The job completed successfully.", when)
        elif failures < len(job.items):
            job.become(JobStatus.COMPLETED_WITH_FAILURES, "The job completed with some failures.", when)
        else:
            job.become(JobStatus.FAILED, "The job failed.", when)
