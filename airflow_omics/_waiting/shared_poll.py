"""
One poll for all on an event loop that waits for work of one kind, store and connection.

What waits joins; a poll then asks for all of it at once, from the thread and with the client of the connection. Nothing
of this blocks the loop: importing boto3, reading the connection, making the client and waiting for a turn to call
AWS (:mod:`airflow_omics._aws.rate_limit`) all happen in that thread. When the last wait leaves, the poll ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_omics._airflow import AirflowFailException
from airflow_omics._service.kind import Kind, Verdict, Work
from airflow_omics._service.limits import shown
from airflow_omics._waiting.schedule import Schedule
from airflow_omics._waiting.shared_connection import Connection, SharedConnection
from airflow_omics.exceptions import OmicsRequestError, OmicsTransientError

if TYPE_CHECKING:
    from airflow_omics._waiting.poll import Poll

log = logging.getLogger(__name__)

GATHER = 0.1
"""Seconds without another wait that joins, after which a poll begins: triggers are created in bursts."""

AGAIN = 1.0
"""Seconds after which what a poll could not settle is asked for again."""

LONGEST_GATHERING = 2.0
"""Seconds after which a poll begins although waits go on joining."""

News = Work | Exception | str
"""What AWS says, why it says nothing, or, as text, what the wait's log is to say."""

FAILED_POLLS = 3
"""How many polls in a row may fail for a reason that is not AWS's, before the waits fail for it."""


@dataclass(frozen=True)
class Source:
    """Where a wait's work is, and how AWS is asked for it; what equal ones share."""

    kind: Kind
    store_id: str
    connection: Connection


@dataclass(eq=False, slots=True)
class Wait:
    """What one trigger waits for. ``news`` gets what is to be known of it: an ending, once; errors."""

    ids: Sequence[str]
    interval: float
    news: list[News] = field(default_factory=list)
    _listener: asyncio.Future[None] | None = None

    def tell(self, news: News) -> None:
        """Put something to what is to be known."""
        self.news.append(news)
        if self._listener is not None and not self._listener.done():
            self._listener.set_result(None)

    def listen(self) -> asyncio.Future[None]:
        """Return what is done when there is something to be known. Thousands wait, so this is less than a queue."""
        self._listener = asyncio.get_running_loop().create_future()
        if self.news:
            self._listener.set_result(None)
        return self._listener

    def take_news(self) -> list[News]:
        """Return what is to be known, once."""
        news, self.news = self.news, []
        return news


class SharedPoll:
    """Asks for the work of all waits that have the same source; :meth:`of` gives the one of a source."""

    _polls: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Source, SharedPoll]]] = WeakKeyDictionary()

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._waits: set[Wait] = set()
        self._by_id: dict[str, set[Wait]] = {}
        self._intervals: Counter[float] = Counter()
        self._schedule = Schedule(self._loop.time)
        self._joined = asyncio.Event()
        self._outage: OmicsTransientError | None = None
        """Why AWS gives no answer now, for any wait."""
        self._failed_polls = 0
        self._connection = SharedConnection.of(source.connection)
        self._poll: Poll | None = None
        # In an empty context, so that what it logs does not go to the log of the task that happened to be first.
        self._task = self._loop.create_task(self._run(), context=contextvars.Context())

    @classmethod
    def of(cls, source: Source) -> SharedPoll:
        """Return the poll of a source on the running loop; :meth:`join` it at once."""
        polls = cls._polls.setdefault(asyncio.get_running_loop(), {})
        return polls.get(source) or polls.setdefault(source, cls(source))

    def join(self, wait: Wait) -> None:
        """Have a wait's work asked for until it leaves."""
        if wait.interval < self._interval:
            self._schedule.hurry(wait.interval)  # what is being asked for gets its time after the poll
        self._waits.add(wait)
        self._intervals[wait.interval] += 1
        for work_id in wait.ids:
            if work_id not in self._by_id and self._poll is not None:
                self._poll.forget(work_id)  # a poll may have not found it for somebody who left meanwhile
            self._by_id.setdefault(work_id, set()).add(wait)
            self._schedule.add(work_id)
        if self._outage:
            wait.tell(self._outage)
        self._joined.set()

    def leave(self, wait: Wait) -> None:
        """Ask no more for a wait; when the last one leaves, the poll ends."""
        self._waits.discard(wait)
        self._intervals -= Counter([wait.interval])
        for work_id in wait.ids:
            waits = self._by_id.get(work_id, set())
            waits.discard(wait)
            if not waits:
                self._forget(work_id)
        if not self._waits:
            self._retire()
            self._task.cancel()
            self._connection.release()

    def _forget(self, work_id: str) -> None:
        self._by_id.pop(work_id, None)
        self._schedule.remove(work_id)
        if self._poll is not None:
            self._poll.forget(work_id)

    def _retire(self) -> None:
        """Let no more waits join."""
        polls = self._polls[self._loop]
        if polls.get(self._source) is self:
            del polls[self._source]

    # --- on the event loop

    async def _run(self) -> None:
        try:
            while True:
                await self._gather()
                if ids := self._schedule.choose(self._interval):
                    await self._ask_for(ids)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._schedule.next()):
                        await self._joined.wait()
        except Exception as error:  # a bug; nobody may wait for ever because of it
            log.exception("The shared poll of %s ended", shown(self._source))
            self._retire()
            self._tell_all(error)

    async def _gather(self) -> None:
        deadline = self._loop.time() + LONGEST_GATHERING
        self._joined.set()
        while self._joined.is_set() and self._loop.time() < deadline:
            self._joined.clear()
            await asyncio.sleep(GATHER)
        self._joined.clear()

    async def _ask_for(self, ids: list[str]) -> None:
        # Not asyncio.to_thread: Airflow's look-up of a connection finds its way to this loop only with asgiref.
        ask = sync_to_async(self._ask, thread_sensitive=False, executor=self._connection.thread)  # type: ignore[call-overload]
        began = self._loop.time()
        self._schedule.begin(ids)
        try:
            left = await ask(ids, self._interval)
        except Exception as error:
            self._failed_polls += 1
            if isinstance(error, AirflowFailException) or self._failed_polls >= FAILED_POLLS:
                self._tell_all(error)
            else:
                log.warning("A poll of %s failed; the next comes.", shown(self._source), exc_info=True)
            left = []
        else:
            self._failed_polls = 0
        # A little earlier than must be, by chance, so that many polls spread.
        due = began + self._interval * random.uniform(0.9, 1.0)  # noqa: S311
        self._schedule.end(due, left, self._loop.time() + AGAIN)

    @property
    def _interval(self) -> float:
        return min(self._intervals, default=60.0)

    def _hear(self, work_id: str, answer: News) -> None:
        """Pass on what is known of some work."""
        is_waiting = isinstance(answer, str)
        if not isinstance(answer, Exception | str):
            is_waiting = answer.verdict() is Verdict.WAITING
            if is_waiting and answer.is_status_known:
                return
        for wait in self._by_id.get(work_id, ()):
            wait.tell(answer)
        if not is_waiting and not isinstance(answer, OmicsTransientError):
            self._forget(work_id)

    def _hear_of_outage(self, trouble: OmicsTransientError | None) -> None:
        """Tell everybody, once, when AWS begins to give no answer."""
        if trouble and not self._outage:
            self._tell_all(trouble)
        self._outage = trouble

    def _tell_all(self, error: Exception) -> None:
        for wait in self._waits:
            wait.tell(error)

    # --- in the thread

    def _ask(self, ids: list[str], seconds: float) -> list[str]:
        """
        Ask for work; return what was not settled: it took too long, or is not found yet.

        :param seconds: How long to ask one by one before the others' turn comes again.
        """
        if self._poll is None:
            from airflow_omics._waiting.poll import Poll  # noqa: PLC0415 - imports boto3, and this may be the loop

            self._poll = Poll(self._connection.hook, self._source.kind, self._source.store_id, log, is_patient=False)
        began = time.monotonic()
        surely_open = self._poll.find_open(ids)
        to_ask = [work_id for work_id in ids if work_id not in surely_open]
        seconds /= max(self._connection.users, 1)  # the thread is theirs, too; all may have left by now
        # When AWS throttles, Lists take long; they would be for nothing if no time were left for what they found.
        listed = time.monotonic()
        deadline = listed + max(seconds, listed - began)
        unasked, left = dict.fromkeys(to_ask), []
        missed: dict[str, OmicsTransientError] = {}
        is_answered = bool(surely_open)
        for work_id, answer in self._poll.ask(work_id for work_id in to_ask if work_id in self._by_id):
            if type(answer) is OmicsRequestError:
                raise answer  # no credentials, no region: it is so for all
            unasked.pop(work_id, None)
            if isinstance(answer, OmicsTransientError):
                missed[work_id] = answer
            else:
                is_answered = True
                missed.pop(work_id, None)
                self._loop.call_soon_threadsafe(self._hear, work_id, answer)
            if time.monotonic() > deadline:
                left = list(unasked)
                break
        left = [*left, *self._poll.not_found]
        # Of a poll for a few that just joined, nobody can say whether the others would be answered.
        self._tell_of_missed(missed, is_outage=not is_answered and len(ids) >= len(self._by_id))
        return left

    def _tell_of_missed(self, missed: dict[str, OmicsTransientError], *, is_outage: bool) -> None:
        """Tell of what AWS said nothing of: in an outage all waits, once; else those concerned."""
        outage = next(iter(missed.values()), None) if is_outage else None
        self._loop.call_soon_threadsafe(self._hear_of_outage, outage)
        for work_id, error in () if is_outage else missed.items():
            self._loop.call_soon_threadsafe(self._hear, work_id, error)
