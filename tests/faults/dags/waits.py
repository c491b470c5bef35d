"""Waits of every sort, mapped over what the run's conf has; the fault suite runs this once for each fault."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_omics.operators import OmicsStartReadSetExportJobOperator
from airflow_omics.sensors import OmicsReadSetExportJobSensor

try:
    from airflow.sdk import dag, task
except ImportError:
    from airflow.decorators import dag, task


# A worker that is killed costs a try, and so does a queue that is gone with it.
@dag(
    schedule=None,
    catchup=False,
    max_active_tasks=200,
    default_args={"retries": 8, "retry_delay": timedelta(seconds=1)},
)
def waits() -> None:
    @task
    def conf(key: str, dag_run: Any = None) -> list[Any]:
        return dag_run.conf.get(key, [])

    store: dict[str, Any] = {"sequence_store_id": "{{ dag_run.conf['store'] }}"}
    OmicsReadSetExportJobSensor.partial(task_id="deferred", deferrable=True, poke_interval=5, **store).expand(
        job_id=conf.override(task_id="to_defer")("deferred")
    )
    OmicsReadSetExportJobSensor.partial(task_id="rescheduled", poke_interval=10, **store).expand(
        job_id=conf.override(task_id="to_reschedule")("rescheduled")
    )
    # These two hold a worker while they wait: they come first, so that they are waiting when something strikes.
    first: dict[str, Any] = {"priority_weight": 10}
    OmicsReadSetExportJobSensor.partial(task_id="poked", mode="poke", poke_interval=3, **first, **store).expand(
        job_id=conf.override(task_id="to_poke", **first)("poked")
    )
    export: dict[str, Any] = {
        "role_arn": "arn:aws:iam::123456789012:role/HealthOmics",
        "destination": "s3://airflow-omics-tests/out/",
        **store,
    }
    OmicsStartReadSetExportJobOperator.partial(task_id="held", poll_interval=3, **first, **export).expand(
        read_set_ids=conf.override(task_id="to_hold", **first)("held")
    )
    OmicsStartReadSetExportJobOperator.partial(task_id="exported", deferrable=True, poll_interval=5, **export).expand(
        read_set_ids=conf.override(task_id="to_export")("exported")
    )


waits()
