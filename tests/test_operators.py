"""Starting jobs: any number of read sets, once each, with what goes wrong in between."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from conftest import BUCKET, FAULTS_THAT_PASS, JOB_SECONDS, ONE_TRY, PATIENCE, ROLE, TaskInstance, World
from starting import DESTINATION, OPERATORS, operator, processed, run

from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import OmicsArgumentError, OmicsRefusedError
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator,
    OmicsStartReadSetExportJobOperator,
    OmicsStartReadSetImportJobOperator,
)


@pytest.mark.parametrize(
    ("kind", "count", "sizes"),
    [
        (ReadSetJobKind.ACTIVATION, 1, [1]),
        (ReadSetJobKind.ACTIVATION, 20, [20]),
        (ReadSetJobKind.ACTIVATION, 21, [20, 1]),
        (ReadSetJobKind.ACTIVATION, 1000, [20] * 50),
        (ReadSetJobKind.EXPORT, 100, [100]),
        (ReadSetJobKind.EXPORT, 101, [100, 1]),
        pytest.param(ReadSetJobKind.EXPORT, 1000, [100] * 10, marks=pytest.mark.thorough),
    ],
    ids=str,
)
def test_any_number_of_read_sets(fast: World, ti: TaskInstance, kind: Kind, count: int, sizes: list[int]) -> None:
    read_sets = fast.local.add_read_sets(
        fast.store, count, "ARCHIVED" if kind is ReadSetJobKind.ACTIVATION else "ACTIVE"
    )
    summaries = run(operator(fast, kind, read_sets + read_sets[:1]), ti)
    assert [len(each["finished"]) for each in summaries] == sizes
    assert processed(fast, kind) == dict.fromkeys(read_sets, 1)


def test_an_import_of_101_sources(fast: World, ti: TaskInstance) -> None:
    sources = [{**fast.sources[0], "sampleId": f"sample {number}"} for number in range(101)]
    summaries = run(operator(fast, ReadSetJobKind.IMPORT, sources), ti)
    assert [len(each["finished"]) for each in summaries] == [100, 1]


def test_without_waiting_the_result_is_a_sensors_job_id(world: World, ti: TaskInstance) -> None:
    world.local.add_read_sets(world.store, 21)
    listed = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"]
    ids = run(operator(world, ReadSetJobKind.EXPORT, [each["id"] for each in listed], wait_for_completion=False), ti)
    assert not world.sensor(ReadSetJobKind.EXPORT, ids, mode="poke").poke({"ti": ti})
    world.local.advance(10_000)
    assert world.sensor(ReadSetJobKind.EXPORT, ids, mode="poke").poke({"ti": ti})


@pytest.mark.thorough
def test_never_more_jobs_at_once_than_allowed(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    world.local.configure(job_seconds=0.3, max_concurrent_jobs={"activation": 2})
    run(operator(world, ReadSetJobKind.ACTIVATION, read_sets, max_concurrent_jobs=2, botocore_config=ONE_TRY), ti)
    errors = [call["error"] for call in world.local.calls() if call["operation"] == "StartReadSetActivationJob"]
    assert errors == [None] * 5


def test_somebody_elses_jobs_take_the_whole_quota_for_a_while(world: World, ti: TaskInstance) -> None:
    world.local.configure(max_concurrent_jobs={"export": 2})
    others = [world.start(ReadSetJobKind.EXPORT, world.read_sets[:1]) for _ in range(2)]

    def make_room_when_it_was_needed() -> None:
        deadline = time.monotonic() + PATIENCE
        while "ServiceQuotaExceededException" not in [call["error"] for call in world.local.calls()]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        world.local.configure(job_seconds=0)
        world.local.advance(JOB_SECONDS)

    with ThreadPoolExecutor() as pool:
        made_room = pool.submit(make_room_when_it_was_needed)
        started = operator(world, ReadSetJobKind.EXPORT, world.read_sets, botocore_config=ONE_TRY, timeout=PATIENCE)
        (summary,) = run(started, ti)
        made_room.result()
    assert summary["job_id"] not in others
    assert summary["finished"] == world.read_sets


@pytest.mark.parametrize("fault", FAULTS_THAT_PASS, ids=str)
def test_transient_errors_are_waited_out_and_start_nothing_twice(
    fast: World, ti: TaskInstance, kind: Kind, fault: dict[str, Any]
) -> None:
    fast.local.archive_read_sets() if kind is ReadSetJobKind.ACTIVATION else None
    fast.local.add_fault(rate=0.4, **fault)
    items = fast.items(kind)
    (summary,) = run(operator(fast, kind, items, botocore_config=ONE_TRY), ti)
    assert len(summary["finished"]) == 3
    fast.local.clear_faults()
    listed = fast.call(kind, "List")[kind.listed_as]
    assert len(listed) == 1


def test_a_refusal_ends_the_task_at_once(fast: World, ti: TaskInstance) -> None:
    fast.local.add_fault(operation="StartReadSetExportJob", error="AccessDeniedException")
    with pytest.raises(OmicsRefusedError, match="omics:StartReadSetExportJob"):
        run(operator(fast, ReadSetJobKind.EXPORT, fast.read_sets), ti)


def test_many_jobs_are_watched_with_two_lists_a_round(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 200, "ARCHIVED")
    world.local.configure(job_seconds=1.5)
    run(operator(world, ReadSetJobKind.ACTIVATION, read_sets, poll_interval=0.2), ti)
    counts = world.local.call_counts()
    assert counts["GetReadSetActivationJob"] < 2 * 10  # once each when it is over, and a few at the end
    assert processed(world, ReadSetJobKind.ACTIVATION) == dict.fromkeys(read_sets, 1)


def test_without_permission_to_list_jobs_each_is_asked_for(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    world.local.configure(job_seconds=0.3)
    world.local.add_fault(operation="ListReadSetActivationJobs", error="AccessDeniedException")
    assert len(run(operator(world, ReadSetJobKind.ACTIVATION, read_sets), ti)) == 5


# --- what is active already


def test_activation_skips_what_is_active(fast: World, ti: TaskInstance) -> None:
    fast.local.archive_read_sets(fast.read_sets[1:])
    (summary,) = run(operator(fast, ReadSetJobKind.ACTIVATION, fast.read_sets), ti)
    assert summary["finished"] == fast.read_sets[1:]
    assert run(operator(fast, ReadSetJobKind.ACTIVATION, fast.read_sets), ti) == []


# --- links


@pytest.mark.parametrize(
    ("region", "domain"), [("eu-west-2", "aws.amazon.com"), ("us-gov-west-1", "amazonaws-us-gov.com")], ids=str
)
def test_links_are_there_while_the_task_runs_and_when_it_failed(
    fast: World, ti: TaskInstance, region: str, domain: str
) -> None:
    fast.local.add_fault(operation="StartReadSetExportJob", error="AccessDeniedException")
    started = operator(fast, ReadSetJobKind.EXPORT, fast.read_sets, region_name=region, do_xcom_push=False)
    with pytest.raises(OmicsRefusedError):
        run(started, ti)
    for link, url in zip(
        started.operator_extra_links,
        (f"/s3/buckets/{BUCKET}?region={region}&prefix=out/", f"/omics/home?region={region}#/sequenceStore"),
        strict=True,
    ):
        assert link.format_link(**ti.xcoms[link.key]) == f"https://console.{domain}{url}"
        assert ti.xcoms.get(getattr(link, "xcom_key", "")) in (None, f"https://console.{domain}{url}")


# --- arguments


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        (ReadSetJobKind.EXPORT, {"read_set_ids": []}, "read_set_ids is []"),
        (ReadSetJobKind.EXPORT, {"read_set_ids": ["1234567890", "x"]}, "read_set_ids[1] is 'x'"),
        (ReadSetJobKind.EXPORT, {"destination": "s3://Bad_Bucket/x/"}, "destination is 's3://Bad_Bucket/x/'"),
        (ReadSetJobKind.EXPORT, {"destination": "/tmp/x"}, "destination is '/tmp/x'"),
        (ReadSetJobKind.EXPORT, {"role_arn": "HealthOmicsRole"}, "role_arn is 'HealthOmicsRole'"),
        (ReadSetJobKind.ACTIVATION, {"read_set_ids": None}, "read_set_ids is None"),
        (ReadSetJobKind.ACTIVATION, {"max_concurrent_jobs": 0}, "max_concurrent_jobs is 0"),
        (ReadSetJobKind.IMPORT, {"sources": []}, "sources is []"),
        (ReadSetJobKind.IMPORT, {"sources": [{}]}, "sources[0]['subjectId'] is None"),
        (ReadSetJobKind.IMPORT, {"sources": ["s3://bucket/x"]}, "sources[0] is 's3://bucket/x'"),
        (
            ReadSetJobKind.IMPORT,
            {"sources": [World.source("x") | {"sourceFileType": "VCF"}]},
            "sources[0]['sourceFileType']",
        ),
        (
            ReadSetJobKind.IMPORT,
            {"sources": [World.source("/data/x.bam")]},
            "['sourceFiles']['source1'] is '/data/x.bam'",
        ),
    ],
    ids=str,
)
def test_bad_input_is_found_at_parse_time(kind: Kind, arguments: dict[str, Any], named: str) -> None:
    good: dict[ReadSetJobKind, dict[str, Any]] = {
        ReadSetJobKind.EXPORT: {"read_set_ids": ["1234567890"], "destination": DESTINATION, "role_arn": ROLE},
        ReadSetJobKind.ACTIVATION: {"read_set_ids": ["1234567890"]},
        ReadSetJobKind.IMPORT: {"sources": [World.source("s3://bucket/x")], "role_arn": ROLE},
    }
    with pytest.raises(OmicsArgumentError) as caught:
        OPERATORS[kind](task_id="start", sequence_store_id="1234567890", **{**good[kind], **arguments})
    assert named in str(caught.value)


def test_templates_pass_at_parse_time_and_are_checked_before_any_call(fast: World, ti: TaskInstance) -> None:
    started = operator(
        fast, ReadSetJobKind.IMPORT, [{"sourceFiles": {"source1": "{{ params.uri }}"}}], role_arn="{{ x }}"
    )
    started.role_arn = "None"
    before = len(fast.local.calls())
    with pytest.raises(OmicsArgumentError, match="role_arn is 'None'"):
        run(started, ti)
    assert len(fast.local.calls()) == before


def test_a_missing_slash_is_added(fast: World, ti: TaskInstance, logs: Callable[[], list[str]]) -> None:
    (summary,) = run(operator(fast, ReadSetJobKind.EXPORT, fast.read_sets, destination=f"s3://{BUCKET}/out"), ti)
    assert summary["destination"] == DESTINATION
    assert any("insists on a slash" in line for line in logs())


def test_what_a_dag_computes_is_templated() -> None:
    common = {"sequence_store_id", "client_token", "aws_conn_id", "region_name", "verify", "botocore_config"}
    assert set(OmicsStartReadSetExportJobOperator.template_fields) == common | {
        "read_set_ids",
        "destination",
        "role_arn",
    }
    assert set(OmicsStartReadSetActivationJobOperator.template_fields) == common | {"read_set_ids"}
    assert set(OmicsStartReadSetImportJobOperator.template_fields) == common | {"sources", "role_arn"}


def test_progress_is_one_line_a_round(world: World, ti: TaskInstance, logs: Callable[[], list[str]]) -> None:
    world.local.configure(job_seconds=0.3, max_concurrent_jobs={"activation": 1})
    read_sets = world.local.add_read_sets(world.store, 21, "ARCHIVED")
    run(operator(world, ReadSetJobKind.ACTIVATION, read_sets, max_concurrent_jobs=1), ti)
    lines = [line for line in logs() if "to be started" in line]
    assert re.search(r"\d+ of 21 read sets done, 1 to be started, 0 refused; 1 activation jobs running", lines[0])
    assert "21 of 21 read sets done, 0 to be started, 0 refused; 0 activation jobs running" in lines[-1]
