"""Bounds on what is kept, shown and told of what comes from outside. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Collection

LONGEST_MESSAGE = 1_000
"""Characters kept of a message of AWS's, of which the service model allows 127; more are cut."""

LONGEST_TEXT = 2_048
"""Characters that another text of AWS's may have; longer ones are refused. The longest S3 URI has 1,093."""

MOST_READ_SETS = 2_000
"""Read sets that a job may have; an answer with more is refused. AWS's quota is 100."""

LARGEST_ERROR = 10_000
"""Characters that an exception's text has at most."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return a text without NUL and lone surrogates: databases and logs refuse them."""
    return _UNSTORABLE.sub("\ufffd", text)


def cut(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text of at most so many characters, fit to be stored; an ellipsis stands for what was cut."""
    return storable(text if len(text) <= longest else f"{text[: longest - 1]}…")


def shown(value: object, longest: int = 200) -> str:
    """Return how Python writes a value, cut; values nested or long beyond what it writes are named by type."""
    try:
        return cut(repr(value), longest)
    except Exception:  # any object's, and a RecursionError or ValueError for lists and numbers
        return f"a {type(value).__name__} that cannot be shown"


def some(texts: Collection[str], longest: int, separator: str = ", ", more: str = "more") -> str:
    """Join as many of these texts, but at least one, as have room; say how many more there are."""
    taken: list[str] = []
    for text in texts:
        longest -= len(text) + len(separator)
        if taken and longest < 0:
            break
        taken.append(text)
    rest = len(texts) - len(taken)
    return separator.join([*taken, f"and {rest} {more}"] if rest else taken)
