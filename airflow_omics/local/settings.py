"""What of local HealthOmics can be set."""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, field, fields
from typing import Any

from airflow_omics._service.kinds import JOB_KINDS

CHANGED_REQUESTS = ("refuse", "old job", "new job")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value >= 0


def _is_limit(value: object) -> bool:
    return value is None or _is_number(value)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _are_accounts(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(text, str) and re.fullmatch(pattern, text)
        for key, account in value.items()
        for text, pattern in ((key, "[^/]+"), (account, "[0-9]{12}"))
    )


# What a setting takes, in words and as a function.
_NUMBER = {"expected": "a number from 0", "fits": _is_number}
_LIMIT = {"expected": "a number from 0 or None", "fits": _is_limit}
_LIMIT_BY_KIND = {**_LIMIT, "by_kind": True}
_SWITCH = {"expected": "True or False", "fits": _is_switch}
_CHANGED_REQUEST = {"expected": f"one of {', '.join(CHANGED_REQUESTS)}", "fits": CHANGED_REQUESTS.__contains__}
_ACCOUNTS = {"expected": "a dictionary from access key ids to accounts of 12 digits", "fits": _are_accounts}


@dataclass
class Settings:
    """
    How the service behaves; every limit is the real service's default, and None switches it off.

    :param job_seconds: How long a job takes, whatever its size.
    :param max_read_sets: Read sets or references per job, by kind (``export``, ``activation``, ``import``,
        ``reference import``); more are answered with ValidationException.
    :param max_concurrent_jobs: Jobs that are not over, by kind; one more is answered with
        ServiceQuotaExceededException.
    :param max_reference_stores: Reference stores per account and region; one more is answered with
        ServiceQuotaExceededException.
    :param calls_per_second: Calls within any second, for each of the operations that the service limits; more are
        answered with ThrottlingException.
    :param get_lag: Seconds of real time after its Start for which Get does not find a job.
    :param list_lag: Seconds of real time by which Lists of jobs lag behind Get.
    :param client_tokens: Whether a Start operation that repeats a client token returns the first one's job.
    :param client_token_seconds: How long a client token is remembered after its first use, in seconds of the service's
        clock, which ``advance`` moves; None for ever.
    :param changed_request: What a request gets that uses a remembered client token with other parameters: ``refuse`` is
        ValidationException, ``old job`` the job that the token started first, and ``new job`` a job of its own, which
        the token is remembered for from then on. CreateSequenceStore and CreateReferenceStore do the same with stores.
    :param accounts: The accounts (12 digits) that access key ids belong to; any other key belongs to 123456789012, or
        to the account of the role that this server's STS gave it out for. Setting it replaces what was set before.
    """

    job_seconds: float = field(default=5.0, metadata=_NUMBER)
    max_read_sets: dict[str, int | None] = field(
        default_factory=lambda: {kind.word: kind.max_items for kind in JOB_KINDS}, metadata=_LIMIT_BY_KIND
    )
    max_concurrent_jobs: dict[str, int | None] = field(
        default_factory=lambda: {kind.word: kind.max_concurrent_jobs for kind in JOB_KINDS}, metadata=_LIMIT_BY_KIND
    )
    max_reference_stores: int | None = field(default=1, metadata=_LIMIT)
    calls_per_second: int | None = field(default=5, metadata=_LIMIT)
    get_lag: float = field(default=0.0, metadata=_NUMBER)
    list_lag: float = field(default=0.0, metadata=_NUMBER)
    client_tokens: bool = field(default=True, metadata=_SWITCH)
    client_token_seconds: float | None = field(default=None, metadata=_LIMIT)
    changed_request: str = field(default="refuse", metadata=_CHANGED_REQUEST)
    accounts: dict[str, str] = field(default_factory=dict, metadata=_ACCOUNTS)

    def update(self, **changes: Any) -> None:
        """
        Change some settings; a limit by kind may be a dictionary with some kinds, or one value for all.

        :raises ValueError: There is no such setting or kind, or it does not take this value.
        """
        known = {each.name: each for each in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"There is no setting {name!r}; there are {', '.join(known)}")
            if known[name].metadata.get("by_kind"):
                self._update_by_kind(known[name], value)
            else:
                _check(known[name], value)
                setattr(self, name, value)

    def _update_by_kind(self, setting: Field[Any], value: Any) -> None:
        current = getattr(self, setting.name)
        by_kind = value if isinstance(value, dict) else dict.fromkeys(current, value)
        if unknown := by_kind.keys() - current.keys():
            raise ValueError(f"{setting.name}: there is no kind {', '.join(sorted(unknown))}")
        for limit in by_kind.values():
            _check(setting, limit)
        current.update(by_kind)


def _check(setting: Field[Any], value: object) -> None:
    if not setting.metadata["fits"](value):
        raise ValueError(f"{setting.name} is {value!r}, expected {setting.metadata['expected']}")
