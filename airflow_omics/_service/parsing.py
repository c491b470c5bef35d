"""Taking members out of structures that come from outside, checked. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_omics._service.limits import LONGEST_MESSAGE, LONGEST_TEXT, cut, shown, storable


class ParseError(ValueError):
    """What comes from outside cannot be right; the message names what. Two borders turn it into what users see."""


ID = re.compile(r"[0-9]{10,36}")
"""Ids of sequence stores, read sets and jobs (service model: ``SequenceStoreId``, ``ReadSetId``, ``ExportJobId``)."""


def text(structure: Mapping[str, Any], member: str) -> str | None:
    """
    Return a text of at most :data:`airflow_omics._service.limits.LONGEST_TEXT`, or None where it is missing.

    :raises ParseError: It is something else; so it is with the functions below.
    """
    value = structure.get(member)
    return None if value is None else _text(member, value)


def message(structure: Mapping[str, Any], member: str, longest: int = LONGEST_MESSAGE) -> str | None:
    """Return a text that people read, cut, or None where it is missing."""
    value = structure.get(member)
    if not isinstance(value, str | None):
        raise ParseError(f"{member} is {shown(value, 80)}, expected text")
    return value and cut(value, longest)


def identifier(structure: Mapping[str, Any], member: str) -> str:
    """Return an id that must be there."""
    value = structure.get(member)
    if value is None:
        raise ParseError(f"{member} is missing")
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise ParseError(f"{member} is {shown(value, 80)}, expected text of 10 to 36 digits")
    return value


def check_asked(structure: Mapping[str, Any], **asked: str) -> None:
    """Check that a structure speaks of what was asked for, where it says of what."""
    for member, value in asked.items():
        if text(structure, member) not in (value, None):
            raise ParseError(f"{member} is {shown(structure[member], 80)}, expected {value!r}, the one asked for")


def items(structure: Mapping[str, Any], member: str) -> list[Any]:
    """Return a list, empty where it is missing."""
    value = structure.get(member)
    if not isinstance(value, list | None):
        raise ParseError(f"{member} is {shown(value, 80)}, expected a list")
    return value or []


def texts(structure: Mapping[str, Any], member: str) -> list[str]:
    """Return a list of texts, empty where it is missing."""
    return [_text(f"{member}[{index}]", value) for index, value in enumerate(items(structure, member))]


def time(structure: Mapping[str, Any], member: str) -> datetime | None:
    """Return a time, in UTC, or None where it is missing."""
    value = structure.get(member)
    if not isinstance(value, datetime | None):
        raise ParseError(f"{member} is {shown(value, 80)}, expected a time")
    return value and _utc(member, value)


def iso_time(structure: Mapping[str, Any], member: str) -> datetime | None:
    """Return a time, in UTC, that is written in ISO 8601 with its zone, or None where it is missing."""
    written = text(structure, member)
    try:
        value = datetime.fromisoformat(written) if written else None
    except ValueError:
        value = None
    if written and (value is None or value.tzinfo is None):
        raise ParseError(f"{member} is {shown(written, 80)}, expected a time in ISO 8601 with its zone")
    return value and _utc(member, value)


def to_iso(value: datetime | None) -> str | None:
    """Write a time in ISO 8601, in UTC."""
    return value.astimezone(UTC).isoformat() if value else None


def _text(member: str, value: object) -> str:
    if not isinstance(value, str):
        raise ParseError(f"{member} is {shown(value, 80)}, expected text")
    if len(value) > LONGEST_TEXT:
        raise ParseError(f"{member} is {shown(value, 80)}, {len(value)} characters, expected at most {LONGEST_TEXT}")
    return storable(value)


def _utc(member: str, value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise ParseError(f"{member} is {value!r:.80}, expected a time from year 1 to 9999 in UTC") from None
