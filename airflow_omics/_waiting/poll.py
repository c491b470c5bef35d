"""Asking for much work of one kind and store with few calls: what sensors, operators and the triggerer share."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_omics._airflow import conf
from airflow_omics._service.kind import Kind, Verdict, Work
from airflow_omics._service.limits import LONGEST_MESSAGE, some
from airflow_omics._waiting.lists import list_wanted
from airflow_omics.exceptions import (
    UNKNOWN_STATUS,
    WAITED_OUT,
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRequestError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook

OUTAGE = 3
"""How many answers in a row, from the first, AWS must have kept back for a poll to be given up."""

SAMPLE = 3
"""How many that may have ended a sensor asks for, if others surely have not."""

REMIND_EVERY = 10
"""At every how many polls it is said again what may keep a wait from ending."""

NOT_FOUND_SECONDS = 5.0
"""
How long what AWS does not find is asked for again, before it counts as not found, unless ``[omics] not_found_seconds``
in Airflow's configuration says otherwise: whether a job can be found from the moment it is started is documented
nowhere.
"""

Answer = Work | OmicsRequestError | str
"""What is known of some work, why nothing is, or, as text, what is to be said about waiting for it."""


@dataclass
class _Pass:
    """How one pass over some work went: how much was asked for, what was kept back, and what was not found."""

    asked: int = 0
    missed: list[str] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)

    @property
    def is_outage(self) -> bool:
        """Whether AWS kept back all of the first answers."""
        return len(self.missed) == self.asked == OUTAGE


@dataclass
class Poll:
    """
    Asks for work, and remembers what it needs to ask with fewer calls the next time.

    :param log: Where warnings go: a logger, Airflow's or the standard library's.
    :param polls: How often it was asked before.
    :param waited: For how many seconds this wait has been asking in other processes. What is not found counts as not
        found all that time: what was there before was deleted.
    :param is_patient: Whether to wait a moment for what is not found; else who asks is to ask again.
    :param lost: Since when, by the service's clock, something is not found.
    """

    hook: OmicsHook
    kind: Kind
    store_id: str
    log: Any
    polls: int = 0
    waited: float = 0
    lost: dict[str, datetime] = field(default_factory=dict)
    is_patient: bool = True
    missed: dict[str, OmicsTransientError] = field(default_factory=dict)
    """What kept AWS from telling the last :meth:`get` of something."""
    gone: dict[str, OmicsNotFoundError] = field(default_factory=dict)
    """What the last :meth:`get` has not found for too long."""
    listed: dict[str, Any] = field(default_factory=dict)
    """What the last :meth:`find_open` found to have ended: work as a List tells of it."""
    _last: dict[str, str] = field(default_factory=dict)
    """The statuses that were told last."""
    _open: set[str] = field(default_factory=set)
    _not_found: dict[str, float] = field(default_factory=dict)
    """Since when something is not found, by this machine's clock, while it is asked for again."""

    def find_open(self, ids: Collection[str]) -> set[str]:
        """
        Return those of these that are surely waited for still, and need no Get now.

        Usually a few Lists tell it of all. If listing is refused or out of order, fewer or none are surely open: Get
        may work all the same.

        :raises airflow_omics.exceptions.OmicsCredentialsError: AWS does not accept the connection's credentials.
        """
        wanted, found = set(ids), set[str]()
        self._last = {work_id: status for work_id, status in self._last.items() if work_id in wanted}
        self.listed = {}
        try:
            for work in self._by_status(wanted) if self.kind.listed_statuses else self._by_page(wanted):
                self._last[work.id] = work.status
                self.forget(work.id)
                # Looked at, for a filter that is not applied must not keep what has ended waiting for ever.
                if work.is_status_known and work.verdict() is Verdict.WAITING:
                    found.add(work.id)
                elif not self.kind.listed_statuses:
                    self.listed[work.id] = work
        except OmicsCredentialsError:
            raise
        except OmicsRequestError as error:
            self.log.warning("%s Asking by itself for every %s that was not listed.", error, self.kind.name)
        self._open = found
        return found

    def _by_status(self, wanted: set[str]) -> Iterator[Work]:
        """List by status. What has ended is found by its absence: a Get then says how."""
        found: set[str] = set()
        for status in self.kind.listed_statuses:
            if sum(self._may_be(work_id, status) for work_id in wanted - found) <= self.kind.few:
                continue
            for page in self.hook.list_work(self.kind, self.store_id, status=status):
                listed = [work for work in page if work.id in wanted]
                yield from listed
                found.update(work.id for work in listed)
                if found >= wanted:
                    return  # the other pages have work that nobody here waits for

    def _may_be(self, work_id: str, status: str) -> bool:
        """Tell whether it can have this status now, by what it had last."""
        last = self._last.get(work_id)
        return last == status or (status not in self.kind.rare_statuses and last in (None, self.kind.initial_status))

    def _by_page(self, wanted: set[str]) -> Iterator[Work]:
        for page in list_wanted(self.hook, self.kind, self.store_id, wanted):
            yield from page

    def choose(self, ids: Iterable[str], surely_open: Collection[str]) -> list[str]:
        """
        Return those of these that a sensor asks for: all, or if it is clear that the wait goes on a few by chance.

        So one that does not exist is found before all the others have ended.
        """
        rest = [work_id for work_id in ids if work_id not in surely_open]
        if not surely_open or self.kind.fails_at_once:
            return rest
        return random.sample(rest, min(SAMPLE, len(rest)))

    def ask(self, ids: Iterable[str]) -> Iterator[tuple[str, Answer]]:
        """
        Yield what is known of each of these: from the last :meth:`find_open`, or else by a Get; or why nothing is.

        Throttling hits single calls, so those are made again as long as others succeed; else a long list would never
        be seen whole. In an outage the poll is given up soon. What AWS does not find may have been started a moment
        ago, so it is asked for again for a few seconds. At every tenth poll, the first is one, it also yields what may
        keep a wait from ending.

        :raises airflow_omics.exceptions.OmicsCredentialsError: AWS does not accept the connection's credentials.
        """
        is_time_to_remind = self.polls % REMIND_EVERY == 0
        self.polls += 1
        if is_time_to_remind:
            yield from self._reminders(self._open)
        while True:
            told = _Pass()
            yield from self._pass(ids, told, is_time_to_remind=is_time_to_remind)
            if told.is_outage:
                return
            ids = [*told.not_found, *(told.missed if len(told.missed) < told.asked else [])]
            if not ids or (told.not_found and not self.is_patient):
                return
            time.sleep(1 if told.not_found else 0)

    def _pass(self, ids: Iterable[str], told: _Pass, *, is_time_to_remind: bool) -> Iterator[tuple[str, Answer]]:
        """Ask once for each of these, but for an outage; yield all answers but that something is not found."""
        for work_id in ids:
            told.asked += 1
            answer = self.listed.get(work_id) or self._get(work_id)
            if isinstance(answer, OmicsNotFoundError) and self._may_come(work_id):
                told.not_found.append(work_id)
                continue
            if isinstance(answer, OmicsTransientError):
                told.missed.append(work_id)
            if is_time_to_remind:
                yield from self._reminders([work_id])
            yield work_id, answer
            if told.is_outage:
                return

    def _may_come(self, work_id: str) -> bool:
        """Tell whether what is not found may be found in a moment."""
        patience, now = 0.0, time.monotonic()
        # What other processes found may not be found once; what this one has not found for long is gone.
        if not self.kind.patience or (self.waited and self.is_patient):
            patience = conf.getfloat("omics", "not_found_seconds", fallback=NOT_FOUND_SECONDS)
        if now - self._not_found.setdefault(work_id, now) < patience:
            return True
        self.forget(work_id)
        return False

    def forget(self, work_id: str) -> None:
        """Forget for how long something was not found: who waits for it later begins anew."""
        self.lost.pop(work_id, None)
        self._not_found.pop(work_id, None)

    @property
    def not_found(self) -> list[str]:
        """What the last :meth:`ask` did not find, and is to be asked for again soon."""
        return list(self._not_found)

    def _get(self, work_id: str) -> Answer:
        try:
            work: Work = self.hook.get_work(self.kind, self.store_id, work_id)
        except OmicsCredentialsError:
            raise
        except OmicsNotFoundError as error:
            return self._lose(work_id, error)
        except OmicsRequestError as error:
            return error
        self.forget(work_id)
        self._last[work_id] = work.status
        return work

    def _lose(self, work_id: str, error: OmicsNotFoundError) -> Answer:
        """Return why something is not found, or that it is waited for, if its kind is."""
        patience, now = timedelta(seconds=self.kind.patience), self.hook.service_time
        since = self.lost.setdefault(work_id, now - timedelta(seconds=self.waited))
        if not patience:
            return error
        minutes = f"not found for {self.kind.patience / 60:.0f} minutes."
        if now - since < patience:
            return f"{error} It is asked for until it was {minutes}"
        gone = OmicsNotFoundError(f"{error} It was {minutes}")
        gone.__cause__ = error.__cause__
        return gone

    def _reminders(self, ids: Iterable[str]) -> Iterator[tuple[str, str]]:
        for work_id in ids:
            status = self._last.get(work_id, "")
            if said := self.kind.reminders.get(status):
                yield work_id, f"{self.kind.describe(self.store_id, work_id)} is {status}. {said}"

    def get(self, ids: Iterable[str], *, is_in_full: bool = False) -> Iterator[Any]:
        """
        Yield what is known of each of these; one that AWS could not say anything of now is left out, and logged.

        :param is_in_full: Whether what a List told is not enough.
        :raises airflow_omics.exceptions.OmicsRequestError: A call failed in a way that does not pass by itself.
        """
        if is_in_full:
            self.listed = {}
        self.missed, self.gone = {}, {}
        remarks: list[str] = []
        for work_id, answer in self.ask(ids):
            self.missed.pop(work_id, None)
            if isinstance(answer, str):
                remarks.append(answer)
            elif isinstance(answer, OmicsTransientError):
                self.missed[work_id] = answer
                self.log.warning(WAITED_OUT, answer)
            elif isinstance(answer, OmicsNotFoundError):
                self.gone[work_id] = answer
            elif isinstance(answer, OmicsRequestError):
                raise answer
            else:
                if not answer.is_status_known:
                    self.log.warning(UNKNOWN_STATUS, answer, answer.status)
                yield answer
        if remarks:
            self.log.warning("%s", some(remarks, LONGEST_MESSAGE, "\n"))

    @property
    def trouble(self) -> OmicsTransientError | None:
        """What kept AWS from telling the last :meth:`get` of all."""
        return next(iter(self.missed.values()), None)
