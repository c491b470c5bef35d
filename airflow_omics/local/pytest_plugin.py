"""A pytest fixture; opt in with ``pytest_plugins = ["airflow_omics.local.pytest_plugin"]`` in your conftest."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from airflow_omics.local.server import LocalHealthOmics


@pytest.fixture
def local_healthomics(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHealthOmics]:
    """
    Start local HealthOmics on a free port, and point the Airflow connection ``aws_default`` at it.

    Its host is reached without a proxy, whatever the environment says.

    Jobs are over at the next look; change that, or a limit, with ``local_healthomics.configure(job_seconds=...)``.
    """
    with LocalHealthOmics(job_seconds=0) as local:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(local.connection))
        for name in ("NO_PROXY", "no_proxy"):  # for clients that do not know the connection
            monkeypatch.setenv(name, local.environment[name])
        yield local
        local.reset()  # moto's S3 would go on into the next test
