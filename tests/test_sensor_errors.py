"""What errors, lags and odd answers of AWS do to a sensor's wait."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import FAULTS_THAT_PASS, JOB_SECONDS, ONE_TRY, TaskInstance, World, through_triggerer, wake
from test_sensors import is_waiting, run
from versions import TaskDeferred

from airflow_omics._airflow import AirflowFailException
from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import OmicsRefusedError, OmicsRequestError, OmicsResponseError
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics


@pytest.mark.thorough
def test_a_long_list_is_seen_whole_in_spite_of_throttling(world: World, ti: TaskInstance) -> None:
    jobs = [world.job(ReadSetJobKind.EXPORT, "COMPLETED") for _ in range(20)]
    world.local.add_fault(operation="GetReadSetExportJob", error="ThrottlingException", rate=0.3)
    sensor = world.sensor(ReadSetJobKind.EXPORT, jobs, mode="poke", botocore_config=ONE_TRY)
    assert sum(bool(sensor.poke({"ti": ti})) for _ in range(5)) >= 3


def test_one_throttled_job_does_not_hide_that_another_does_not_exist(world: World, ti: TaskInstance) -> None:
    throttled, missing = world.job(ReadSetJobKind.EXPORT, "COMPLETED"), "9999999999"
    world.local.add_fault(error="ThrottlingException", path_contains=throttled)
    with pytest.raises(OmicsRefusedError, match=missing):
        run(world.sensor(ReadSetJobKind.EXPORT, [throttled, missing], botocore_config=ONE_TRY), ti)


def test_in_an_outage_a_look_at_a_list_asks_for_three_jobs(world: World, ti: TaskInstance) -> None:
    jobs = [world.job(ReadSetJobKind.EXPORT, "COMPLETED") for _ in range(10)]
    sensor = world.sensor(ReadSetJobKind.EXPORT, jobs, botocore_config=ONE_TRY, mode="poke")
    world.local.add_fault(operation="GetReadSetExportJob", error="InternalServerException")
    assert not sensor.poke({"ti": ti})
    assert world.local.call_counts()["GetReadSetExportJob"] == 3
    world.local.add_fault(operation="ListReadSetExportJobs", error="InternalServerException")
    assert not sensor.poke({"ti": ti})
    assert world.local.call_counts()["GetReadSetExportJob"] == 6


@pytest.mark.thorough
def test_250_jobs_are_not_250_calls_a_look(world: World, ti: TaskInstance) -> None:
    jobs = [world.start(ReadSetJobKind.EXPORT, world.read_sets[:1]) for _ in range(250)]
    sensor = world.sensor(ReadSetJobKind.EXPORT, jobs)
    before = sum(world.local.call_counts().values())
    assert is_waiting(sensor, ti)
    assert sum(world.local.call_counts().values()) - before <= 6
    world.local.advance(JOB_SECONDS)
    last = world.start(ReadSetJobKind.EXPORT)
    sensor.job_id = [*jobs, last]
    before = sum(world.local.call_counts().values())
    assert is_waiting(sensor, ti)  # one job that is not over decides
    assert sum(world.local.call_counts().values()) - before <= 5
    world.local.advance(JOB_SECONDS)
    assert len(run(sensor, ti)) == 251
    assert world.local.call_counts()["GetReadSetExportJob"] <= 251 + 3


def test_a_job_that_does_not_exist_is_found_while_the_others_run(world: World, ti: TaskInstance) -> None:
    jobs = [world.start(ReadSetJobKind.EXPORT) for _ in range(6)]
    with pytest.raises(OmicsRefusedError, match="9999999999"):
        run(world.sensor(ReadSetJobKind.EXPORT, [*jobs, "9999999999"]), ti)


def test_without_permission_to_list_each_job_is_asked_for(world: World, ti: TaskInstance) -> None:
    jobs = [world.job(ReadSetJobKind.EXPORT, "COMPLETED") for _ in range(6)]
    world.local.add_fault(operation="ListReadSetExportJobs", error="AccessDeniedException")
    assert len(run(world.sensor(ReadSetJobKind.EXPORT, jobs), ti)) == 6


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("fault", [*FAULTS_THAT_PASS, {"response": {"status": "PAUSED"}}], ids=str)
def test_what_passes_by_itself_is_waited_out(
    world: World,
    ti: TaskInstance,
    kind: Kind,
    fault: dict[str, Any],
    mode: str,
    logs: Callable[[], list[str]],
) -> None:
    job_id = world.job(kind, "COMPLETED")
    world.local.add_fault(operation=kind.operation("Get"), times=1, **fault)
    sensor = world.sensor(kind, job_id, mode=mode, botocore_config=ONE_TRY)
    assert is_waiting(sensor, ti)
    warnings = [line for line in logs() if job_id in line and "[warning" in line]
    assert ("PAUSED" if "response" in fault else kind.operation("Get")) in warnings[0]
    assert run(sensor, ti)["status"] == "COMPLETED"


@pytest.mark.parametrize("status", [200, 429, 503])
@pytest.mark.parametrize(
    "body", ["", "null", "[]", "5", '"x"', "{", "<p>verf\xfcgbar", '{"creationTime": "soon"}', '{"readSets": "x"}']
)
def test_a_body_that_is_no_answer_of_aws_is_waited_out(world: World, ti: TaskInstance, body: str, status: int) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", action="garbage", body=body, http_status=status)
    assert is_waiting(world.sensor(ReadSetJobKind.EXPORT, job_id, botocore_config=ONE_TRY), ti)


def test_a_server_that_hangs_or_is_gone_is_waited_out(local_healthomics: LocalHealthOmics, ti: TaskInstance) -> None:
    world = World(local_healthomics)
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(action="hang", times=1)
    hasty = world.sensor(ReadSetJobKind.EXPORT, job_id, botocore_config=ONE_TRY | {"read_timeout": 0.3})
    assert is_waiting(hasty, ti)
    world.local.stop()
    assert is_waiting(world.sensor(ReadSetJobKind.EXPORT, job_id, botocore_config=ONE_TRY), ti)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDeniedException", "IAM action omics:{operation}"),
        ("ValidationException", "10 to 36 digits"),
        ("ResourceNotFoundException", "account and region"),
    ],
)
def test_what_never_passes_ends_the_wait_at_once(
    world: World, ti: TaskInstance, kind: Kind, code: str, advice: str, mode: str
) -> None:
    job_id = world.job(kind, "COMPLETED")
    world.local.add_fault(operation=kind.operation("Get"), error=code, message="No way")
    with pytest.raises(OmicsRefusedError) as caught:
        run(world.sensor(kind, job_id, mode=mode), ti)
    assert isinstance(caught.value, AirflowFailException)
    for part in (
        code,
        kind.operation("Get"),
        job_id,
        world.store_of(kind),
        "No way",
        advice.format(operation=kind.operation("Get")),
    ):
        assert part in str(caught.value)


def test_a_job_of_another_kind_or_store_is_not_found(world: World, ti: TaskInstance) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    with pytest.raises(OmicsRefusedError, match="that the job is of this kind"):
        run(world.sensor(ReadSetJobKind.IMPORT, job_id), ti)
    with pytest.raises(OmicsRefusedError, match="sequence store 9999999999"):
        run(world.sensor(ReadSetJobKind.EXPORT, job_id, sequence_store_id="9999999999"), ti)


@pytest.mark.thorough
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_job_may_be_found_only_some_time_after_its_start(
    world: World, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    monkeypatch.setenv("AIRFLOW__OMICS__NOT_FOUND_SECONDS", "20")
    world.local.configure(get_lag=1.5)
    jobs = [world.start(ReadSetJobKind.EXPORT) for _ in range(5)]
    world.local.advance(JOB_SECONDS)
    sensor = world.sensor(ReadSetJobKind.EXPORT, jobs, deferrable=deferrable)
    assert len(through_triggerer(sensor, ti)) == 5


def test_lists_that_lag_behind_end_no_wait_and_hold_none_up(world: World, ti: TaskInstance) -> None:
    world.local.configure(list_lag=1)
    jobs = [world.start(ReadSetJobKind.EXPORT) for _ in range(5)]
    sensor = world.sensor(ReadSetJobKind.EXPORT, jobs, deferrable=True, poke_interval=0.2)
    with pytest.raises(TaskDeferred) as caught:  # not yet listed
        sensor.execute({"ti": ti})
    world.local.advance(JOB_SECONDS)  # still listed
    assert len(wake(sensor, caught.value, ti)) == 5


@pytest.mark.parametrize(
    ("patch", "named"),
    [
        ({"status": None}, "status is missing"),
        ({"status": ["COMPLETED"]}, "status"),
        ({"id": "9999999999"}, "id is '9999999999'"),
        ({"sequenceStoreId": "9999999999"}, "sequenceStoreId is '9999999999'"),
        ({"readSets": [{"status": "FINISHED"}]}, r"readSets\[0\]: id is missing"),
    ],
    ids=str,
)
def test_an_answer_that_is_no_job_is_an_error_and_never_a_success(
    world: World, ti: TaskInstance, patch: dict[str, Any], named: str
) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(response=patch)
    with pytest.raises((OmicsResponseError, OmicsRequestError), match=named) as caught:
        run(world.sensor(ReadSetJobKind.EXPORT, job_id), ti)
    assert not isinstance(caught.value, AirflowFailException)  # Airflow's retries decide
    assert ti.xcoms == {}


def test_credentials_that_expired_are_taken_up_anew_at_the_next_poke(
    world: World, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(error="ExpiredTokenException", http_status=403, access_key="local-healthomics")
    sensor = world.sensor(ReadSetJobKind.EXPORT, job_id, mode="poke")
    assert not sensor.poke({"ti": ti})
    assert not sensor.poke({"ti": ti})
    renewed = world.local.connection | {"login": "renewed"}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(renewed))
    assert sensor.poke({"ti": ti})
