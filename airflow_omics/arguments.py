"""Checking what a DAG author passes: what can be checked at once, and the rest when templates are rendered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeGuard

from airflow_omics.bounds import shown
from airflow_omics.exceptions import OmicsArgumentError
from airflow_omics.members import ID

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


def is_rendered_later(value: object) -> bool:
    """
    Tell whether ``value`` gets its content only when the task runs.

    That is text with a Jinja template, a callable, and what Airflow resolves: an XComArg, a DAG's or a mapped task
    group's argument.
    """
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    return hasattr(value, "resolve") or callable(value)


def check_id(argument: str, value: object) -> None:
    """Check, when the DAG is parsed, an argument that takes an id; templates pass."""
    if not is_rendered_later(value):
        if not isinstance(value, str):
            raise _wrong(argument, value, _ID_FORM)
        parse_id(argument, value)


def check_ids(argument: str, value: object) -> None:
    """Check, when the DAG is parsed, an argument that takes an id or a list of ids; templates pass."""
    if isinstance(value, list | tuple):
        if not value:
            raise _wrong(argument, value, f"{_ID_FORM}, or a list of at least one such id")
        for index, element in enumerate(value):
            check_id(f"{argument}[{index}]", element)
    else:
        check_id(argument, value)


def parse_id(argument: str, value: object) -> str:
    """
    Return an id, once templates are rendered.

    :raises OmicsArgumentError: It cannot be one.
    """
    # Native rendering (render_template_as_native_obj=True) turns a text of digits into a number.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**36 else value
    if not isinstance(text, str) or not ID.fullmatch(text):
        raise _wrong(argument, value, _ID_FORM)
    return text


def parse_ids(argument: str, value: object) -> list[str]:
    """
    Return the ids of an argument that takes one id or a list of them, once templates are rendered.

    :raises OmicsArgumentError: One of them cannot be an id, or there is none.
    """
    if isinstance(value, str | int):
        return [parse_id(argument, value)]
    elements = _elements(value)
    if not elements:
        raise _wrong(argument, value, f"{_ID_FORM}, or a list of at least one such id")
    return [parse_id(f"{argument}[{index}]", element) for index, element in enumerate(elements)]


def is_list(value: object) -> bool:
    """Tell whether a rendered argument is a list of ids, and not one id."""
    return not isinstance(value, str | int)


def check(parse: Callable[[str, Any], object], argument: str, value: object) -> None:
    """Check, when the DAG is parsed, an argument with the function that parses it; what has templates in it passes."""
    try:
        is_template = _has_templates(value)
    except RecursionError:
        is_template = False
    if not is_template:
        parse(argument, value)


def parse_destination(argument: str, value: object) -> str:
    """
    Return an S3 prefix with the slash at its end that AWS insists on.

    :raises OmicsArgumentError: It cannot be one (service model: ``S3Destination``).
    """
    if not isinstance(value, str) or not DESTINATION.fullmatch(value if value.endswith("/") else f"{value}/"):
        raise _wrong(argument, value, "an S3 URI whose bucket name can be one, such as 's3://bucket/prefix/'")
    return value if value.endswith("/") else f"{value}/"


def parse_role(argument: str, value: object) -> str:
    """
    Return the ARN of an IAM role.

    :raises OmicsArgumentError: It is none.
    """
    if not isinstance(value, str) or not ROLE.fullmatch(value):
        raise _wrong(argument, value, "the ARN of an IAM role, such as 'arn:aws:iam::123456789012:role/name'")
    return value


def parse_sources(argument: str, value: object) -> list[dict[str, Any]]:
    """
    Return the sources of an import, each as boto3's ``start_read_set_import_job`` takes it.

    :raises OmicsArgumentError: One of them cannot be a source, or there is none.
    """
    sources = [] if isinstance(value, str) else list(_elements(value))
    if not sources:
        raise _wrong(argument, value, "a list of at least one source, as boto3's start_read_set_import_job takes it")
    for index, source in enumerate(sources):
        where = f"{argument}[{index}]"
        if not isinstance(source, dict):
            raise _wrong(where, source, "a dictionary, as boto3's start_read_set_import_job takes it")
        for name, member in source.items():
            inner = [*member, *member.values()] if isinstance(member, dict) else [member]
            if not all(isinstance(each, str) for each in [name, *inner]):
                raise _wrong(f"{where}[{shown(name)}]", member, "text, or a dictionary of texts, under a name")
        for name in ("subjectId", "sampleId"):
            if not isinstance(source.get(name), str) or not source[name]:
                raise _wrong(f"{where}[{name!r}]", source.get(name), "text")
        if source.get("sourceFileType") not in FILE_TYPES:
            raise _wrong(f"{where}['sourceFileType']", source.get("sourceFileType"), f"one of {', '.join(FILE_TYPES)}")
        files = source.get("sourceFiles")
        if not isinstance(files, dict) or "source1" not in files or files.keys() - {"source1", "source2"}:
            raise _wrong(f"{where}['sourceFiles']", files, "a dictionary with source1 and maybe source2")
        for name, uri in files.items():
            if not isinstance(uri, str) or not OBJECT.fullmatch(uri):
                raise _wrong(
                    f"{where}['sourceFiles'][{shown(name)}]", uri, "the S3 URI of an object, such as 's3://bucket/key'"
                )
    return sources


def parse_seconds(argument: str, value: object) -> float:
    """
    Return a span of time, given in seconds or as a timedelta, in seconds.

    :raises OmicsArgumentError: It is none, or negative, or above :data:`LONGEST_WAIT`.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_number(seconds) or not 0 <= seconds <= LONGEST_WAIT:
        raise _wrong(argument, value, "seconds, as a number or a timedelta, from 0 to ten years")
    return float(seconds)


def parse_moment(argument: str, value: object) -> float:
    """
    Return a time in seconds since the epoch.

    :raises OmicsArgumentError: It is none, or further away than :data:`LONGEST_WAIT`.
    """
    if not _is_number(value) or not 0 <= value <= time.time() + LONGEST_WAIT:
        raise _wrong(argument, value, "a time in seconds since the epoch, at most ten years from now")
    return float(value)


def parse_token(argument: str, value: object) -> str:
    """
    Return a text that identifies some work.

    :raises OmicsArgumentError: It is none, or what a template makes of nothing.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**36 else value
    if not isinstance(text, str) or text in ("", "None"):
        raise _wrong(argument, value, "text that is not empty")
    return text


def check_bool(argument: str, value: object) -> None:
    """Check an argument that is True or False; the text 'False' would count as true."""
    if not isinstance(value, bool):
        raise _wrong(argument, value, "True or False")


def check_connection(aws_conn_id: object, region_name: object, verify: object, botocore_config: object) -> None:
    """
    Check what a client is made with, once templates are rendered.

    :raises OmicsArgumentError: It is of a wrong type.
    """
    texts = {"aws_conn_id": aws_conn_id, "region_name": region_name}
    for argument, value in {**texts, "verify": None if isinstance(verify, bool) else verify}.items():
        if value is not None and not (isinstance(value, str) and value.isprintable() and len(value) <= 4096):
            raise _wrong(argument, value, "text of at most 4,096 printable characters, or None")
    if not isinstance(botocore_config, dict | None):
        raise _wrong("botocore_config", botocore_config, "a dictionary, or None")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_templates(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_templates(element) for element in value.values())
    if isinstance(value, list | tuple):
        return any(_has_templates(element) for element in value)
    return is_rendered_later(value)


def _elements(value: object) -> Sequence[Any]:
    """Return what a list-like value holds; what a mapped task returned is lazy, and no list."""
    if isinstance(value, Iterable) and not isinstance(value, dict | bytes | set):
        return list(value)
    return ()


def _wrong(argument: str, value: object, expected: str) -> OmicsArgumentError:
    hint = ""
    if isinstance(value, str) and value.startswith("["):
        hint = (
            " This is a list written as text: pass the upstream task's .output instead of a template, "
            "or set render_template_as_native_obj=True on the DAG."
        )
    elif value is None or value == "None":
        hint = " The upstream task may have pushed no XCom."
    return OmicsArgumentError(f"{argument} is {shown(value)} ({type(value).__name__}), expected {expected}.{hint}")
