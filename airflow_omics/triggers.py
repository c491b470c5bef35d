"""Waiting for read set jobs in the triggerer. Airflow imports this on the triggerer's event loop: no boto3 here."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_omics import events
from airflow_omics.arguments import parse_id, parse_ids, parse_moment, parse_seconds
from airflow_omics.bounds import shown
from airflow_omics.client_settings import check_connection
from airflow_omics.exceptions import WAITED_OUT, OmicsArgumentError, OmicsTransientError
from airflow_omics.jobs import UNKNOWN_STATUS, ReadSetJob, ReadSetJobKind, Verdict
from airflow_omics.shared_poll import SharedPoll, Source, Wait

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
"""How many jobs a line of the log names."""


class OmicsReadSetJobTrigger(BaseTrigger):
    """
    Wait until read set jobs of one kind and store are over, and tell how they ended.

    All triggers with the same kind, store and connection share one client and a few calls a round, however many they
    are (:mod:`airflow_omics.shared_poll`). A trigger only asks, so it may run twice, or again elsewhere. Arguments that
    this version does not know are ignored, and one that is missing or wrong is told in the event.

    :param kind: ``export``, ``activation`` or ``import``.
    :param sequence_store_id: The sequence store of the jobs: 10 to 36 digits.
    :param job_ids: The jobs: 10 to 36 digits each; may be empty with ``wake_at``.
    :param until: Fire when ``all`` of them are over, or when ``any`` is.
    :param poll_interval: Seconds that a wait goes unasked at most; triggers that share a poll share the shortest.
    :param wake_at: When to fire at the latest, in seconds since the epoch; None for no limit.
    :param fire_after: When to fire at the earliest, in seconds since the epoch; at most :data:`SETTLE` from now.
    :param aws_conn_id: The Airflow connection used for AWS credentials. If None or empty, boto3's own.
    :param region_name: AWS region. If None, the connection's.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config.
    """

    def __init__(  # noqa: PLR0913 - keywords
        self,
        /,
        *,
        kind: str | None = None,
        sequence_store_id: str | None = None,
        job_ids: Sequence[str] = (),
        until: str = "all",
        poll_interval: float = 60,
        wake_at: float | None = None,
        fire_after: float = 0,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.sequence_store_id = sequence_store_id
        self.job_ids = job_ids
        self.until = until
        self.poll_interval = poll_interval
        self.wake_at = wake_at
        self.fire_after = fire_after
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.unknown = unknown

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the trigger is made again of."""
        arguments = {
            "kind": self.kind,
            "sequence_store_id": self.sequence_store_id,
            "job_ids": self.job_ids,
            "until": self.until,
            "poll_interval": self.poll_interval,
            "wake_at": self.wake_at,
            "fire_after": self.fire_after,
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "botocore_config": self.botocore_config,
        }
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
        self.log.info("Waiting for %s in the triggerer, asking every %s s", self._jobs, self.poll_interval)
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

    async def on_kill(self) -> None:
        """Say what becomes of the jobs when a user fails, clears or marks the deferred task (Airflow 3.3)."""
        self.log.warning("%s: AWS cannot cancel them; what is not over goes on.", self._jobs)

    async def _wait(self, wait: Wait) -> dict[str, Any]:
        jobs: dict[str, ReadSetJob] = {}
        linger_until: float | None = None
        while len(jobs) < len(wait.job_ids) or not jobs:
            try:
                async with asyncio.timeout_at(linger_until):
                    await wait.listen()
            except TimeoutError:
                break
            for news in wait.take_news():
                if isinstance(news, ReadSetJob) and news.verdict() is Verdict.WAITING:
                    self.log.warning(UNKNOWN_STATUS, news, news.status)
                elif isinstance(news, ReadSetJob):
                    self.log.info("%s: %s, %s", news, news.status, news.progress)
                    jobs[news.job_id] = news
                elif isinstance(news, OmicsTransientError):
                    self.log.warning(WAITED_OUT, news)
                else:
                    return events.failed(news)
            if jobs and self.until == "any" and linger_until is None:
                linger_until = asyncio.get_running_loop().time() + min(LINGER, self.poll_interval / 4)
        return events.over(jobs.values())

    def _parse(self) -> tuple[Source, Wait, float | None]:
        try:
            kind = ReadSetJobKind.parse(self.kind)
            config = json.dumps(self.botocore_config or {}, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise OmicsArgumentError(f"An argument of {type(self).__name__} cannot be right: {error}") from error
        check_connection(self.aws_conn_id, self.region_name, self.verify, self.botocore_config)
        interval, seconds = parse_seconds("poll_interval", self.poll_interval), None
        parse_moment("fire_after", self.fire_after or 0)
        if self.wake_at is not None:
            seconds = max(parse_moment("wake_at", self.wake_at) - time.time(), 0)
        if self.until not in ("all", "any"):
            raise OmicsArgumentError(f"until is {shown(self.until)}, expected 'all' or 'any'")
        store = parse_id("sequence_store_id", self.sequence_store_id)
        ids = [] if seconds is not None and not self.job_ids else parse_ids("job_ids", self.job_ids)
        source = Source(kind, store, self.aws_conn_id, self.region_name, self.verify, config)
        return source, Wait(list(dict.fromkeys(ids)), interval), seconds

    @property
    def _jobs(self) -> str:
        try:
            source, wait, _ = self._parse()
        except OmicsArgumentError as error:
            return str(error)
        more = len(wait.job_ids) - NAMED
        named = ", ".join(wait.job_ids[:NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"HealthOmics {source.kind.value} jobs {named} in sequence store {source.sequence_store_id}"
