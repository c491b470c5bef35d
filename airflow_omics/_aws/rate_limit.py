"""
Keeping this process under the rate that the service allows: 5 calls a second of each operation (user guide, quotas).

Every HTTP request counts, botocore's own retries too, so it is requests that get their turns, and not calls.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_omics._airflow import conf
from airflow_omics._aws.errors import is_throttling
from airflow_omics.exceptions import OmicsArgumentError

if TYPE_CHECKING:
    from botocore.client import BaseClient

CALLS_PER_SECOND = 4.0
"""How often one process starts a job of a kind, and how often it asks about those, unless ``[omics]
calls_per_second`` in Airflow's configuration says otherwise."""

_MARGIN = 1.02  # so that no second has one call too many
_SLOWER, _FASTER, _SLOWEST = 1.5, 0.8, 4.0


@dataclass
class _Turns:
    """
    Turns, of which any second has no more than the rate; a few come at once after a pause.

    They get rarer for a while after the service said that there are too many.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    last: deque[float] = field(default_factory=deque)
    slowness: float = 1.0

    def wait(self, rate: float) -> None:
        at_once = max(int(rate), 1)
        with self.lock:
            now = turn = time.monotonic()
            while len(self.last) >= at_once:
                turn = max(now, self.last.popleft() + _MARGIN * self.slowness * at_once / rate)
            self.last.append(turn)
        time.sleep(turn - now)

    def learn(self, was_throttled: bool) -> None:
        with self.lock:
            self.slowness = min(max(self.slowness * (_SLOWER if was_throttled else _FASTER), 1.0), _SLOWEST)


_turns: defaultdict[tuple[str, str], _Turns] = defaultdict(_Turns)


def keep_pace(client: BaseClient) -> None:
    """
    Make every request of a client wait for its turn among those of all clients of this process.

    Requests that start jobs of a kind have turns of their own, and so have those that ask about such jobs (Get and
    List together), at each endpoint. When other processes use the quota too and the service throttles, the turns
    get up to four times as rare, until calls succeed again.
    """
    endpoint = client.meta.endpoint_url

    def wait(operation_name: str, **_: Any) -> None:
        rate = conf.getfloat("omics", "calls_per_second", fallback=CALLS_PER_SECOND)
        if not rate > 0:
            raise OmicsArgumentError(f"[omics] calls_per_second is {rate} in Airflow's configuration, expected above 0")
        _turns[endpoint, _purpose(operation_name)].wait(rate)

    def learn(event_name: str, parsed_response: Any, **_: Any) -> None:
        if isinstance(parsed_response, dict):
            operation_name = event_name.rpartition(".")[2]
            _turns[endpoint, _purpose(operation_name)].learn(is_throttling(parsed_response))

    client.meta.events.register_first("request-created.omics", wait)  # before it is signed, for signatures age
    client.meta.events.register("response-received.omics", learn)


def _purpose(operation: str) -> str:
    """Name the quota, or the quotas, that a call counts towards."""
    return (
        operation if operation.startswith("Start") else operation.removeprefix("Get").removeprefix("List").rstrip("s")
    )
