"""How waits end by what becomes of jobs, and what Airflow's own parameters do; errors are in test_sensor_errors.py."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import BUCKET, JOB_SECONDS, ONE_TRY, TaskInstance, World
from versions import AirflowRescheduleException, AirflowSensorTimeout, AirflowSkipException

from airflow_omics._airflow import AirflowFailException
from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsNotFoundError,
    OmicsReadSetJobFailedError,
    OmicsRefusedError,
)
from airflow_omics.jobs import JobStatus, ReadSetJobKind
from airflow_omics.sensors import OmicsReadSetExportJobSensor, OmicsReadSetJobSensor

WAITING = {JobStatus.SUBMITTED, JobStatus.IN_PROGRESS, JobStatus.CANCELLING}


def run(sensor: OmicsReadSetJobSensor, ti: TaskInstance) -> Any:
    return sensor.execute({"ti": ti})


def is_waiting(sensor: OmicsReadSetJobSensor, ti: TaskInstance) -> bool:
    """Look once, and tell whether Airflow would look again."""
    if sensor.mode == "reschedule":
        with pytest.raises(AirflowRescheduleException):
            run(sensor, ti)
        return True
    return not sensor.poke({"ti": ti})


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("status", JobStatus)
def test_every_status_ends_the_wait_as_designed(
    world: World, ti: TaskInstance, kind: Kind, status: JobStatus, mode: str
) -> None:
    job_id = world.job(kind, status)
    assert world.status(kind, job_id) == status
    sensor = world.sensor(kind, job_id, mode=mode)

    if status in WAITING:
        assert is_waiting(sensor, ti)
        assert ti.xcoms == {}
    elif status == JobStatus.COMPLETED:
        summary = run(sensor, ti)
        assert summary["status"] == "COMPLETED"
        assert len(summary["finished"]) == 3
        assert ti.xcoms == {}
    else:
        with pytest.raises(OmicsReadSetJobFailedError) as caught:
            run(sensor, ti)
        assert isinstance(caught.value, AirflowFailException)
        assert [job.job_id for job in caught.value.jobs] == [job_id]
        for part in (kind.word, job_id, world.store_of(kind), status):
            assert part in str(caught.value)
        assert ti.xcoms["failed_job"]["status"] == status


def test_the_summary_of_an_export(world: World, ti: TaskInstance) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED_WITH_FAILURES")
    with pytest.raises(OmicsReadSetJobFailedError) as caught:
        run(world.sensor(ReadSetJobKind.EXPORT, job_id), ti)

    summary = ti.xcoms["failed_job"]
    assert list(summary) == [
        "kind",
        "job_id",
        "sequence_store_id",
        "status",
        "status_message",
        "destination",
        "creation_time",
        "completion_time",
        "finished",
        "failed",
        "unfinished",
    ]
    assert summary["kind"] == "export"
    assert summary["destination"] == f"s3://{BUCKET}/out/"
    assert summary["finished"] == world.read_sets[1:]
    assert summary["failed"] == [{"read_set_id": world.read_sets[0], "message": "Bad reads"}]
    assert summary["unfinished"] == []
    created, completed = (datetime.fromisoformat(summary[f"{each}_time"]) for each in ("creation", "completion"))
    assert (completed - created).total_seconds() == pytest.approx(JOB_SECONDS)
    assert json.loads(json.dumps(summary)) == summary
    assert ti.xcoms["failed_read_set_ids"] == [world.read_sets[0]]
    assert f"1 of 3 read sets failed: {world.read_sets[0]} (Bad reads)" in str(caught.value)


def test_the_summary_of_an_import_names_sources(world: World, ti: TaskInstance) -> None:
    missing = f"s3://{BUCKET}/in/missing.fastq.gz"
    world.sources.insert(1, world.source(missing))
    job_id = world.job(ReadSetJobKind.IMPORT, "COMPLETED")
    summary = run(world.sensor(ReadSetJobKind.IMPORT, job_id, accept_partial_failure=True), ti)

    listed = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"]
    assert summary["finished"] == [each["id"] for each in listed[3:]]
    assert summary["failed"] == [
        {"read_set_id": None, "message": "source1 does not exist or cannot be read.", "source": missing}
    ]
    assert summary["destination"] is None


def test_an_import_under_way_lists_sources_as_unfinished(world: World, ti: TaskInstance) -> None:
    job_id = world.job(ReadSetJobKind.IMPORT, "CANCELLED")
    with pytest.raises(OmicsReadSetJobFailedError, match="2 of 3 read sets were never finished"):
        run(world.sensor(ReadSetJobKind.IMPORT, job_id), ti)
    assert ti.xcoms["failed_job"]["unfinished"] == world.names(ReadSetJobKind.IMPORT)[1:]
    assert ti.xcoms["failed_read_set_ids"] == []


def test_accept_partial_failure_lets_only_partial_failure_succeed(world: World, ti: TaskInstance, kind: Kind) -> None:
    partial = world.job(kind, "COMPLETED_WITH_FAILURES")
    summary = run(world.sensor(kind, partial, accept_partial_failure=True), ti)
    assert (len(summary["failed"]), len(summary["finished"])) == (1, 2)
    for status in ("FAILED", "CANCELLED"):
        with pytest.raises(OmicsReadSetJobFailedError):
            run(world.sensor(kind, world.job(kind, status), accept_partial_failure=True), ti)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_response_without_items_is_judged_by_its_status(
    world: World, ti: TaskInstance, kind: Kind, mode: str
) -> None:
    job_id = world.job(kind, "COMPLETED")
    world.local.add_fault(operation=kind.operation("Get"), response={kind.items_key: None})
    sensor = world.sensor(kind, job_id, mode=mode)
    assert run(sensor, ti)["finished"] == []
    world.local.clear_faults()
    world.local.add_fault(operation=kind.operation("Get"), response={kind.items_key: None, "status": "FAILED"})
    with pytest.raises(OmicsReadSetJobFailedError, match=f"AWS sent no details of its {kind.item}s"):
        run(sensor, ti)


def test_many_failures_are_all_named_the_first_with_their_messages(world: World, ti: TaskInstance) -> None:
    items = [{"id": f"20000000{n:02}", "status": "FAILED", "statusMessage": "Bad reads"} for n in range(12)]
    job_id = world.job(ReadSetJobKind.EXPORT, "FAILED")
    world.local.add_fault(operation="GetReadSetExportJob", response={"readSets": items})
    with pytest.raises(OmicsReadSetJobFailedError) as caught:
        run(world.sensor(ReadSetJobKind.EXPORT, job_id), ti)
    assert str(caught.value).count("(Bad reads)") == 5
    assert all(item["id"] in str(caught.value) for item in items)


# --- several jobs


def test_several_jobs_are_waited_for_until_all_are_over(world: World, ti: TaskInstance, kind: Kind) -> None:
    done, failed, running = (world.job(kind, status) for status in ("COMPLETED", "FAILED", "IN_PROGRESS"))
    sensor = world.sensor(kind, [running, failed, done, running])
    assert is_waiting(sensor, ti)
    assert ti.xcoms == {}

    world.local.advance(JOB_SECONDS)
    with pytest.raises(OmicsReadSetJobFailedError) as caught:
        run(sensor, ti)
    assert [job.job_id for job in caught.value.jobs] == [failed]
    assert [each["job_id"] for each in ti.xcoms["failed_job"]] == [running, failed, done, running]


def test_several_jobs_return_summaries_in_the_order_given(world: World, ti: TaskInstance) -> None:
    jobs = [world.job(ReadSetJobKind.EXPORT, "COMPLETED") for _ in range(3)]
    summaries = run(world.sensor(ReadSetJobKind.EXPORT, jobs[::-1]), ti)
    assert [each["job_id"] for each in summaries] == jobs[::-1]
    assert isinstance(run(world.sensor(ReadSetJobKind.EXPORT, jobs[:1]), ti), list)


def test_every_failed_read_set_of_every_failed_job_is_named(world: World, ti: TaskInstance) -> None:
    jobs = [world.job(ReadSetJobKind.EXPORT, status) for status in ("FAILED", "COMPLETED_WITH_FAILURES")]
    with pytest.raises(OmicsReadSetJobFailedError) as caught:
        run(world.sensor(ReadSetJobKind.EXPORT, jobs), ti)
    assert ti.xcoms["failed_read_set_ids"] == world.read_sets
    for job_id in jobs:
        assert job_id in str(caught.value)


# --- what Airflow's own parameters do


def test_a_wait_times_out_in_both_modes(world: World) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "IN_PROGRESS")
    long_ago = TaskInstance(datetime.now(UTC) - timedelta(hours=2))
    for mode, timeout in (("reschedule", 3600), ("reschedule", timedelta(hours=1)), ("poke", 0)):
        sensor = world.sensor(ReadSetJobKind.EXPORT, job_id, mode=mode, timeout=timeout)
        with pytest.raises(AirflowSensorTimeout):
            run(sensor, long_ago)
    patient = world.sensor(ReadSetJobKind.EXPORT, job_id, timeout=timedelta(hours=3))
    assert is_waiting(patient, long_ago)


def test_the_timeout_bounds_transient_errors(world: World) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(error="ThrottlingException")
    long_ago = TaskInstance(datetime.now(UTC) - timedelta(hours=2))
    with pytest.raises(AirflowSensorTimeout):
        run(world.sensor(ReadSetJobKind.EXPORT, job_id, timeout=3600, botocore_config=ONE_TRY), long_ago)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize("ending", ["failed", "refused", "timeout"])
def test_soft_fail_skips(world: World, ending: str, mode: str) -> None:
    ti = TaskInstance(datetime.now(UTC) - timedelta(hours=2))
    job_id = world.job(ReadSetJobKind.EXPORT, "FAILED" if ending == "failed" else "IN_PROGRESS")
    if ending == "refused":
        world.local.add_fault(error="AccessDeniedException")
    with pytest.raises(AirflowSkipException):
        run(world.sensor(ReadSetJobKind.EXPORT, job_id, mode=mode, soft_fail=True, timeout=0), ti)
    assert ("failed_job" in ti.xcoms) == (ending == "failed")


def test_silent_fail_does_not_hide_an_ending(world: World, ti: TaskInstance) -> None:
    failed, running = (world.job(ReadSetJobKind.EXPORT, status) for status in ("FAILED", "IN_PROGRESS"))
    with pytest.raises(OmicsReadSetJobFailedError):
        run(world.sensor(ReadSetJobKind.EXPORT, failed, silent_fail=True), ti)
    world.local.add_fault(response={"status": None}, times=1)
    assert is_waiting(world.sensor(ReadSetJobKind.EXPORT, running, silent_fail=True), ti)
    world.local.add_fault(error="AccessDeniedException")
    with pytest.raises(OmicsRefusedError):
        run(world.sensor(ReadSetJobKind.EXPORT, running, silent_fail=True), ti)


def test_never_fail_skips_whatever_poke_raises(world: World, ti: TaskInstance) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "FAILED")
    for patch in ({}, {"status": None}):
        world.local.add_fault(response=patch, times=1)
        with pytest.raises(AirflowSkipException):
            run(world.sensor(ReadSetJobKind.EXPORT, job_id, never_fail=True), ti)


def test_the_interval_may_be_a_timedelta_and_back_off(world: World, ti: TaskInstance) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "IN_PROGRESS")

    def next_look(**arguments: Any) -> float:
        with pytest.raises(AirflowRescheduleException) as caught:
            run(world.sensor(ReadSetJobKind.EXPORT, job_id, **arguments), ti)
        return (caught.value.reschedule_date - datetime.now(UTC)).total_seconds()

    assert next_look() == pytest.approx(60, abs=2)
    assert next_look(poke_interval=timedelta(minutes=3)) == pytest.approx(180, abs=2)
    assert 28 < next_look(exponential_backoff=True) <= 60
    assert next_look(exponential_backoff=True, poke_interval=600, max_wait=timedelta(seconds=90)) == pytest.approx(
        90, abs=2
    )


@pytest.mark.parametrize(
    ("arguments", "warns"),
    [
        ({"poke_interval": 5}, True),
        ({"poke_interval": timedelta(seconds=9)}, True),
        ({"poke_interval": 15, "exponential_backoff": True}, True),
        ({"poke_interval": 60, "exponential_backoff": True, "max_wait": 3}, True),
        ({"poke_interval": 60, "exponential_backoff": True}, False),
        ({"poke_interval": 10}, False),
        ({"poke_interval": 5, "mode": "poke"}, False),
    ],
    ids=str,
)
def test_a_short_interval_in_reschedule_mode_warns(arguments: dict[str, Any], warns: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        OmicsReadSetExportJobSensor(task_id="wait", sequence_store_id="1234567890", job_id="1234567890", **arguments)
    found = [(w.filename, "queued again before" in str(w.message)) for w in caught]
    assert found == ([(__file__, True)] if warns else [])


# --- what is logged


def test_each_poke_logs_one_line_that_a_person_can_follow(
    world: World, ti: TaskInstance, logs: Callable[[], list[str]]
) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "IN_PROGRESS")
    assert is_waiting(world.sensor(ReadSetJobKind.EXPORT, job_id), ti)
    (line,) = {line for line in logs() if job_id in line}
    assert (
        f"export job {job_id} in sequence store {world.store}: IN_PROGRESS, "
        "1 of 3 read sets finished, 0 failed, 2 open (The job is currently in progress.)"
    ) in line


# --- arguments


def test_arguments_rendered_to_nonsense_fail_before_any_call(world: World, ti: TaskInstance) -> None:
    before = len(world.local.calls())
    sensor = world.sensor(ReadSetJobKind.EXPORT, "{{ anything }}", sequence_store_id="{{ anything }}")
    sensor.sequence_store_id, sensor.job_id = world.store, "None"
    with pytest.raises(OmicsArgumentError, match="job_id is 'None'"):
        run(sensor, ti)
    sensor.sequence_store_id, sensor.job_id = "mine", "1234567890"
    with pytest.raises(OmicsArgumentError, match="sequence_store_id is 'mine'"):
        run(sensor, ti)
    assert len(world.local.calls()) == before


def test_the_aws_parameters_and_ids_are_templated() -> None:
    expected = {"sequence_store_id", "job_id", "aws_conn_id", "region_name", "verify", "botocore_config"}
    assert set(OmicsReadSetExportJobSensor.template_fields) == expected


def test_reschedule_is_the_default() -> None:
    sensor = OmicsReadSetExportJobSensor(task_id="wait", sequence_store_id="1234567890", job_id="1234567890")
    assert (sensor.mode, sensor.poke_interval) == ("reschedule", 60)


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_job_that_is_not_found_pushes_nothing(world: World, ti: TaskInstance, kind: Kind, mode: str) -> None:
    with pytest.raises(OmicsNotFoundError):
        run(world.sensor(kind, "9999999999", mode=mode), ti)
    assert ti.xcoms == {}
