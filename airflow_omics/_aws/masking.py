"""
Taking secrets out of exceptions: botocore quotes URLs and headers it stumbles over, AWS may quote what was signed.

Airflow masks what it knows as a secret in a task's log. An exception goes further, such as with a trigger's event into
the database, and may have secrets that Airflow was never told: an assumed role's token, a signature.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MASK = "***"
"""What Airflow, too, puts in a secret's place."""

SHORTEST = 8
"""A secret with fewer characters is a stand-in, and would be found in ordinary words; AWS's have 40 and more."""

_RULES = {
    "a user and a password before a host": r"(\b[a-z0-9+.-]+://) [^\s/@\"']+ (?=@)",
    "botocore, of a URL without a scheme": r"(invalid\ endpoint:\ ) \S+",
    "Python, of a password with a slash, taken for a port": r"(integer\ value\ as\ ) '[^']*'",
    "by its name, in a header, a query, JSON or a profile": r"""(
        (?: secret_?(?:access_?)?key | (?:access|auth|security|session)[-_]?token | password | signature )
        ["']? \s* [:=] \s* ["']?
      ) [^\s"',&;<>}]+""",
}
"""What a secret is known by: what stands before it, the group, and then the secret."""

_TELLTALES = [re.compile(rule, re.IGNORECASE | re.VERBOSE) for rule in _RULES.values()]


def masked(text: str, secrets: Iterable[Any] = ()) -> str:
    """
    Return a text with secrets replaced: those known, and others by what stands before them.

    :param secrets: What is known to be secret; empty ones, and those that are no text, too.
    """
    known = {str(each).strip() for each in secrets if each is not None}
    for secret in sorted((each for each in known if len(each) >= SHORTEST), key=len, reverse=True):
        text = text.replace(secret, MASK)
    for telltale in _TELLTALES:
        text = telltale.sub(lambda match: match[1] + MASK, text)
    return text


def has_secret(text: str) -> bool:
    """Tell whether a text has something in it that :func:`masked` replaces."""
    return any(telltale.search(text) for telltale in _TELLTALES)


def mask(error: BaseException, secrets: Iterable[Any]) -> None:
    """
    Replace secrets in an exception and in all that it was raised from, in place: a traceback shows them all.

    Client tokens stay: they make a request idempotent, and let nobody in.

    :param secrets: As :func:`masked` takes them.
    """
    known = tuple(secrets)

    def without(value: Any) -> Any:
        if isinstance(value, str):
            return masked(value, known)
        if isinstance(value, dict):
            return {name: without(member) for name, member in value.items()}
        if type(value) in (list, tuple):
            return type(value)(without(member) for member in value)
        return value

    rest, seen = [error], set()
    while rest:
        each = rest.pop()
        seen.add(id(each))
        each.args = without(each.args)
        vars(each).update(without(vars(each)))  # where botocore keeps the answer, and what it makes the message of
        rest += [cause for cause in (each.__cause__, each.__context__) if cause and id(cause) not in seen]
