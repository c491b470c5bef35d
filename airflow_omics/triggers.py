"""
Waiting for read set jobs, and for read sets, in the triggerer.

Airflow imports this on the triggerer's event loop: no boto3 here.
"""

from __future__ import annotations

import asyncio
import json
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_omics import events
from airflow_omics.arguments import parse_id, parse_ids, parse_moment, parse_seconds
from airflow_omics.bounds import LONGEST_MESSAGE, shown, some
from airflow_omics.client_settings import check_connection
from airflow_omics.exceptions import WAITED_OUT, OmicsArgumentError, OmicsTransientError
from airflow_omics.jobs import UNKNOWN_STATUS, ReadSetJob, ReadSetJobKind, Verdict
from airflow_omics.read_sets import ReadSet
from airflow_omics.shared_poll import News, SharedPoll, Source, Wait

LINGER = 5.0
"""Seconds at most for which a trigger that waits for any job waits for more of them, to wake its task once."""

SETTLE = 10.0
"""
Seconds after deferring before which a task should not be woken: the scheduler may hear up to ``[workers]
min_heartbeat_interval`` (5 s) late that the deferring process has ended. It then finds the woken task queued, and fails
it; seen on Airflow 3.3.2, as for rescheduling.
"""

LEAVING = "Leaving the worker; the triggerer waits on, so `airflow triggerer` has to be running. Time left: %s"
"""What a task logs when it defers; with seconds, or words."""

NAMED = 5
"""How many jobs or read sets a line of the log names."""


class OmicsTrigger(BaseTrigger):
    """
    What all triggers share.

    All triggers with the same kind, store and connection share one client and a few calls a round, however many they
    are (:mod:`airflow_omics.shared_poll`). A trigger only asks, so it may run twice, or again elsewhere. Arguments that
    this version does not know are ignored, and one that is missing or wrong is told in the event.

    :param sequence_store_id: The sequence store: 10 to 36 digits.
    :param poll_interval: Seconds that a wait goes unasked at most; triggers that share a poll share the shortest.
    :param fire_after: When to fire at the earliest, in seconds since the epoch; at most :data:`SETTLE` from now.
    :param aws_conn_id: The Airflow connection used for AWS credentials. If None or empty, boto3's own.
    :param region_name: AWS region. If None, the connection's.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config.
    """

    own_arguments: ClassVar[tuple[str, ...]] = ()
    """The arguments that the others do not have."""

    def __init__(  # noqa: PLR0913 - keywords
        self,
        /,
        *,
        sequence_store_id: str | None = None,
        poll_interval: float = 60,
        fire_after: float = 0,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sequence_store_id = sequence_store_id
        self.poll_interval = poll_interval
        self.fire_after = fire_after
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.unknown = unknown

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made again of."""
        shared = ("poll_interval", "fire_after", "aws_conn_id", "region_name", "verify", "botocore_config")
        arguments = {name: getattr(self, name) for name in ("sequence_store_id", *self.own_arguments, *shared)}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, in the form of :mod:`airflow_omics.events`."""
        try:
            source, wait, seconds = self._parse()
        except OmicsArgumentError as error:
            yield TriggerEvent(events.failed(error))  # type: ignore[no-untyped-call]
            return
        if self.unknown:
            self.log.warning("Ignoring arguments that this version does not know: %s", shown(list(self.unknown)))
        self.log.info("Waiting for %s in the triggerer, asking every %s s", self._named, self.poll_interval)
        poll = SharedPoll.of(source)
        del source  # thousands may wait
        poll.join(wait)
        try:
            async with asyncio.timeout(seconds):
                event = await self._wait(wait)
        except TimeoutError:
            event = events.due()
        finally:
            poll.leave(wait)
        await asyncio.sleep(min(max(float(self.fire_after or 0) - time.time(), 0), SETTLE))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    @abstractmethod
    async def _wait(self, wait: Wait) -> dict[str, Any]:
        """Return the event, once what is waited for has come."""

    @abstractmethod
    def _parse(self) -> tuple[Source, Wait, float | None]:
        """Return what asks, for what, and after how many seconds to fire at the latest."""

    def _source(self, kind: ReadSetJobKind | None) -> Source:
        try:
            config = json.dumps(self.botocore_config or {}, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise OmicsArgumentError(f"An argument of {type(self).__name__} cannot be right: {error}") from error
        check_connection(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)
        parse_moment("fire_after", self.fire_after or 0)
        store = parse_id("sequence_store_id", self.sequence_store_id)
        return Source(kind, store, self.aws_conn_id, self.region_name, self.verify, config)

    def _take(self, wait: Wait) -> list[News]:
        """Return what is to be known, and log the rest."""
        left: list[News] = []
        remarks: list[str] = []
        for news in wait.take_news():
            if isinstance(news, str):
                remarks.append(news)
            elif isinstance(news, OmicsTransientError):
                self.log.warning(WAITED_OUT, news)
            elif not isinstance(news, Exception) and news.verdict() is Verdict.WAITING:
                self.log.warning(UNKNOWN_STATUS, news, news.status)
            else:
                left.append(news)
        if remarks:
            self.log.warning("%s", some(remarks, LONGEST_MESSAGE, "\n"))
        return left

    @property
    def _named(self) -> str:
        try:
            source, wait, _ = self._parse()
        except OmicsArgumentError as error:
            return str(error)
        more = len(wait.job_ids) - NAMED
        named = ", ".join(wait.job_ids[:NAMED]) + (f" and {more} more" if more > 0 else "")
        what = f"{source.kind.value} jobs" if source.kind else "read sets"
        return f"HealthOmics {what} {named} in sequence store {source.sequence_store_id}"


class OmicsReadSetJobTrigger(OmicsTrigger):
    """
    Wait until read set jobs of one kind and store are over, and tell how they ended.

    :param kind: ``export``, ``activation`` or ``import``.
    :param job_ids: The jobs: 10 to 36 digits each; may be empty with ``wake_at``.
    :param until: Fire when ``all`` of them are over, or when ``any`` is.
    :param wake_at: When to fire at the latest, in seconds since the epoch; None for no limit.

    The other parameters are those of :class:`OmicsTrigger`.
    """

    own_arguments = ("kind", "job_ids", "until", "wake_at")

    def __init__(
        self,
        /,
        *,
        kind: str | None = None,
        job_ids: Sequence[str] = (),
        until: str = "all",
        wake_at: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.kind = kind
        self.job_ids = job_ids
        self.until = until
        self.wake_at = wake_at

    async def on_kill(self) -> None:
        """Say what becomes of the jobs when a user fails, clears or marks the deferred task (Airflow 3.3)."""
        self.log.warning("%s: AWS cannot cancel them; what is not over goes on.", self._named)

    async def _wait(self, wait: Wait) -> dict[str, Any]:
        jobs: dict[str, ReadSetJob] = {}
        linger_until: float | None = None
        while len(jobs) < len(wait.job_ids) or not jobs:
            try:
                async with asyncio.timeout_at(linger_until):
                    await wait.listen()
            except TimeoutError:
                break
            for news in self._take(wait):
                if isinstance(news, ReadSetJob):
                    self.log.info("%s: %s, %s", news, news.status, news.progress)
                    jobs[news.job_id] = news
                elif isinstance(news, Exception):
                    return events.failed(news)
            if jobs and self.until == "any" and linger_until is None:
                linger_until = asyncio.get_running_loop().time() + min(LINGER, self.poll_interval / 4)
        return events.over(jobs.values())

    def _parse(self) -> tuple[Source, Wait, float | None]:
        try:
            kind = ReadSetJobKind.parse(self.kind)
        except ValueError as error:
            raise OmicsArgumentError(f"An argument of {type(self).__name__} cannot be right: {error}") from error
        source = self._source(kind)
        interval, seconds = parse_seconds("poll_interval", self.poll_interval), None
        if self.wake_at is not None:
            seconds = max(parse_moment("wake_at", self.wake_at) - time.time(), 0)
        if self.until not in ("all", "any"):
            raise OmicsArgumentError(f"until is {shown(self.until)}, expected 'all' or 'any'")
        ids = [] if seconds is not None and not self.job_ids else parse_ids("job_ids", self.job_ids)
        return source, Wait(list(dict.fromkeys(ids)), interval), seconds


class OmicsReadSetTrigger(OmicsTrigger):
    """
    Wait until read sets are ACTIVE, or one will not be; its task has to look itself how it is.

    :param read_set_ids: The read sets: 10 to 36 digits each.

    The other parameters are those of :class:`OmicsTrigger`.
    """

    own_arguments = ("read_set_ids",)

    def __init__(self, /, *, read_set_ids: Sequence[str] = (), **arguments: Any) -> None:
        super().__init__(**arguments)
        self.read_set_ids = read_set_ids

    async def _wait(self, wait: Wait) -> dict[str, Any]:
        active: set[str] = set()
        while len(active) < len(wait.job_ids):
            await wait.listen()
            for news in self._take(wait):
                if isinstance(news, Exception):
                    return events.failed(news)
                if isinstance(news, ReadSet):
                    self.log.info("%s is %s", news, news.status)
                    if news.verdict() is Verdict.FAILED:
                        return events.look()
                    active.add(news.id)
        return events.look()

    def _parse(self) -> tuple[Source, Wait, float | None]:
        ids = parse_ids("read_set_ids", self.read_set_ids)
        interval = parse_seconds("poll_interval", self.poll_interval)
        return self._source(None), Wait(list(dict.fromkeys(ids)), interval), None
