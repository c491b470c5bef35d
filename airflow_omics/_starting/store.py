"""What an operator asks AWS about its store, while it checks whether its time is up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.kind import Kind
from airflow_omics._waiting.lists import list_wanted
from airflow_omics._waiting.poll import Poll
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
    A store, the jobs of one kind in it, and what they work on.

    :param check: Called before every call of AWS; raises if the task is to end now.
    """

    hook: OmicsHook
    kind: Kind
    id: str
    log: Any
    check: Callable[[], None]

    def __post_init__(self) -> None:
        self._poll = Poll(self.hook, self.kind, self.id, self.log)
        self._item = self.kind.works_on or self.kind

    @property
    def name(self) -> str:
        """The store, as a message names it."""
        return f"{self.kind.store.word} {self.id}"

    def list_jobs(self, statuses: Iterable[str | None], created_after: datetime | None) -> Iterator[ReadSetJob]:
        """Yield the jobs that have one of these statuses, without details; none if AWS does not allow to list them."""
        try:
            for status in statuses:
                for page in self.hook.list_work(self.kind, self.id, status=status, createdAfter=created_after):
                    self.check()
                    yield from page
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
            if isinstance(answer, ReadSetJob | OmicsTransientError | OmicsNotFoundError):
                yield job_id, answer
            elif isinstance(answer, Exception):
                raise answer
            self.check()

    def look(self, ids: Iterable[str], known: dict[str, Any], filters: Iterable[Mapping[str, Any]]) -> None:
        """
        Ask for items: few one by one; more by Lists of as many pages as there are unknown ones.

        :param known: Takes what is found, by id; None for one that AWS does not know.
        :param filters: The List's filters to list with, in this order.
        """
        unknown = dict.fromkeys(each for each in ids if each not in known)
        try:
            for criteria in filters:
                for page in list_wanted(self.hook, self._item, self.id, unknown, **criteria):
                    known.update((item.id, item) for item in page)
                    self.check()
                unknown = dict.fromkeys(each for each in unknown if each not in known)
        except (OmicsCredentialsError, OmicsNotFoundError):
            raise
        except OmicsRefusedError as error:
            self.log.warning("%s Asking for every %s by itself.", error, self._item.name)
            unknown = dict.fromkeys(each for each in unknown if each not in known)
        while unknown:
            missed = self._get_items(unknown, known)
            if missed and len(missed) == len(unknown):
                raise next(iter(missed.values()))
            unknown = dict.fromkeys(missed)

    def _get_items(self, ids: Iterable[str], known: dict[str, Any]) -> dict[str, OmicsTransientError]:
        """Ask for each item; return what kept AWS from telling of some."""
        missed: dict[str, OmicsTransientError] = {}
        for item_id in ids:
            self.check()
            try:
                known[item_id] = self.hook.get_work(self._item, self.id, item_id)
            except OmicsNotFoundError as error:
                self.log.warning("%s", error)
                known[item_id] = None
            except OmicsTransientError as error:
                missed[item_id] = error
        return missed

    def check_there(self) -> None:
        """
        Ask whether the store is there; AWS says of an item alone whether it or the store is not found.

        :raises OmicsNotFoundError: It is not.
        """
        try:
            next(self.hook.list_work(self._item, self.id), None)
        except (OmicsCredentialsError, OmicsNotFoundError):
            raise
        except OmicsRefusedError as error:
            self.log.warning("%s So nobody knows whether the %s is there.", error, self.kind.store.word)
