"""
What all triggers share.

Airflow imports this on the triggerer's event loop: no boto3 here.
"""

from __future__ import annotations

import asyncio
import json
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_omics._arguments import parse_moment, parse_seconds
from airflow_omics._aws.settings import check_connection
from airflow_omics._service.kind import Kind, Verdict, Work
from airflow_omics._service.limits import LONGEST_MESSAGE, shown, some
from airflow_omics._waiting import trigger_events
from airflow_omics._waiting.shared_connection import Connection
from airflow_omics._waiting.shared_poll import SharedPoll, Source, Wait
from airflow_omics.exceptions import UNKNOWN_STATUS, WAITED_OUT, OmicsArgumentError, OmicsTransientError

LINGER = 5.0
"""Seconds at most for which a trigger that waits for any work waits for more of it, to wake its task once."""

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

    All triggers with the same connection share one client, and those of the same kind and store a few calls a poll,
    however many they are (:mod:`airflow_omics._waiting.shared_poll`). A trigger only asks, so it may run twice, or
    again elsewhere. Arguments that this version does not know are ignored, and one that is missing or wrong is told in
    the event.

    :param until: Fire when ``all`` of it has ended, or when ``any`` has.
    :param wake_at: When to fire at the latest, in seconds since the epoch; None for no limit.
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
        until: str = "all",
        wake_at: float | None = None,
        poll_interval: float = 60,
        fire_after: float = 0,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until = until
        self.wake_at = wake_at
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
        arguments = {name: getattr(self, name) for name in (*self.own_arguments, "until", "wake_at", *shared)}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, in the form of :mod:`airflow_omics._waiting.trigger_events`."""
        try:
            source, wait, seconds = self._parse()
        except OmicsArgumentError as error:
            yield TriggerEvent(trigger_events.failed(error))  # type: ignore[no-untyped-call]
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
            event = trigger_events.due()
        finally:
            poll.leave(wait)
        await asyncio.sleep(min(max(float(self.fire_after or 0) - time.time(), 0), SETTLE))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self, wait: Wait) -> dict[str, Any]:
        """Return the event, once what is waited for has come."""
        ended: dict[str, Work] = {}
        linger_until: float | None = None
        while len(ended) < len(wait.ids) or not ended:
            try:
                async with asyncio.timeout_at(linger_until):
                    await wait.listen()
            except TimeoutError:
                break
            for news in self._take(wait):
                if isinstance(news, Exception):
                    return trigger_events.failed(news)
                self.log.info("%s: %s", news, news.in_words)
                ended[news.id] = news
                if news.kind.fails_at_once and news.verdict() is Verdict.FAILED:
                    return trigger_events.ended(ended.values())
            if ended and self.until == "any" and linger_until is None:
                linger_until = asyncio.get_running_loop().time() + min(LINGER, self.poll_interval / 4)
        return trigger_events.ended(ended.values())

    def _take(self, wait: Wait) -> list[Work | Exception]:
        """Return what ends a wait, or some of it, and log the rest."""
        left: list[Work | Exception] = []
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

    @abstractmethod
    def _parse_ids(self) -> tuple[Kind, str, list[str]]:
        """Return the kind, the store and the ids of what is waited for; none with ``wake_at``."""

    def _parse(self) -> tuple[Source, Wait, float | None]:
        """Return what asks, for what, and after how many seconds to fire at the latest."""
        kind, store, ids = self._parse_ids()
        try:
            config = json.dumps(self.botocore_config or {}, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise OmicsArgumentError(f"An argument of {type(self).__name__} cannot be right: {error}") from error
        check_connection(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)
        parse_moment("fire_after", self.fire_after or 0)
        interval, seconds = parse_seconds("poll_interval", self.poll_interval), None
        if self.wake_at is not None:
            seconds = max(parse_moment("wake_at", self.wake_at) - time.time(), 0)
        if self.until not in ("all", "any"):
            raise OmicsArgumentError(f"until is {shown(self.until)}, expected 'all' or 'any'")
        connection = Connection(self.aws_conn_id, self.region_name, self.verify, config)
        return Source(kind, store, connection), Wait(list(dict.fromkeys(ids)), interval), seconds

    @property
    def _named(self) -> str:
        try:
            kind, store, ids = self._parse_ids()
        except OmicsArgumentError as error:
            return str(error)
        if not ids:
            return f"the time to ask again about HealthOmics {kind.name}s in {kind.store.word} {store}"
        more = len(ids) - NAMED
        named = ", ".join(ids[:NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"HealthOmics {kind.name}s {named} in {kind.store.word} {store}"
