"""
A pytest plugin that fails a test which prints, logs or ends with a secret that the suite uses.

Not searched are the debug lines of botocore, which show what it signs; nobody here switches them on.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Generator, Iterator
from typing import Any

import pytest

SECRET = "s3cr3t-of-the-suite"
"""Every secret that a test makes up has this in it."""

_SECRETS = re.compile(
    rf"{SECRET}"
    "|not-a-secret"  # local HealthOmics' own
    "|FQoGZXIvYXdzE"  # how the session tokens begin that moto's STS hands out
    r"|(?i:Signature|X-Amz-Security-Token)(?:=|: )(?!\*)[\w%/+=-]{20}"
)


def _handed_out() -> Iterator[str]:
    """Yield the secret keys of the roles that moto's STS let somebody assume since it was last reset."""
    models = sys.modules.get("moto.sts.models")
    for regions in list(models.sts_backends.values()) if models else ():
        for backend in list(regions.values()):
            yield from (role.secret_access_key for role in backend.assumed_roles)


def secrets_in(text: str) -> list[str]:
    """Return the secrets that a text has in it."""
    return _SECRETS.findall(text) + [key for key in _handed_out() if key in text]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    told: dict[str, Any] = {name: text for name, text in report.sections if name.endswith(report.when or "")}
    if call.excinfo is not None and not report.skipped:
        told["The exception"] = "".join(traceback.format_exception(call.excinfo.value))
    for name, text in told.items():
        if found := secrets_in(text):
            report.outcome = "failed"
            report.longrepr = f"{name} has a secret: {', '.join(found)}\n{report.longrepr or ''}"
    return report
