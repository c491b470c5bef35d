"""What an operator asks AWS about its sequence store, while it looks whether its time is up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_omics._service.jobs import ReadSetJob, ReadSetJobKind
from airflow_omics._service.read_sets import ReadSet
from airflow_omics._waiting.job_poll import JobPoll
from airflow_omics._waiting.read_set_poll import list_wanted
from airflow_omics.exceptions import (
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook


@dataclass
class Store:
    """
    A sequence store, and the jobs of one kind in it.

    :param check: Called before every call of AWS; raises if the task is to end now.
    """

    hook: OmicsHook
    kind: ReadSetJobKind
    id: str
    log: Any
    check: Callable[[], None]

    def __post_init__(self) -> None:
        self._poll = JobPoll(self.hook, self.kind, self.id, self.log)

    def list_jobs(self, statuses: Iterable[str | None], created_after: datetime | None) -> Iterator[ReadSetJob]:
        """Yield the jobs that have one of these statuses, without details; none if AWS does not allow to list them."""
        try:
            for status in statuses:
                for job in self.hook.list_read_set_jobs(self.kind, self.id, status, created_after):
                    self.check()
                    yield job
        except (OmicsCredentialsError, OmicsNotFoundError):
            raise
        except OmicsRefusedError as error:
            self.log.warning("%s So jobs of earlier attempts are only found by their client tokens.", error)

    def jobs(self, job_ids: Iterable[str]) -> dict[str, ReadSetJob]:
        """
        Return these jobs, without those that AWS does not know.

        :raises OmicsTransientError: Something keeps AWS from telling now.
        """
        told: dict[str, ReadSetJob] = {}
        missed: dict[str, OmicsTransientError] = {}
        for job_id, answer in self.ask(job_ids):
            missed.pop(job_id, None)
            if isinstance(answer, OmicsTransientError):
                missed[job_id] = answer
            elif isinstance(answer, ReadSetJob):
                told[job_id] = answer
        for error in missed.values():
            raise error
        return told

    def ended(self, job_ids: Collection[str]) -> Iterator[tuple[str, ReadSetJob | OmicsRequestError]]:
        """Yield what AWS says of those of these jobs that are not surely running; else as :meth:`ask`."""
        surely_open = self._poll.find_open(job_ids)
        yield from self.ask(job_id for job_id in job_ids if job_id not in surely_open)

    def ask(self, job_ids: Iterable[str]) -> Iterator[tuple[str, ReadSetJob | OmicsRequestError]]:
        """Yield what AWS says of each job: the job, or an error that passes, or that there is none; raise others."""
        self.check()
        for job_id, answer in self._poll.ask(job_ids):
            if not isinstance(answer, ReadSetJob | OmicsTransientError | OmicsNotFoundError):
                raise answer
            yield job_id, answer
            self.check()

    def look(
        self, read_set_ids: Iterable[str], known: dict[str, ReadSet | None], filters: Iterable[Mapping[str, Any]]
    ) -> None:
        """
        Ask for read sets: few one by one; more by Lists of as many pages as there are unknown ones.

        :param known: Takes what is found, by id; None for one that AWS does not know.
        :param filters: ListReadSets' filters to list with, in this order.
        """
        unknown = dict.fromkeys(each for each in read_set_ids if each not in known)
        for criteria in filters:
            for page in list_wanted(self.hook, self.id, unknown, self.log, **criteria):
                known.update((read_set.id, read_set) for read_set in page)
                self.check()
            unknown = dict.fromkeys(each for each in unknown if each not in known)
        while unknown:
            missed = self._get_read_sets(unknown, known)
            if missed and len(missed) == len(unknown):
                raise next(iter(missed.values()))
            unknown = dict.fromkeys(missed)

    def _get_read_sets(
        self, read_set_ids: Iterable[str], known: dict[str, ReadSet | None]
    ) -> dict[str, OmicsTransientError]:
        """Ask for each read set; return what kept AWS from telling of some."""
        missed: dict[str, OmicsTransientError] = {}
        for read_set_id in read_set_ids:
            self.check()
            try:
                known[read_set_id] = self.hook.get_read_set(self.id, read_set_id)
            except OmicsNotFoundError as error:
                self.log.warning("%s", error)
                known[read_set_id] = None
            except OmicsTransientError as error:
                missed[read_set_id] = error
        return missed

    def check_there(self) -> None:
        """
        Ask whether the store is there; AWS says of a read set alone whether it or the store is not found.

        :raises OmicsNotFoundError: It is not.
        """
        try:
            next(self.hook.list_read_sets(self.id), None)
        except (OmicsCredentialsError, OmicsNotFoundError):
            raise
        except OmicsRefusedError as error:
            self.log.warning("%s So nobody knows whether the sequence store is there.", error)
