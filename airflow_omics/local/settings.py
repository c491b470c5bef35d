"""What of local HealthOmics can be set."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from airflow_omics.jobs import ReadSetJobKind


@dataclass
class Settings:
    """
    How the service behaves; every limit is the real service's default, and None switches it off.

    :param job_seconds: How long a job takes, whatever its size.
    :param max_read_sets: Read sets per job, by kind (``export``, ``activation``, ``import``); more are answered with
        ValidationException.
    :param max_concurrent_jobs: Jobs that are not over, by kind; one more is answered with
        ServiceQuotaExceededException.
    :param calls_per_second: Calls within any second, for each of the operations that the service limits; more are
        answered with ThrottlingException.
    :param get_lag: Seconds of real time after its Start for which Get does not find a job.
    :param list_lag: Seconds of real time by which Lists of jobs lag behind Get.
    :param client_tokens: Whether a Start operation that repeats a client token returns the first one's job.
    """

    job_seconds: float = 5.0
    max_read_sets: dict[str, int | None] = field(
        default_factory=lambda: {kind.value: kind.max_read_sets for kind in ReadSetJobKind}
    )
    max_concurrent_jobs: dict[str, int | None] = field(
        default_factory=lambda: {kind.value: kind.max_concurrent_jobs for kind in ReadSetJobKind}
    )
    calls_per_second: int | None = 5
    get_lag: float = 0.0
    list_lag: float = 0.0
    client_tokens: bool = True

    def update(self, **changes: Any) -> None:
        """
        Change some settings; a limit by kind may be a dictionary with some kinds, or one value for all.

        :raises ValueError: There is no such setting or kind, or it does not take this value.
        """
        names = [each.name for each in fields(self)]
        for name, value in changes.items():
            if name not in names:
                raise ValueError(f"There is no setting {name!r}; there are {', '.join(names)}")
            current = getattr(self, name)
            if isinstance(current, dict):
                by_kind = value if isinstance(value, dict) else dict.fromkeys(current, value)
                if unknown := by_kind.keys() - current.keys():
                    raise ValueError(f"{name}: there is no kind {', '.join(sorted(unknown))}")
                for limit in by_kind.values():
                    _check(name, limit)
                current.update(by_kind)
            else:
                _check(name, value)
                setattr(self, name, value)


def _check(name: str, value: object) -> None:
    may_be_none = name.startswith(("max_", "calls_"))
    if not (value is None and may_be_none) and not (isinstance(value, int | float) and value >= 0):
        raise ValueError(f"{name} is {value!r}, expected a number from 0{' or None' if may_be_none else ''}")
