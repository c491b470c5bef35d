"""Taking members out of structures that come from outside, checked. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def text(structure: Mapping[str, Any], member: str) -> str | None:
    """
    Return a text, or None where it is missing.

    :raises ValueError: It is something else; so it is with the functions below.
    """
    value = structure.get(member)
    if not isinstance(value, str | None):
        raise ValueError(f"{member} is {value!r:.80}, expected text")
    return value


def items(structure: Mapping[str, Any], member: str) -> list[Any]:
    """Return a list, empty where it is missing."""
    value = structure.get(member)
    if not isinstance(value, list | None):
        raise ValueError(f"{member} is {value!r:.80}, expected a list")
    return value or []


def texts(structure: Mapping[str, Any], member: str) -> list[str]:
    """Return a list of texts, empty where it is missing."""
    values = items(structure, member)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{member} is {values!r:.80}, expected a list of texts")
    return values


def time(structure: Mapping[str, Any], member: str) -> datetime | None:
    """Return a time, or None where it is missing."""
    value = structure.get(member)
    if not isinstance(value, datetime | None):
        raise ValueError(f"{member} is {value!r:.80}, expected a time")
    return value


def iso_time(structure: Mapping[str, Any], member: str) -> datetime | None:
    """Return a time that is written in ISO 8601 with its zone, or None where it is missing."""
    written = text(structure, member)
    try:
        value = datetime.fromisoformat(written) if written else None
    except ValueError:
        value = None
    if written and (value is None or value.tzinfo is None):
        raise ValueError(f"{member} is {written!r:.80}, expected a time in ISO 8601 with its zone")
    return value


def to_iso(value: datetime | None) -> str | None:
    """Write a time in ISO 8601, in UTC."""
    return value.astimezone(UTC).isoformat() if value else None
