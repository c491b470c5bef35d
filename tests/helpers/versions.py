"""
What differs for tests between the versions that this provider runs on: where a name is, and what cannot be done.

Each condition that skips a test has its line in docs/troubleshooting.md, under Versions.
"""

from __future__ import annotations

from importlib.metadata import version

import pytest
from real_airflow import IS_AIRFLOW_2

from airflow_omics._airflow import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

try:
    from airflow.sdk import DAG, dag, task, task_group
except ImportError:  # can go when Airflow 3.0 is the oldest supported
    from airflow.decorators import dag, task, task_group
    from airflow.models.dag import DAG
try:
    from airflow.sdk.exceptions import AirflowTaskTimeout
except ImportError:  # can go when Airflow 3.2 is the oldest supported
    from airflow.exceptions import AirflowTaskTimeout

__all__ = [
    "DAG",
    "IS_AIRFLOW_2",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "TaskDeferred",
    "dag",
    "s3_metadata_with_an_underscore",
    "task",
    "task_group",
]


def _installed(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(name).split(".")[:3])


s3_metadata_with_an_underscore = pytest.mark.skipif(
    _installed("moto") < (5, 2, 5), reason="moto before 5.2.5 loses S3 metadata with an underscore in its name"
)
