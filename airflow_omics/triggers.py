"""
Waiting for read set jobs, and for read sets, in the triggerer.

Airflow imports this on the triggerer's event loop: no boto3 here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from airflow_omics._arguments import parse_ids, parse_moment, parse_seconds
from airflow_omics._service.jobs import ReadSetJob, ReadSetJobKind, Verdict
from airflow_omics._service.limits import shown
from airflow_omics._service.read_sets import ReadSet
from airflow_omics._waiting import trigger_events
from airflow_omics._waiting.base_trigger import OmicsTrigger
from airflow_omics._waiting.shared_poll import Source, Wait
from airflow_omics.exceptions import OmicsArgumentError

LINGER = 5.0
"""Seconds at most for which a trigger that waits for any job waits for more of them, to wake its task once."""


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
                    return trigger_events.failed(news)
            if jobs and self.until == "any" and linger_until is None:
                linger_until = asyncio.get_running_loop().time() + min(LINGER, self.poll_interval / 4)
        return trigger_events.over(jobs.values())

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
                    return trigger_events.failed(news)
                if isinstance(news, ReadSet):
                    self.log.info("%s is %s", news, news.status)
                    if news.verdict() is Verdict.FAILED:
                        return trigger_events.look()
                    active.add(news.id)
        return trigger_events.look()

    def _parse(self) -> tuple[Source, Wait, float | None]:
        ids = parse_ids("read_set_ids", self.read_set_ids)
        interval = parse_seconds("poll_interval", self.poll_interval)
        return self._source(None), Wait(list(dict.fromkeys(ids)), interval), None
