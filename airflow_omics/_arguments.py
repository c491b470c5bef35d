"""Checking what a DAG author passes: what can be checked at once, and the rest when templates are rendered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from airflow_omics._service.job_items import ItemKey, item_key
from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import ID
from airflow_omics._values import has_templates, holds, is_rendered_later, number, places, whole, wrong
from airflow_omics.exceptions import OmicsArgumentError

_BUCKET = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_KEY = r"[^\x00-\x1f\x7f\ud800-\udfff]{1,1024}"
DESTINATION = re.compile(rf"{_BUCKET}/({_KEY}/)?")
OBJECT = re.compile(rf"{_BUCKET}/{_KEY}")
ROLE = re.compile(r"arn:[a-z0-9-]+:iam::[0-9]{12}:role/[!-~]{1,1900}")
FILE_TYPES = ("FASTQ", "BAM", "CRAM", "UBAM")
"""What AWS can import (service model: ``FileType``)."""

LONGEST_WAIT = 10 * 365 * 86_400
"""Seconds that an interval or a timeout may have; Airflow and Python fail on some that are longer."""

_ID_FORM = "text of 10 to 36 digits, such as '1234567890'"
_IDS_FORM = f"{_ID_FORM}, or a list of at least one such id"


def check_id(argument: str, value: object) -> None:
    """Check, when the DAG is parsed, an argument that takes an id; templates pass."""
    if not is_rendered_later(value):
        parse_id(argument, value)


def check_ids(argument: str, value: object, *, can_be_empty: bool = False) -> None:
    """Check, when the DAG is parsed, an argument that takes an id or a list of ids; templates pass."""
    _refuse_iterators(argument, value)
    found = places(argument, value)
    if not found and not can_be_empty:
        raise wrong(argument, value, _IDS_FORM)
    for where, element in found:
        check_id(where, element)


def parse_id(argument: str, value: object, expected: str = _ID_FORM) -> str:
    """
    Return an id, once templates are rendered.

    :raises OmicsArgumentError: It cannot be one.
    """
    # Native rendering (render_template_as_native_obj=True) turns a text of digits into a number.
    text = _digits(value)
    if not isinstance(text, str) or not ID.fullmatch(text):
        raise wrong(argument, value, expected)
    return str.__str__(text)  # not numpy's str_


def parse_ids(argument: str, value: object, *, can_be_empty: bool = False) -> list[str]:
    """
    Return the ids of an argument that takes one id or a list of them, once templates are rendered.

    :raises OmicsArgumentError: One of them cannot be an id, or there is none.
    """
    found = places(argument, value)
    if not found and not can_be_empty:
        raise wrong(argument, value, _IDS_FORM)
    return [parse_id(where, element, _IDS_FORM if where == argument else _ID_FORM) for where, element in found]


def check(parse: Callable[[str, Any], object], argument: str, value: object) -> None:
    """Check, when the DAG is parsed, an argument with the function that parses it; what has templates in it passes."""
    _refuse_iterators(argument, value)
    if not has_templates(value):
        parse(argument, value)


def parse_destination(argument: str, value: object) -> str:
    """
    Return an S3 prefix with the slash at its end that AWS insists on.

    :raises OmicsArgumentError: It cannot be one (service model: ``S3Destination``).
    """
    if not isinstance(value, str) or not DESTINATION.fullmatch(value if value.endswith("/") else f"{value}/"):
        raise wrong(argument, value, "an S3 URI whose bucket name can be one, such as 's3://bucket/prefix/'")
    return value if value.endswith("/") else f"{value}/"


def parse_role(argument: str, value: object) -> str:
    """
    Return the ARN of an IAM role.

    :raises OmicsArgumentError: It is none.
    """
    if not isinstance(value, str) or not ROLE.fullmatch(value):
        raise wrong(argument, value, "the ARN of an IAM role, such as 'arn:aws:iam::123456789012:role/name'")
    return value


def parse_sources(argument: str, value: object, *, can_be_empty: bool = False) -> list[dict[str, Any]]:
    """
    Return the sources of a read set import, each as boto3's ``start_read_set_import_job`` takes it.

    :raises OmicsArgumentError: One of them cannot be a source, two are equal, or there is none.
    """
    return _parse_sources(argument, value, can_be_empty, "start_read_set_import_job", _check_source)


def parse_reference_sources(argument: str, value: object, *, can_be_empty: bool = False) -> list[dict[str, Any]]:
    """Return the sources of a reference import, as :func:`parse_sources` does for ``start_reference_import_job``."""
    return _parse_sources(argument, value, can_be_empty, "start_reference_import_job", _check_reference_source)


def _parse_sources(
    argument: str, value: object, can_be_empty: bool, method: str, check_source: Callable[[str, Any], None]
) -> list[dict[str, Any]]:
    found = places(argument, value)
    if not found and not can_be_empty:
        raise wrong(argument, value, f"at least one source, as boto3's {method} takes it")
    named: dict[ItemKey, str] = {}
    for where, source in found:
        if not isinstance(source, dict):
            raise wrong(where, source, f"a dictionary, as boto3's {method} takes it, or a list of such")
        for name, member in source.items():
            inner = [*member, *member.values()] if isinstance(member, dict) else [member]
            if not all(isinstance(each, str) for each in [name, *inner]):
                raise wrong(f"{where}[{shown(name)}]", member, "text, or a dictionary of texts, under a name")
        check_source(where, source)
        first = named.setdefault(item_key(source), where)
        if first != where:
            same = "sourceFile and name" if "sourceFile" in source else "sampleId and subjectId"
            files = source.get("sourceFile") or source["sourceFiles"]
            raise OmicsArgumentError(
                f"{first} and {where} are the same source: {shown(files)} with equal {same}. AWS would import it "
                "twice, and nobody could tell what was made of which. Leave one out."
            )
    return [source for _, source in found]


def _check_reference_source(where: str, source: Any) -> None:
    uri, name = source.get("sourceFile"), source.get("name")
    if not isinstance(uri, str) or not OBJECT.fullmatch(uri):
        raise wrong(f"{where}['sourceFile']", uri, "the S3 URI of an object, such as 's3://bucket/key'")
    if not isinstance(name, str) or not 3 <= len(name) <= 255:
        raise wrong(f"{where}['name']", name, "text of 3 to 255 characters")


def _check_source(where: str, source: Any) -> None:
    for name in ("subjectId", "sampleId"):
        if not isinstance(source.get(name), str) or not source[name]:
            raise wrong(f"{where}[{name!r}]", source.get(name), "text")
    if source.get("sourceFileType") not in FILE_TYPES:
        raise wrong(f"{where}['sourceFileType']", source.get("sourceFileType"), f"one of {', '.join(FILE_TYPES)}")
    files = source.get("sourceFiles")
    if not isinstance(files, dict) or "source1" not in files or files.keys() - {"source1", "source2"}:
        raise wrong(f"{where}['sourceFiles']", files, "a dictionary with source1 and maybe source2")
    for name, uri in files.items():
        if not isinstance(uri, str) or not OBJECT.fullmatch(uri):
            place = f"{where}['sourceFiles'][{shown(name)}]"
            raise wrong(place, uri, "the S3 URI of an object, such as 's3://bucket/key'")


def parse_seconds(argument: str, value: object) -> float:
    """
    Return a span of time, given in seconds or as a timedelta, in seconds.

    :raises OmicsArgumentError: It is none, or negative, or above :data:`LONGEST_WAIT`.
    """
    seconds = number(value.total_seconds() if isinstance(value, timedelta) else value)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise wrong(argument, value, "seconds, as a number or a timedelta, from 0 to ten years")
    return seconds


def parse_moment(argument: str, value: object) -> float:
    """
    Return a time in seconds since the epoch.

    :raises OmicsArgumentError: It is none, or further away than :data:`LONGEST_WAIT`.
    """
    seconds = number(value)
    if not 0 <= seconds <= time.time() + LONGEST_WAIT:
        raise wrong(argument, value, "a time in seconds since the epoch, at most ten years from now")
    return seconds


def parse_count(argument: str, value: object) -> int:
    """
    Return a number of things.

    :raises OmicsArgumentError: It is no whole number, or below 1.
    """
    count = whole(value)
    if count is None or count < 1:
        raise wrong(argument, value, "a whole number of at least 1, or None")
    return count


def parse_token(argument: str, value: object) -> str:
    """
    Return a text that identifies some work.

    :raises OmicsArgumentError: It is none, or what a template makes of nothing.
    """
    text = _digits(value)
    if not isinstance(text, str) or text in ("", "None"):
        raise wrong(argument, value, "text that is not empty")
    return text


def check_bool(argument: str, value: object) -> None:
    """Check an argument that is True or False; the text 'False' would count as true."""
    if not isinstance(value, bool):
        raise wrong(argument, value, "True or False")


def _digits(value: object) -> object:
    """Return a whole number that an id can be as text, and anything else as it is."""
    found = whole(value)
    return value if found is None or abs(found) >= 10**36 else str(found)


def _refuse_iterators(argument: str, value: object) -> None:
    """Refuse, when the DAG is parsed, what can be read only once: it would be empty when the task runs."""
    if holds(value, lambda each: isinstance(each, Iterator)):
        raise wrong(argument, value, "a list, and nothing that can be read only once")
