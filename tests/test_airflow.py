"""Waits under a real scheduler and triggerer: LocalExecutor, API server, SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FAULTS_THAT_PASS, JOB_SECONDS, World, connection
from real_airflow import RealAirflow
from secret_search import SECRET, secrets_in

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics

DAG = "waits"
WAITING = {"several", "exported", "deferred", "deferred_failed", "deferred_skipped", "deferred_export"}
"""What waits until the time of local HealthOmics is moved on."""

TEN_FAULTS = [
    *FAULTS_THAT_PASS,
    {"action": "hang"},
    {"error": "BadGateway", "http_status": 502},
    {"error": "ThrottlingException"},
]


class Run:
    """One run of the DAG, over."""

    def __init__(self, airflow: RealAirflow, world: World, jobs: dict[str, Any]) -> None:
        self.airflow = airflow
        self.world = world
        self.jobs = jobs
        self.id = airflow.trigger(DAG)
        self.history: dict[str, list[str]] = {}
        left: set[str] = set()
        for task, state in airflow.watch(DAG, self.id, seconds=400):
            self.history.setdefault(task, []).append(state)
            if task in WAITING and state in ("up_for_reschedule", "deferred"):
                left.add(task)
                if left == WAITING:
                    airflow.kill_and_restart("triggerer")
                    world.local.advance(JOB_SECONDS)

    def xcom(self, task: str, key: str = "return_value") -> Any:
        return self.airflow.xcom(DAG, self.id, task, key)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with LocalHealthOmics() as local, pytest.MonkeyPatch.context() as patch:
        world = World(local)
        kind = ReadSetJobKind.EXPORT
        jobs: dict[str, Any] = {
            "read_sets": world.read_sets,
            "store": world.store,
            "faulty": world.job(kind, "COMPLETED"),
            "failed": world.job(kind, "COMPLETED_WITH_FAILURES"),
            "completed": world.job(kind, "COMPLETED"),
            "later": world.start(kind),
        }
        world.local.fail_read_sets((torn := world.local.add_read_sets(world.store, 2))[:1], "Torn")
        jobs["bad"] = world.start(kind, torn)
        faulty: dict[str, Any] = {"operation": kind.operation("Get"), "path_contains": jobs["faulty"]}
        for fault in TEN_FAULTS:
            local.add_fault(times=1, **faulty, **fault)
        patch.setenv("OMICS_TEST_JOBS", json.dumps(jobs))
        home, dags = tmp_path_factory.mktemp("airflow"), Path(__file__).parent / "dags"
        # Lets the scheduler hear of a poke's end before a short interval is over.
        settings: dict[str, Any] = {"workers__min_heartbeat_interval": 1}
        settings |= {"triggerer__job_heartbeat_sec": 1, "triggerer__triggerer_health_check_threshold": 5}
        with RealAirflow(home, dags, connection(local), settings) as airflow:
            yield Run(airflow, world, jobs)


def test_a_wait_survives_ten_transient_faults_in_a_row(run: Run) -> None:
    assert "up_for_reschedule" in run.history["ten_faults"]  # how often, a busy machine does not see
    assert run.history["ten_faults"][-1] == "success"
    assert run.airflow.task_log("ten_faults").count("Nothing is lost; asking again") == 10
    assert run.xcom("ten_faults")["job_id"] == run.jobs["faulty"]


def test_a_failed_job_fails_the_task_without_retries_and_tells_the_next_task(run: Run) -> None:
    assert run.history["failed"][-1] == "failed"
    assert "up_for_retry" not in run.history["failed"]
    assert run.xcom("failed", "failed_job")["status"] == "COMPLETED_WITH_FAILURES"
    assert run.xcom("resubmit") == run.world.read_sets[:1]
    assert "1 of 3 read sets failed" in run.airflow.task_log("failed")


def test_soft_fail_skips(run: Run) -> None:
    assert run.history["skipped"][-1] == "skipped"


def test_poke_mode(run: Run) -> None:
    assert run.history["poked"][-1] == "success"


def test_a_list_from_an_upstream_task_is_waited_for(run: Run) -> None:
    assert "up_for_reschedule" in run.history["several"]
    assert [each["job_id"] for each in run.xcom("several")] == [run.jobs["completed"], run.jobs["later"]]


def test_a_mapped_operator_starts_jobs_that_a_sensor_waits_for(run: Run) -> None:
    summaries = run.xcom("exported")
    assert {each["destination"] for each in summaries} == {"s3://airflow-omics-tests/a/", "s3://airflow-omics-tests/b/"}
    assert all(each["finished"] == run.world.read_sets for each in summaries)


def test_deferred_waits_survive_a_triggerer_that_is_killed(run: Run) -> None:
    assert [
        run.history[task][-1] for task in ("deferred", "deferred_failed", "deferred_skipped", "deferred_export")
    ] == [
        "success",
        "failed",
        "skipped",
        "success",
    ]
    assert "up_for_retry" not in run.history["deferred_failed"]
    assert run.xcom("deferred")["job_id"] == run.jobs["later"]
    assert run.xcom("deferred_failed", "failed_job")["status"] == "COMPLETED_WITH_FAILURES"
    assert "1 of 2 read sets failed" in run.airflow.task_log("deferred_failed")
    assert run.xcom("deferred_export")[0]["finished"] == run.world.read_sets


def test_a_mapped_wait(run: Run) -> None:
    assert [run.history[f"mapped[{index}]"][-1] for index in range(2)] == ["success", "success"]


def test_no_log_has_a_secret(run: Run) -> None:
    logs = {path: path.read_text(errors="replace") for path in run.airflow.home.rglob("*.log*") if path.is_file()}
    assert [path for path, text in logs.items() if secrets_in(text)] == []
    assert any("task_id=ten_faults" in path.parts and run.jobs["store"] in text for path, text in logs.items())
    assert secrets_in(f"Signed with {SECRET}")
