"""A hundred deferred tasks under a real scheduler, whose triggerer is killed twice while AWS throttles."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import JOB_SECONDS, World
from real_airflow import RealAirflow

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics

EXPORT = ReadSetJobKind.EXPORT
DAG = "many"
ENDINGS = {"COMPLETED": 60, "COMPLETED_WITH_FAILURES": 20, "FAILED": 15, "CANCELLED": 5}
QUICK = {
    "workers__min_heartbeat_interval": 1,
    "triggerer__job_heartbeat_sec": 1,
    "triggerer__triggerer_health_check_threshold": 5,
    "omics__calls_per_second": 4,
}


def start(world: World, status: str) -> str:
    """Start a job that will end with a status; the read sets that fail are its own."""
    failing = {"FAILED": 2, "COMPLETED_WITH_FAILURES": 1}.get(status, 0)
    read_sets = world.local.add_read_sets(world.store, 2)
    world.local.fail_read_sets(read_sets[:failing], "Torn")
    return world.start(EXPORT, read_sets)


def test_a_hundred_deferred_tasks_survive_a_killed_triggerer_and_throttling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalHealthOmics() as local:
        world = World(local)
        jobs = {start(world, status): status for status, count in ENDINGS.items() for _ in range(count)}
        local.advance(JOB_SECONDS / 4)
        local.configure(calls_per_second=5)
        local.add_fault(error="ThrottlingException", rate=0.3)
        monkeypatch.setenv("OMICS_TEST_JOBS", json.dumps({"store": world.store, "ids": list(jobs)}))
        with RealAirflow(tmp_path, Path(__file__).parent / "dags", local.connection, QUICK) as airflow:
            run = airflow.trigger(DAG)
            states: dict[str, str] = {}
            history: dict[str, list[str]] = {}
            kills = 0
            for task, state in airflow.watch(DAG, run, seconds=900):
                states[task] = state
                history.setdefault(task, []).append(state)
                deferred = sum(each == "deferred" for each in states.values())
                if (kills == 0 and deferred >= 40) or (kills == 1 and deferred >= 100):
                    airflow.kill_and_restart("triggerer")
                    kills += 1
                    if kills == 2:
                        for job_id, status in jobs.items():
                            if status == "CANCELLED":
                                local.cancel_job(job_id)
                        local.advance(2 * JOB_SECONDS)
            told: dict[str, Any] = {}
            for index, (job_id, status) in enumerate(jobs.items()):
                key = "return_value" if status == "COMPLETED" else "failed_job"
                told[job_id] = airflow.xcom(DAG, run, "wait", key, map_index=index)
            logs = airflow.task_log("wait")
            triggerer = airflow.component_log("triggerer")

        assert kills == 2
        ended = Counter(state for task, state in states.items() if task.startswith("wait["))
        assert ended == {"success": 60, "failed": 40}
        assert {job_id: each["status"] for job_id, each in told.items()} == jobs
        assert all(history[f"wait[{index}]"].count("success") <= 1 for index in range(100))
        assert not re.search(r"blocked for|async thread was blocked", triggerer + logs)
        gets = Counter(call["parameters"]["id"] for call in local.calls() if call["operation"] == "GetReadSetExportJob")
        print(f"Get calls a job: {sum(gets.values()) / len(jobs):.1f}; calls: {local.call_counts()}")
