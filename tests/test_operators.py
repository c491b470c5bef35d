"""Starting jobs: any number of read sets, once each, with what goes wrong in between."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

import pytest
from conftest import BUCKET, ROLE, TaskInstance, World

from airflow_omics.compat import AirflowException
from airflow_omics.exceptions import OmicsArgumentError, OmicsReadSetJobFailedError, OmicsRefusedError
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator,
    OmicsStartReadSetExportJobOperator,
    OmicsStartReadSetImportJobOperator,
    OmicsStartReadSetJobOperator,
)

OPERATORS = {
    ReadSetJobKind.EXPORT: OmicsStartReadSetExportJobOperator,
    ReadSetJobKind.ACTIVATION: OmicsStartReadSetActivationJobOperator,
    ReadSetJobKind.IMPORT: OmicsStartReadSetImportJobOperator,
}
ONE_TRY = {"retries": {"total_max_attempts": 1}}
DESTINATION = f"s3://{BUCKET}/out/"


@pytest.fixture
def fast(world: World) -> World:
    """A world whose jobs are over at the next look."""
    world.local.configure(job_seconds=0, max_concurrent_jobs={"export": 5, "activation": 25, "import": 5})
    return world


def operator(world: World, kind: ReadSetJobKind, items: Any, **arguments: Any) -> OmicsStartReadSetJobOperator:
    by_kind: dict[ReadSetJobKind, dict[str, Any]] = {
        ReadSetJobKind.EXPORT: {"read_set_ids": items, "destination": DESTINATION, "role_arn": ROLE},
        ReadSetJobKind.ACTIVATION: {"read_set_ids": items},
        ReadSetJobKind.IMPORT: {"sources": items, "role_arn": ROLE},
    }
    common: dict[str, Any] = {"task_id": "start", "sequence_store_id": world.store, "poll_interval": 0.05}
    return OPERATORS[kind](**{**common, **by_kind[kind], **arguments})


def run(started: OmicsStartReadSetJobOperator, ti: TaskInstance, try_number: int = 1) -> Any:
    ti.try_number = try_number
    return started.execute({"ti": ti})


def processed(world: World, kind: ReadSetJobKind) -> Counter[str]:
    """Count, for every read set, the jobs that processed it with success."""
    counts: Counter[str] = Counter()
    listed = getattr(world.omics, f"list_read_set_{kind.value}_jobs")(sequenceStoreId=world.store)[f"{kind.value}Jobs"]
    for each in listed:
        job = getattr(world.omics, f"get_read_set_{kind.value}_job")(sequenceStoreId=world.store, id=each["id"])
        counts.update(item[kind.item_id_key] for item in job[kind.items_key] if item["status"] == "FINISHED")
    return counts


@pytest.mark.parametrize(
    ("kind", "count", "sizes"),
    [
        (ReadSetJobKind.ACTIVATION, 1, [1]),
        (ReadSetJobKind.ACTIVATION, 20, [20]),
        (ReadSetJobKind.ACTIVATION, 21, [20, 1]),
        (ReadSetJobKind.ACTIVATION, 1000, [20] * 50),
        (ReadSetJobKind.EXPORT, 100, [100]),
        (ReadSetJobKind.EXPORT, 101, [100, 1]),
        pytest.param(ReadSetJobKind.EXPORT, 1000, [100] * 10, marks=pytest.mark.large),
    ],
    ids=str,
)
def test_any_number_of_read_sets(
    fast: World, ti: TaskInstance, kind: ReadSetJobKind, count: int, sizes: list[int]
) -> None:
    read_sets = fast.local.add_read_sets(
        fast.store, count, "ARCHIVED" if kind is ReadSetJobKind.ACTIVATION else "ACTIVE"
    )
    summaries = run(operator(fast, kind, read_sets + read_sets[:1]), ti)
    assert [len(each["finished"]) for each in summaries] == sizes
    assert processed(fast, kind) == dict.fromkeys(read_sets, 1)


def test_an_import_of_101_sources(fast: World, ti: TaskInstance) -> None:
    sources = [{**fast.sources[0], "name": f"name {number}"} for number in range(101)]
    summaries = run(operator(fast, ReadSetJobKind.IMPORT, [*sources, sources[0]]), ti)
    assert [len(each["finished"]) for each in summaries] == [100, 1]


def test_without_waiting_the_result_is_a_sensors_job_id(world: World, ti: TaskInstance) -> None:
    world.local.add_read_sets(world.store, 21)
    listed = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"]
    ids = run(operator(world, ReadSetJobKind.EXPORT, [each["id"] for each in listed], wait_for_completion=False), ti)
    assert not world.sensor(ReadSetJobKind.EXPORT, ids, mode="poke").poke({"ti": ti})
    world.local.advance(10_000)
    assert world.sensor(ReadSetJobKind.EXPORT, ids, mode="poke").poke({"ti": ti})


@pytest.mark.large
def test_never_more_jobs_at_once_than_allowed(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    world.local.configure(job_seconds=0.3, max_concurrent_jobs={"activation": 2})
    run(operator(world, ReadSetJobKind.ACTIVATION, read_sets, max_concurrent_jobs=2, botocore_config=ONE_TRY), ti)
    errors = [call["error"] for call in world.local.calls() if call["operation"] == "StartReadSetActivationJob"]
    assert errors == [None] * 5


def test_somebody_elses_jobs_take_the_whole_quota_for_a_while(world: World, ti: TaskInstance) -> None:
    world.local.configure(job_seconds=1, max_concurrent_jobs={"export": 2})
    others = [world.start(ReadSetJobKind.EXPORT, world.read_sets[:1]) for _ in range(2)]
    (summary,) = run(operator(world, ReadSetJobKind.EXPORT, world.read_sets, botocore_config=ONE_TRY), ti)
    assert summary["job_id"] not in others
    assert summary["finished"] == world.read_sets
    errors = Counter(call["error"] for call in world.local.calls() if call["operation"] == "StartReadSetExportJob")
    assert errors["ServiceQuotaExceededException"] > 0


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "ThrottlingException"},
        {"error": "InternalServerException"},
        {"error": "RequestTimeoutException"},
        {"action": "reset"},
        {"action": "garbage"},
    ],
    ids=str,
)
def test_transient_errors_are_waited_out_and_start_nothing_twice(
    fast: World, ti: TaskInstance, kind: ReadSetJobKind, fault: dict[str, Any]
) -> None:
    fast.local.archive_read_sets() if kind is ReadSetJobKind.ACTIVATION else None
    fast.local.add_fault(rate=0.4, **fault)
    items = fast.sources if kind is ReadSetJobKind.IMPORT else fast.read_sets
    (summary,) = run(operator(fast, kind, items, botocore_config=ONE_TRY), ti)
    assert len(summary["finished"]) == 3
    fast.local.clear_faults()
    listed = getattr(fast.omics, f"list_read_set_{kind.value}_jobs")(sequenceStoreId=fast.store)[f"{kind.value}Jobs"]
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
    (summary,) = run(operator(fast, ReadSetJobKind.ACTIVATION, fast.read_sets, force=True), ti)
    assert summary["finished"] == fast.read_sets


# --- failures and retries


@pytest.mark.large
@pytest.mark.parametrize("kind", [ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION], ids=str)
def test_three_of_500_fail_and_the_retry_submits_exactly_those(fast: World, kind: ReadSetJobKind) -> None:
    status = "ARCHIVED" if kind is ReadSetJobKind.ACTIVATION else "ACTIVE"
    read_sets = fast.local.add_read_sets(fast.store, 500, status)
    bad = [read_sets[3], read_sets[250], read_sets[499]]
    fast.local.fail_read_sets(bad, "Torn")
    ti = TaskInstance()
    with pytest.raises(OmicsReadSetJobFailedError) as caught:
        run(operator(fast, kind, read_sets), ti)
    assert all(f"{each} (Torn)" in str(caught.value) for each in bad)
    assert ti.xcoms["failed_read_set_ids"] == bad
    assert len(ti.xcoms["failed_job"]) == -(-500 // kind.max_read_sets)

    fast.local.clear_faults()
    first = {each["job_id"] for each in ti.xcoms["failed_job"]}
    again = [each for each in run(operator(fast, kind, read_sets), ti, try_number=2) if each["job_id"] not in first]
    assert sorted(read_set for each in again for read_set in each["finished"]) == bad
    assert all(each["failed"] == each["unfinished"] == [] for each in again)
    assert processed(fast, kind) == dict.fromkeys(read_sets, 1)


@pytest.mark.parametrize("status", ["FAILED", "CANCELLED"])
def test_a_retry_after_a_job_that_failed_starts_a_new_one(world: World, ti: TaskInstance, status: str) -> None:
    started = operator(world, ReadSetJobKind.EXPORT, world.read_sets, wait_for_completion=False)
    (first,) = run(started, ti)
    if status == "FAILED":
        world.local.fail_read_sets(world.read_sets, "Torn")
    else:
        world.local.cancel_job(first)
    world.local.advance(10_000)
    world.local.clear_faults()
    (second,) = run(started, ti, try_number=2)
    assert second != first
    assert world.status(ReadSetJobKind.EXPORT, first) == status
    (found,) = run(started, ti, try_number=3)
    assert found == second
    world.local.cancel_job(second)
    world.local.advance(10_000)
    (third,) = run(started, ti, try_number=4)
    assert third not in (first, second)


def test_a_retry_finds_what_is_running_or_has_succeeded(world: World, ti: TaskInstance, kind: ReadSetJobKind) -> None:
    world.local.archive_read_sets() if kind is ReadSetJobKind.ACTIVATION else None
    items = world.sources if kind is ReadSetJobKind.IMPORT else world.read_sets
    started = operator(world, kind, items, wait_for_completion=False)
    (first,) = run(started, ti)
    assert run(started, ti, try_number=2) == [first]
    world.local.advance(10_000)
    found = [] if kind is ReadSetJobKind.ACTIVATION else [first]  # what is active needs no job
    assert [each["job_id"] for each in run(operator(world, kind, items), ti, try_number=3)] == found
    assert set(processed(world, kind).values()) == {1}


def test_a_retry_returns_the_ids_of_all_jobs_that_are_under_way(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, 100, "ARCHIVED")
    started = operator(world, ReadSetJobKind.ACTIVATION, read_sets, wait_for_completion=False)
    first = run(started, ti)
    assert len(first) == 5
    assert sorted(run(started, ti, try_number=2)) == sorted(first)


def test_the_retry_of_an_import_submits_exactly_the_sources_that_failed(fast: World) -> None:
    bad = fast.sources[1]["sourceFiles"]["source1"]
    fast.local.fail_read_sets([bad], "Torn")
    ti = TaskInstance()
    with pytest.raises(OmicsReadSetJobFailedError, match="Torn"):
        run(operator(fast, ReadSetJobKind.IMPORT, fast.sources), ti)
    fast.local.clear_faults()
    first, second = run(operator(fast, ReadSetJobKind.IMPORT, fast.sources), ti, try_number=2)
    assert [each["source"] for each in first["failed"]] == [bad]
    job = fast.omics.get_read_set_import_job(sequenceStoreId=fast.store, id=second["job_id"])
    assert [(each["sourceFiles"]["source1"], each["status"]) for each in job["sources"]] == [(bad, "FINISHED")]


def test_other_runs_tasks_and_map_indexes_start_jobs_of_their_own(fast: World) -> None:
    jobs = set()
    for name, value in (("run_id", "a"), ("run_id", "b"), ("dag_id", "c"), ("task_id", "d"), ("map_index", 5)):
        ti = TaskInstance()
        setattr(ti, name, value)
        jobs |= {each["job_id"] for each in run(operator(fast, ReadSetJobKind.EXPORT, fast.read_sets), ti)}
    assert len(jobs) == 5


def test_a_client_token_of_ones_own_joins_runs(fast: World) -> None:
    jobs = set()
    for run_id in ("a", "b"):
        ti = TaskInstance()
        ti.run_id = run_id
        started = operator(fast, ReadSetJobKind.EXPORT, fast.read_sets, client_token="delivery 7")
        jobs |= {each["job_id"] for each in run(started, ti)}
    assert len(jobs) == 1


def test_accept_partial_failure(fast: World, ti: TaskInstance) -> None:
    fast.local.fail_read_sets(fast.read_sets[:1], "Torn")
    started = operator(fast, ReadSetJobKind.EXPORT, fast.read_sets, accept_partial_failure=True)
    (summary,) = run(started, ti)
    assert [each["read_set_id"] for each in summary["failed"]] == fast.read_sets[:1]


@pytest.mark.parametrize("timeout", [0.3, timedelta(seconds=0.3)], ids=str)
def test_a_timeout_names_the_jobs_that_go_on(world: World, ti: TaskInstance, timeout: Any) -> None:
    with pytest.raises(AirflowException, match="These jobs go on at AWS") as caught:
        run(operator(world, ReadSetJobKind.EXPORT, world.read_sets, timeout=timeout), ti)
    (job,) = world.omics.list_read_set_export_jobs(sequenceStoreId=world.store)["exportJobs"]
    assert job["id"] in str(caught.value)


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


# --- killed


def in_a_process(started: OmicsStartReadSetJobOperator, try_number: int) -> Any:
    """Run an operator in a process of its own: a fork, as Airflow's workers are."""
    process = get_context("fork").Process(target=run, args=(started, TaskInstance(), try_number))
    process.start()
    return process


@pytest.mark.parametrize("force", [False, True], ids=["skipping", "forced"])
@pytest.mark.parametrize(
    ("operation", "number"),
    [
        ("before", 1),  # the first Start is on its way, and never answered
        ("before", 2),
        ("StartReadSetActivationJob", 1),  # right after so many were answered
        ("StartReadSetActivationJob", 2),
        ("StartReadSetActivationJob", 3),
        ("GetReadSetActivationJob", 1),
        ("GetReadSetActivationJob", 4),
        ("GetReadSetActivationJob", 9),
    ],
    ids=str,
)
def test_a_killed_process_leaves_every_read_set_to_exactly_one_job(
    world: World, force: bool, operation: str, number: int
) -> None:
    world.local.configure(job_seconds=0.3, max_concurrent_jobs={"activation": 2})
    read_sets = world.local.add_read_sets(world.store, 50, "ARCHIVED")
    started = operator(
        world, ReadSetJobKind.ACTIVATION, read_sets, max_concurrent_jobs=2, force=force, botocore_config=ONE_TRY
    )
    if operation == "before":
        operation = "StartReadSetActivationJob"
        if number > 1:
            world.local.add_fault(operation=operation, delay=0, times=number - 1)
        world.local.add_fault(operation=operation, action="hang", times=1)

    first = in_a_process(started, 1)
    while first.is_alive() and world.local.call_counts().get(operation, 0) < number:
        time.sleep(0.002)
    first.kill()
    first.join()
    second = in_a_process(started, 2)
    second.join(30)

    assert second.exitcode == 0
    assert processed(world, ReadSetJobKind.ACTIVATION) == dict.fromkeys(read_sets, 1)
    jobs = world.omics.list_read_set_activation_jobs(sequenceStoreId=world.store)["activationJobs"]
    assert [each["status"] for each in jobs] == ["COMPLETED"] * 3


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
def test_bad_input_is_found_at_parse_time(kind: ReadSetJobKind, arguments: dict[str, Any], named: str) -> None:
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
    lines = [line for line in logs() if "waiting for room" in line]
    assert re.search(r"\d+ of 21 read sets finished, 0 failed, \d+ open; 1 jobs running, 1 waiting for room", lines[0])
    assert "21 of 21 read sets finished, 0 failed, 0 open; 0 jobs running, 0 waiting for room" in lines[-1]
