"""The verdict, on its own and over whole histories of a job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import FAULTS_THAT_PASS, ONE_TRY, TaskInstance, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.kinds import READ_SET_JOB_KINDS, parse_kind
from airflow_omics.exceptions import OmicsReadSetJobFailedError
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind

STORE, JOB = "1234567890", "2345678901"
SUCCESS = {JobStatus.COMPLETED}
FAILURE = {JobStatus.FAILED, JobStatus.COMPLETED_WITH_FAILURES, JobStatus.CANCELLED}

unknown_statuses = st.text(min_size=1).filter(lambda text: text not in list(JobStatus))
statuses = st.one_of(st.sampled_from(list(JobStatus)).map(str), unknown_statuses)
items = st.lists(
    st.fixed_dictionaries(
        {"status": st.sampled_from(["NOT_STARTED", "IN_PROGRESS", "FINISHED", "FAILED", "ELSE"])},
        optional={"statusMessage": st.text()},
    )
)


def parse(kind: Kind, response: Any) -> ReadSetJob:
    return ReadSetJob.from_response(kind, response, sequence_store_id=STORE, work_id=JOB)


def named(kind: Kind, drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give drawn items the names that AWS would give them."""
    return [
        {**item, kind.item_id_key: f"{index:010}", "sourceFiles": {"source1": f"s3://bucket/{index}"}}
        for index, item in enumerate(drawn)
    ]


@given(st.sampled_from(READ_SET_JOB_KINDS), statuses, items, st.booleans())
def test_only_the_status_decides_and_items_are_never_lost(
    kind: Kind, status: str, drawn: list[dict[str, Any]], accept: bool
) -> None:
    job = parse(kind, {"status": status, kind.items_key: named(kind, drawn)})
    verdict = job.verdict(accept_partial_failure=accept)
    if status in SUCCESS or (accept and status == JobStatus.COMPLETED_WITH_FAILURES):
        assert verdict is Verdict.SUCCEEDED
    else:
        assert verdict is (Verdict.FAILED if status in FAILURE else Verdict.WAITING)
    assert len(job.finished) + len(job.failed) + len(job.unfinished) == len(drawn)
    assert job.is_status_known == (status in list(JobStatus))
    assert json.loads(json.dumps(job.summary())) == job.summary()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
)


@given(json_values)
def test_nonsense_is_refused_and_never_a_success(value: Any) -> None:
    done = {"status": "COMPLETED"}
    for response in ({"status": value}, done | {"readSets": value}, done | {"id": value}):
        try:
            job = parse(ReadSetJobKind.EXPORT, response)
        except ValueError as error:
            assert any(member in str(error) for member in response)  # noqa: PT017
        else:
            assert job.verdict() is not Verdict.SUCCEEDED or response["status"] == "COMPLETED"


@pytest.fixture
def example(world: World) -> dict[Kind, str]:
    return {kind: world.job(kind, "COMPLETED") for kind in READ_SET_JOB_KINDS}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(READ_SET_JOB_KINDS),
    history=st.lists(st.one_of(statuses, st.sampled_from(FAULTS_THAT_PASS)), min_size=1, max_size=8),
    accept=st.booleans(),
)
def test_a_wait_ends_with_the_first_status_that_is_over_and_as_it_says(
    world: World,
    example: dict[Kind, str],
    sensors: dict[tuple[Kind, bool], Any],
    kind: Kind,
    history: list[str | dict[str, str]],
    accept: bool,
) -> None:
    world.local.clear_faults()
    for answer in history:
        fault: dict[str, Any] = {"response": {"status": answer}} if isinstance(answer, str) else dict(answer)
        world.local.add_fault(operation=kind.operation("Get"), times=1, **fault)
    sensor = sensors[kind, accept]
    for answer in history:
        status = answer if isinstance(answer, str) else ""
        succeeds = status in SUCCESS or (accept and status == JobStatus.COMPLETED_WITH_FAILURES)
        if not succeeds and status in FAILURE:
            with pytest.raises(OmicsReadSetJobFailedError):
                sensor.poke({"ti": TaskInstance()})
            return
        assert bool(sensor.poke({"ti": TaskInstance()})) == succeeds
        if succeeds:
            return


@pytest.fixture
def sensors(world: World, example: dict[Kind, str]) -> dict[tuple[Kind, bool], Any]:
    """Sensors that keep their client from one history to the next."""
    return {
        (kind, accept): world.sensor(kind, job_id, mode="poke", accept_partial_failure=accept, botocore_config=ONE_TRY)
        for kind, job_id in example.items()
        for accept in (False, True)
    }


def test_a_kind_is_found_by_its_word() -> None:
    assert parse_kind("activation") is ReadSetJobKind.ACTIVATION
    assert ReadSetJobKind.IMPORT.operation("Get") == "GetReadSetImportJob"
