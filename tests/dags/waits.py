"""Waits that test_airflow.py runs under a real scheduler; the jobs come from the environment."""

from __future__ import annotations

import json
import os
from typing import Any

from airflow_omics.operators import OmicsStartReadSetExportJobOperator
from airflow_omics.sensors import OmicsReadSetExportJobSensor

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

JOBS = json.loads(os.environ.get("OMICS_TEST_JOBS", "{}"))


@dag(schedule=None, catchup=False)
def waits() -> None:
    store = JOBS.get("store", "1234567890")
    once: dict[str, Any] = {"botocore_config": {"retries": {"total_max_attempts": 1}, "read_timeout": 1}}
    common: dict[str, Any] = {"sequence_store_id": store, "poke_interval": 3, "retries": 2, **once}

    OmicsReadSetExportJobSensor(task_id="ten_faults", job_id=JOBS.get("faulty", "1234567890"), **common)
    failed = OmicsReadSetExportJobSensor(task_id="failed", job_id=JOBS.get("failed", "1234567890"), **common)
    OmicsReadSetExportJobSensor(task_id="skipped", job_id=JOBS.get("failed", "1234567890"), soft_fail=True, **common)
    OmicsReadSetExportJobSensor(task_id="poked", job_id=JOBS.get("completed", "1234567890"), mode="poke", **common)

    deferred: dict[str, Any] = {**common, "deferrable": True}
    OmicsReadSetExportJobSensor(task_id="deferred", job_id=JOBS.get("later", "1234567890"), **deferred)
    OmicsReadSetExportJobSensor(task_id="deferred_failed", job_id=JOBS.get("bad", "1234567890"), **deferred)
    OmicsReadSetExportJobSensor(
        task_id="deferred_skipped", job_id=JOBS.get("bad", "1234567890"), soft_fail=True, **deferred
    )

    @task
    def job_ids() -> list[str]:
        return [JOBS["completed"], JOBS["later"]]

    OmicsReadSetExportJobSensor(task_id="several", job_id=job_ids(), **common)
    OmicsReadSetExportJobSensor.partial(task_id="mapped", **common).expand(job_id=job_ids.override(task_id="mapping")())

    @task
    def read_sets() -> list[str]:
        return JOBS["read_sets"]

    export = {"sequence_store_id": store, "role_arn": "arn:aws:iam::123456789012:role/HealthOmics"}
    started = OmicsStartReadSetExportJobOperator.partial(
        task_id="started", read_set_ids=read_sets(), wait_for_completion=False, **export
    ).expand(destination=["s3://airflow-omics-tests/a/", "s3://airflow-omics-tests/b/"])

    @task
    def flat(ids: Any) -> list[str]:
        return [job_id for each in ids for job_id in each]

    OmicsStartReadSetExportJobOperator(
        task_id="deferred_export",
        read_set_ids=read_sets.override(task_id="more_read_sets")(),
        destination="s3://airflow-omics-tests/c/",
        deferrable=True,
        poll_interval=3,
        **export,
    )

    OmicsReadSetExportJobSensor(task_id="exported", job_id=flat(started.output), **common)

    @task(trigger_rule="all_failed")
    def resubmit(read_set_ids: list[str]) -> list[str]:
        return read_set_ids

    failed >> resubmit(failed.output["failed_read_set_ids"])


waits()
