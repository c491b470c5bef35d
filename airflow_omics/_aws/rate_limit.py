"""
Keeping this process under the rate that the service allows.

That is 5 calls a second of each operation, for an account and region (user guide, "Service quotas").

Every HTTP request counts, botocore's own retries too, so it is requests that get their turns, and not calls.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_omics._airflow import conf
from airflow_omics._aws.errors import is_throttling
from airflow_omics.exceptions import OmicsArgumentError

if TYPE_CHECKING:
    from botocore.client import BaseClient

CALLS_PER_SECOND = 4.0
"""How often one process calls an operation, unless ``[omics] calls_per_second`` in Airflow's configuration says
otherwise."""

_SLOWER, _FASTER, _SLOWEST = 1.5, 0.8, 4.0


@dataclass
class _Turns:
    """Turns, evenly spaced. They get rarer for a while after the service said that there are too many."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    last: float = 0.0
    slowness: float = 1.0

    def wait(self, rate: float) -> None:
        with self.lock:
            now = time.monotonic()
            self.last = turn = max(now, self.last + self.slowness / rate)
        time.sleep(turn - now)

    def learn(self, was_throttled: bool) -> None:
        with self.lock:
            self.slowness = min(max(self.slowness * (_SLOWER if was_throttled else _FASTER), 1.0), _SLOWEST)


_turns: defaultdict[tuple[str | None, str, str], _Turns] = defaultdict(_Turns)


def limit_rate(client: BaseClient, aws_conn_id: str | None) -> None:
    """
    Make every request of a client wait for its turn among those of this process that the same quota counts.

    A quota is an account's, for a region and an operation; the connection stands for the account, the endpoint for the
    region. When other processes use the quota too and the service throttles, the turns get up to four times as rare,
    until calls succeed again.
    """
    endpoint = client.meta.endpoint_url

    def wait(operation_name: str, **_: Any) -> None:
        rate = conf.getfloat("omics", "calls_per_second", fallback=CALLS_PER_SECOND)
        if not rate > 0:
            raise OmicsArgumentError(f"[omics] calls_per_second is {rate} in Airflow's configuration, expected above 0")
        _turns[aws_conn_id, endpoint, operation_name].wait(rate)

    def learn(event_name: str, parsed_response: Any, **_: Any) -> None:
        if isinstance(parsed_response, dict):
            operation_name = event_name.rpartition(".")[2]
            _turns[aws_conn_id, endpoint, operation_name].learn(is_throttling(parsed_response))

    client.meta.events.register_first("request-created.omics", wait)  # before it is signed, for signatures age
    client.meta.events.register("response-received.omics", learn)
