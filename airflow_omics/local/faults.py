"""Faults on demand: what should go wrong, with which operation, how often."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from airflow_omics.local.wire import error_codes, service_model

ACTIONS = ("reset", "hang", "garbage")


@dataclass
class Fault:
    """
    Something that goes wrong; exactly one of ``error``, ``action``, ``response`` and ``delay`` says what.

    :param operation: The operation concerned, such as ``GetReadSetExportJob``; None for all.
    :param error: The code to answer with, such as ``ThrottlingException``: an error of the service model, or with
        ``http_status`` any other, such as ``ExpiredTokenException``.
    :param http_status: The HTTP status of an error that the service model does not have, or of garbage (then 200).
    :param message: The error's message.
    :param action: ``reset`` the connection, ``hang`` until the client gives up, or answer ``garbage`` that is no JSON.
    :param body: The garbage; sent in Latin-1, so that it need not be UTF-8.
    :param response: Members of the response to replace, in their wire form, such as ``{"status": "PAUSED"}``; None
        takes a member away.
    :param delay: Seconds to wait before the right answer.
    :param times: How often; None for always.
    :param rate: The probability, from 0 to 1, that a call is hit.
    :param access_key: Hit only requests signed with this access key id.
    :param path_contains: Hit only requests whose path contains this text, such as a job's id.
    """

    operation: str | None = None
    error: str | None = None
    http_status: int | None = None
    message: str = "A fault asked for"
    action: str | None = None
    body: str = "<html><body>Bad gateway</body></html>"
    response: dict[str, Any] | None = None
    delay: float | None = None
    times: int | None = None
    rate: float = 1.0
    access_key: str | None = None
    path_contains: str = ""

    def __post_init__(self) -> None:
        if self.operation is not None and self.operation not in service_model().operation_names:
            raise ValueError(f"HealthOmics has no operation {self.operation!r}")
        if sum(each is not None for each in (self.error, self.action, self.response, self.delay)) != 1:
            raise ValueError("A fault takes exactly one of error, action, response and delay")
        if self.error is not None and self.error not in error_codes() and self.http_status is None:
            raise ValueError(f"HealthOmics has no error {self.error!r}; expected one it has, or http_status as well")
        if self.action is not None and self.action not in ACTIONS:
            raise ValueError(f"action is {self.action!r}, expected one of {', '.join(ACTIONS)}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is {self.times!r}, expected a number of calls, or None for always")
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate is {self.rate!r}, expected a probability from 0 to 1")


class Faults:
    """The faults in force; the oldest that matches a call hits it."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._faults.append(fault)

    def clear(self) -> None:
        """Take all faults away."""
        self._faults.clear()

    def take(self, operation: str, access_key: str | None, path: str) -> Fault | None:
        """Return the fault that hits this call, and count it."""
        for fault in self._faults:
            if fault.operation not in (None, operation) or fault.access_key not in (None, access_key):
                continue
            if fault.path_contains not in path:
                continue
            if self._random.random() >= fault.rate:
                continue
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._faults.remove(fault)
            return fault
        return None
