"""
One poll for all on an event loop that waits for jobs of a kind, or for read sets, of one store and connection.

What waits joins; a round then asks for all of it at once, from a thread of the poll's own, with one client. Nothing
of this blocks the loop: importing boto3, reading the connection, making the client and waiting for a turn to call
AWS (:mod:`airflow_omics._aws.rate_limit`) all happen in that thread. When the last wait leaves, the poll ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
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
from airflow_omics._service.jobs import ReadSetJob, ReadSetJobKind, Verdict
from airflow_omics._service.limits import shown
from airflow_omics._service.read_sets import ReadSet
from airflow_omics._waiting.daemon_thread import DaemonThread
from airflow_omics.exceptions import OmicsRequestError, OmicsTransientError

if TYPE_CHECKING:
    from airflow_omics._waiting.job_poll import JobPoll
    from airflow_omics._waiting.read_set_poll import ReadSetPoll

log = logging.getLogger(__name__)

GATHER = 0.1
"""Seconds without another wait that joins, after which a round begins: triggers are created in bursts."""

LONGEST_GATHERING = 2.0
"""Seconds after which a round begins although waits go on joining."""

FEW = 3
"""Up to how many waits that just joined are asked for without all the others."""

News = ReadSetJob | ReadSet | Exception | str
"""What AWS says, why it says nothing, or, as text, what the wait's log is to say."""
ROUNDS_LOST = 3
"""How many rounds in a row may fail for a reason that is not AWS's, before the waits fail for it."""


@dataclass(frozen=True)
class Source:
    """Where a wait's jobs or read sets are, and how AWS is asked for them; what equal ones share."""

    kind: ReadSetJobKind | None
    """None for read sets; what follows says "job" for either."""
    sequence_store_id: str
    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: str = field(repr=False)  # the log shows sources, and proxies may have passwords
    """JSON."""


@dataclass(eq=False, slots=True)
class Wait:
    """What one trigger waits for. ``news`` gets what is to be known of its jobs: an ending, once; errors."""

    job_ids: Sequence[str]
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
    """Asks for the jobs of all waits that have the same source; :meth:`of` gives the one of a source."""

    _polls: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Source, SharedPoll]]] = WeakKeyDictionary()

    def __init__(self, source: Source) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._waits: set[Wait] = set()
        self._by_job: dict[str, set[Wait]] = {}
        self._intervals: Counter[float] = Counter()
        self._due: dict[str, float] = {}
        """When each job is to be asked for; 0 for one that was never asked for."""
        self._joined = asyncio.Event()
        self._outage: OmicsTransientError | None = None
        """Why AWS gives no answer now, for any wait."""
        self._rounds_lost = 0
        self._thread = DaemonThread("airflow-omics-poll")
        self._job_poll: JobPoll | ReadSetPoll | None = None
        # In an empty context, so that what it logs does not go to the log of the task that happened to be first.
        self._task = self._loop.create_task(self._run(), context=contextvars.Context())

    @classmethod
    def of(cls, source: Source) -> SharedPoll:
        """Return the poll of a source on the running loop; :meth:`join` it at once."""
        polls = cls._polls.setdefault(asyncio.get_running_loop(), {})
        return polls.get(source) or polls.setdefault(source, cls(source))

    def join(self, wait: Wait) -> None:
        """Have a wait's jobs asked for until it leaves."""
        if wait.interval < self._interval:
            latest = self._loop.time() + wait.interval  # what is being asked for gets its time after the round
            self._due = {job_id: due if due == math.inf else min(due, latest) for job_id, due in self._due.items()}
        self._waits.add(wait)
        self._intervals[wait.interval] += 1
        for job_id in wait.job_ids:
            self._by_job.setdefault(job_id, set()).add(wait)
            self._due[job_id] = 0.0
        if self._outage:
            wait.tell(self._outage)
        self._joined.set()

    def leave(self, wait: Wait) -> None:
        """Ask no more for a wait; when the last one leaves, the poll ends."""
        self._waits.discard(wait)
        self._intervals -= Counter([wait.interval])
        for job_id in wait.job_ids:
            waits = self._by_job.get(job_id, set())
            waits.discard(wait)
            if not waits:
                self._forget(job_id)
        if not self._waits:
            self._retire()
            self._task.cancel()
            self._thread.submit(self._disconnect)
            self._thread.shutdown(wait=False)

    def _forget(self, job_id: str) -> None:
        self._by_job.pop(job_id, None)
        self._due.pop(job_id, None)

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
                if job_ids := self._choose():
                    await self._round(job_ids)
                next_due = min(self._due.values(), default=None)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(next_due):
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

    def _choose(self) -> list[str]:
        """
        Return what to ask for now: what just joined, or what is due; all, if that is more than a few.

        What is due soon is asked for as well, so that what joined at different times is asked for together.
        """
        now = self._loop.time()
        chosen = [job_id for job_id, due in self._due.items() if not due]
        if any(0 < due <= now for due in self._due.values()):
            soon = now + self._interval / 2
            chosen = [job_id for job_id, due in self._due.items() if due <= soon]
        return chosen if len(chosen) <= FEW else list(self._due)

    async def _round(self, job_ids: list[str]) -> None:
        # Not asyncio.to_thread: Airflow's look-up of a connection finds its way to this loop only with asgiref.
        ask = sync_to_async(self._ask, thread_sensitive=False, executor=self._thread)  # type: ignore[call-overload]
        began = self._loop.time()
        self._due.update(dict.fromkeys(job_ids, math.inf))
        try:
            left = await ask(job_ids, self._interval)
        except Exception as error:
            self._rounds_lost += 1
            if isinstance(error, AirflowFailException) or self._rounds_lost >= ROUNDS_LOST:
                self._tell_all(error)
            else:
                log.warning("A round of %s failed; the next comes.", shown(self._source), exc_info=True)
            left = []
        else:
            self._rounds_lost = 0
        # A little earlier than must be, by chance, so that many polls spread.
        due = began + self._interval * random.uniform(0.9, 1.0)  # noqa: S311
        # But for what joined meanwhile: it may not have been asked for since.
        asked = [job_id for job_id in job_ids if self._due.get(job_id) == math.inf]
        self._due.update(dict.fromkeys(asked, due))
        self._due.update(dict.fromkeys(self._due.keys() & left, began))

    @property
    def _interval(self) -> float:
        return min(self._intervals, default=60.0)

    def _hear(self, job_id: str, answer: News) -> None:
        """Pass on what a Get told of a job."""
        is_waiting = isinstance(answer, str)
        if isinstance(answer, ReadSetJob | ReadSet):
            is_waiting = answer.verdict() is Verdict.WAITING
            if is_waiting and answer.is_status_known:
                return
        for wait in self._by_job.get(job_id, ()):
            wait.tell(answer)
        if not is_waiting and not isinstance(answer, OmicsTransientError):
            self._forget(job_id)

    def _hear_of_outage(self, trouble: OmicsTransientError | None) -> None:
        """Tell everybody, once, when AWS begins to give no answer."""
        if trouble and not self._outage:
            self._tell_all(trouble)
        self._outage = trouble

    def _tell_all(self, error: Exception) -> None:
        for wait in self._waits:
            wait.tell(error)

    # --- in the thread

    def _ask(self, job_ids: list[str], seconds: float) -> list[str]:
        """
        Ask for jobs; return those that were not asked for, since it took too long.

        :param seconds: How long to ask for single jobs before the others' turn comes again.
        """
        self._job_poll = self._job_poll or self._connect()
        began = time.monotonic()
        surely_open = self._job_poll.find_open(job_ids)
        to_ask = [job_id for job_id in job_ids if job_id not in surely_open]
        # When AWS throttles, Lists take long; they would be for nothing if no time were left for what they found.
        listed = time.monotonic()
        deadline = listed + max(seconds, listed - began)
        unasked, left = dict.fromkeys(to_ask), []
        missed: dict[str, OmicsTransientError] = {}
        is_answered = bool(surely_open)
        for job_id, answer in self._job_poll.ask(job_id for job_id in to_ask if job_id in self._by_job):
            if type(answer) is OmicsRequestError:
                raise answer  # no credentials, no region: it is so for all
            unasked.pop(job_id, None)
            if isinstance(answer, OmicsTransientError):
                missed[job_id] = answer
            else:
                is_answered = True
                missed.pop(job_id, None)
                self._loop.call_soon_threadsafe(self._hear, job_id, answer)
            if time.monotonic() > deadline:
                left = list(unasked)
                break
        # Of a round for a few that just joined, nobody can say whether the others would be answered.
        self._tell_of_missed(missed, is_outage=not is_answered and len(job_ids) >= len(self._by_job))
        return left

    def _tell_of_missed(self, missed: dict[str, OmicsTransientError], *, is_outage: bool) -> None:
        """Tell of what AWS said nothing of: in an outage all waits, once; else those concerned."""
        outage = next(iter(missed.values()), None) if is_outage else None
        self._loop.call_soon_threadsafe(self._hear_of_outage, outage)
        for job_id, error in () if is_outage else missed.items():
            self._loop.call_soon_threadsafe(self._hear, job_id, error)

    def _connect(self) -> JobPoll | ReadSetPoll:
        # Imported here, since importing boto3 takes long, and triggers import this module on the event loop.
        from airflow_omics._waiting.read_set_poll import connect  # noqa: PLC0415

        return connect(self._source, log)

    def _disconnect(self) -> None:
        if self._job_poll is not None:
            self._job_poll.hook.disconnect()
