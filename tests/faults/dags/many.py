"""A hundred deferred waits; the jobs come from the environment."""

from __future__ import annotations

import json
import os

from airflow_omics.sensors import OmicsReadSetExportJobSensor

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task

JOBS = json.loads(os.environ.get("OMICS_TEST_JOBS", "{}"))


@dag(schedule=None, catchup=False)
def many() -> None:
    @task
    def job_ids() -> list[str]:
        return JOBS["ids"]

    OmicsReadSetExportJobSensor.partial(
        task_id="wait",
        sequence_store_id=JOBS.get("store", "1234567890"),
        deferrable=True,
        poke_interval=5,
        retries=0,
    ).expand(job_id=job_ids())


many()
