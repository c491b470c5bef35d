"""What a version of what this provider runs on cannot do; README.md has the same as a table."""

from __future__ import annotations

from importlib.metadata import version

import pytest


def _installed(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(name).split(".")[:3])


IS_AIRFLOW_2 = _installed("apache-airflow") < (3,)

s3_metadata_with_an_underscore = pytest.mark.skipif(
    _installed("moto") < (5, 2, 5), reason="moto before 5.2.5 loses S3 metadata with an underscore in its name"
)
