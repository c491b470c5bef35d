"""What a value is: a template, a list, a number; and the error about a value that is wrong. No boto3 here."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias

from jinja2 import Undefined

from airflow_omics._service.limits import shown
from airflow_omics.exceptions import OmicsArgumentError

if TYPE_CHECKING:
    from airflow.sdk.definitions.xcom_arg import XComArg

    Text: TypeAlias = "str | XComArg | Callable[..., Any]"
    Id: TypeAlias = "SupportsIndex | Text"
    Ids: TypeAlias = "Id | Sequence[Ids]"
    Sources: TypeAlias = "Mapping[str, Any] | Text | Sequence[Sources]"

DEEPEST = 10
"""How many lists an id or a source may be in, so that a list that holds itself is refused."""

_upstream: ContextVar[Sequence[str]] = ContextVar("upstream", default=())


@contextmanager
def arguments_of(task: Any) -> Iterator[None]:
    """Name a task's upstream tasks in an error about a missing value, while the task parses its arguments."""
    token = _upstream.set(sorted(task.upstream_task_ids))
    try:
        yield
    finally:
        _upstream.reset(token)


def wrong(argument: str, value: object, expected: str) -> OmicsArgumentError:
    """Return the error that says what an argument is, and what it should be."""
    hint, upstream = "", _upstream.get()
    if isinstance(value, str) and value.startswith("["):
        hint = (
            " This is a list written as text: pass the upstream task's .output instead of a template, "
            "or set render_template_as_native_obj=True on the DAG."
        )
    elif upstream and (value is None or (isinstance(value, str) and value == "None")):
        more = f" and {len(upstream) - 3} more" if len(upstream) > 3 else ""
        hint = f" An upstream task may have pushed no XCom: {', '.join(upstream[:3])}{more}."
    return OmicsArgumentError(f"{argument} is {shown(value)} ({type(value).__name__}), expected {expected}.{hint}")


def is_rendered_later(value: object) -> bool:
    """
    Tell whether ``value`` gets its content only when the task runs.

    That is text with a Jinja template, a callable, and what Airflow resolves: an XComArg, a DAG's or a mapped task
    group's argument.
    """
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    return hasattr(value, "resolve") or callable(value)


def has_templates(value: object) -> bool:
    """Tell whether something in a value gets its content only when the task runs."""
    return holds(value, is_rendered_later)


def holds(value: object, test: Callable[[object], bool]) -> bool:
    """Tell whether ``test`` is true of something in a value; what is too deep to tell is refused when it is parsed."""

    def is_true(value: object) -> bool:
        if isinstance(value, dict | list | tuple):
            return any(is_true(element) for element in (value.values() if isinstance(value, dict) else value))
        return test(value)

    try:
        return is_true(value)
    except RecursionError:
        return False


def is_mapped(task: Any) -> bool:
    """Tell whether a task is made of a mapped one, at run time, with arguments that were rendered before."""
    return bool(getattr(task, "_BaseOperator__from_mapped", False))


def is_list(value: object) -> bool:
    """Tell whether a value counts as a list; what a mapped task returned is lazy, and not Python's list."""
    # Jinja's Undefined, a variable that does not exist, looks like an empty list; an array of numpy's can be a number.
    if isinstance(value, str | bytes | bytearray | Mapping | set | frozenset | Undefined) or whole(value) is not None:
        return False
    try:
        return isinstance(value, Iterable) and iter(value) is not None
    except TypeError:
        return False


def places(argument: str, value: object, deepest: int = DEEPEST) -> list[tuple[str, Any]]:
    """Return what is in a list and in the lists in it, or else a value alone; each with the words for its place."""
    if not is_list(value):
        return [(argument, value)]
    if not deepest:
        raise wrong(argument, value, f"no list in more than {DEEPEST - 1} lists")
    elements: Iterable[Any] = value  # type: ignore[assignment]
    return [
        place
        for index, element in enumerate(elements)
        for place in places(f"{argument}[{index}]", element, deepest - 1)
    ]


def whole(value: object) -> int | None:
    """Return a whole number of any library as Python's, or None if it is none; True and False are none."""
    try:
        return None if isinstance(value, bool) else int(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        return None


def number(value: object) -> float:
    """Return a number of any library as Python's, or NaN if it is none; True and False are none."""
    # numpy's bool_, str_ and timedelta64 (in whatever unit) can be made a number, too.
    is_other = isinstance(value, bool | str) or type(value).__name__ in ("bool", "bool_", "timedelta64")
    try:
        return float(value) if isinstance(value, SupportsFloat | SupportsIndex) and not is_other else math.nan
    except (OverflowError, TypeError, ValueError):
        return math.nan
