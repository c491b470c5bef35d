"""What local HealthOmics keeps, and what its jobs do; how it is spoken to is in test_local_server.py."""

from __future__ import annotations

from typing import Any

import pytest
import versions
from botocore.exceptions import ClientError
from conftest import BUCKET, JOB_SECONDS, World

from airflow_omics.jobs import ReadSetJobKind


def code(call: Any, **arguments: Any) -> str:
    """Return the error code that a call is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


# --- sequence stores and read sets


def test_a_sequence_store_is_created_listed_and_deleted(world: World) -> None:
    store = world.omics.create_sequence_store(name="genomes", description="All of them")
    assert world.omics.get_sequence_store(id=store["id"])["description"] == "All of them"
    listed = world.omics.list_sequence_stores(filter={"name": "genomes"})["sequenceStores"]
    assert [each["id"] for each in listed] == [store["id"]]
    world.omics.delete_sequence_store(id=store["id"])
    assert code(world.omics.get_sequence_store, id=store["id"]) == "ResourceNotFoundException"
    assert code(world.omics.delete_sequence_store, id=world.store) == "ConflictException"


def test_read_sets_are_described_listed_by_filter_and_deleted(world: World) -> None:
    first, second, third = world.read_sets
    metadata = world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=first)
    assert (metadata["status"], metadata["fileType"], metadata["subjectId"]) == ("ACTIVE", "FASTQ", "subject")
    assert metadata["files"]["source1"]["contentLength"] == len(b"@read\nA\n+\nI\n")
    world.local.archive_read_sets([second])
    archived = world.omics.list_read_sets(sequenceStoreId=world.store, filter={"status": "ARCHIVED"})["readSets"]
    assert [each["id"] for each in archived] == [second]
    answer = world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=[third, "9999999999"])
    assert [each["id"] for each in answer["errors"]] == ["9999999999"]
    assert code(world.omics.get_read_set_metadata, sequenceStoreId=world.store, id=third) == "ResourceNotFoundException"


def test_lists_come_in_pages_that_botocores_paginator_follows(world: World) -> None:
    jobs = [world.start(ReadSetJobKind.ACTIVATION) for _ in range(5)]
    paginator = world.omics.get_paginator("list_read_set_activation_jobs")
    pages = list(paginator.paginate(sequenceStoreId=world.store, PaginationConfig={"PageSize": 2}))
    assert [[job["id"] for job in page["activationJobs"]] for page in pages] == [jobs[:2], jobs[2:4], jobs[4:]]
    assert "sources" not in pages[0]["activationJobs"][0]
    call = world.omics.list_read_set_activation_jobs
    assert code(call, sequenceStoreId=world.store, nextToken="mine") == "ValidationException"


def test_lists_of_jobs_filter_by_status_and_time(world: World) -> None:
    done = world.omics.get_read_set_export_job(
        sequenceStoreId=world.store, id=world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    )
    running = world.start(ReadSetJobKind.EXPORT)

    def listed(**criteria: Any) -> list[str]:
        answer = world.omics.list_read_set_export_jobs(sequenceStoreId=world.store, filter=criteria)
        return [job["id"] for job in answer["exportJobs"]]

    assert listed(status="COMPLETED") == [done["id"]]
    assert listed(createdAfter=done["completionTime"]) == [running]
    assert listed(createdBefore=done["completionTime"]) == [done["id"]]


# --- what jobs do


def test_items_and_job_move_on_with_time(world: World) -> None:
    job_id = world.start(ReadSetJobKind.EXPORT)
    seen = []
    for _ in range(11):
        job = world.omics.get_read_set_export_job(sequenceStoreId=world.store, id=job_id)
        seen.append((job["status"], *(item["status"] for item in job["readSets"])))
        world.local.advance(JOB_SECONDS / 10)
    steps = list(dict.fromkeys(seen))
    assert steps[0] == ("SUBMITTED", "NOT_STARTED", "NOT_STARTED", "NOT_STARTED")
    assert ("IN_PROGRESS", "FINISHED", "IN_PROGRESS", "NOT_STARTED") in steps
    assert steps[-1] == ("COMPLETED", "FINISHED", "FINISHED", "FINISHED")


def test_an_archived_read_set_is_activated_through_activating(world: World) -> None:
    def statuses() -> list[str]:
        return [each["status"] for each in world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"]]

    world.local.archive_read_sets(world.read_sets[:2])
    world.start(ReadSetJobKind.ACTIVATION)
    assert statuses() == ["ARCHIVED", "ARCHIVED", "ACTIVE"]
    world.local.advance(JOB_SECONDS * 0.2)
    assert statuses() == ["ACTIVATING", "ARCHIVED", "ACTIVE"]
    world.local.advance(JOB_SECONDS)
    assert statuses() == ["ACTIVE", "ACTIVE", "ACTIVE"]


def test_activating_an_active_read_set_succeeds_and_says_so(world: World) -> None:
    job_id = world.job(ReadSetJobKind.ACTIVATION, "COMPLETED")
    job = world.omics.get_read_set_activation_job(sequenceStoreId=world.store, id=job_id)
    assert job["sources"][0]["statusMessage"].startswith("No activation needed")


def test_a_failed_activation_leaves_the_read_set_archived(world: World) -> None:
    world.local.archive_read_sets(world.read_sets)
    world.job(ReadSetJobKind.ACTIVATION, "COMPLETED_WITH_FAILURES")
    metadata = world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=world.read_sets[0])
    assert metadata["status"] == "ARCHIVED"


def read_set_status(world: World, read_set: str) -> str:
    return str(world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=read_set)["status"])


def activation(world: World, job_id: str) -> tuple[str, list[tuple[str, str | None]]]:
    """Return an activation job's status, and those of its items with their messages."""
    job = world.omics.get_read_set_activation_job(sequenceStoreId=world.store, id=job_id)
    return job["status"], [(item["status"], item.get("statusMessage")) for item in job["sources"]]


@pytest.fixture
def activating(world: World) -> str:
    """A read set that a job is activating; the job ends at 0.8 of its time from now."""
    world.local.archive_read_sets()
    world.start(ReadSetJobKind.ACTIVATION, world.read_sets[:1])
    world.local.advance(JOB_SECONDS * 0.2)
    assert read_set_status(world, world.read_sets[0]) == "ACTIVATING"
    return world.read_sets[0]


NEEDLESS = "No activation needed as read set is already in ACTIVATING or ACTIVE state."


def test_a_second_activation_is_over_at_once_and_leaves_the_read_set_activating(world: World, activating: str) -> None:
    second = world.start(ReadSetJobKind.ACTIVATION, [activating])
    assert activation(world, second) == ("COMPLETED", [("FINISHED", NEEDLESS)])
    job = world.omics.get_read_set_activation_job(sequenceStoreId=world.store, id=second)
    assert job["completionTime"] == job["creationTime"]
    assert read_set_status(world, activating) == "ACTIVATING"
    world.local.advance(JOB_SECONDS * 0.7)
    assert read_set_status(world, activating) == "ACTIVATING"
    world.local.advance(JOB_SECONDS * 0.2)
    assert read_set_status(world, activating) == "ACTIVE"


def test_a_second_activation_takes_its_time_for_what_is_left(world: World, activating: str) -> None:
    second = world.start(ReadSetJobKind.ACTIVATION, world.read_sets[:2])
    status, items = activation(world, second)
    assert (status, [item for item, _ in items]) == ("SUBMITTED", ["FINISHED", "NOT_STARTED"])
    world.local.advance(JOB_SECONDS * 0.99)
    assert activation(world, second)[0] == "IN_PROGRESS"
    world.local.advance(JOB_SECONDS * 0.02)
    assert activation(world, second)[0] == "COMPLETED"
    assert [read_set_status(world, each) for each in world.read_sets] == ["ACTIVE", "ACTIVE", "ARCHIVED"]


def test_of_two_activations_that_wait_the_first_activates(world: World) -> None:
    world.local.archive_read_sets()
    first, second = (world.start(ReadSetJobKind.ACTIVATION, world.read_sets[:1]) for _ in range(2))
    world.local.advance(JOB_SECONDS * 0.2)
    assert activation(world, first)[0] == "IN_PROGRESS"
    assert activation(world, second) == ("COMPLETED", [("FINISHED", NEEDLESS)])
    assert read_set_status(world, world.read_sets[0]) == "ACTIVATING"
    job = world.omics.get_read_set_activation_job(sequenceStoreId=world.store, id=second)
    assert 99 < (job["completionTime"] - job["creationTime"]).total_seconds() < 101


def test_a_second_activation_that_fails_takes_nothing_back(world: World, activating: str) -> None:
    world.local.fail_read_sets([activating], "Torn")
    second = world.start(ReadSetJobKind.ACTIVATION, [activating])
    world.local.advance(JOB_SECONDS * 0.7)
    world.local.clear_faults()
    assert read_set_status(world, activating) == "ACTIVATING"
    world.local.advance(JOB_SECONDS * 0.2)
    assert read_set_status(world, activating) == "ACTIVE"
    world.local.fail_read_sets([activating], "Torn")
    world.local.advance(JOB_SECONDS)
    assert activation(world, second) == ("FAILED", [("FAILED", "Torn")])
    assert read_set_status(world, activating) == "ACTIVE"


def test_a_second_activation_that_is_cancelled_takes_back_what_it_began_alone(world: World, activating: str) -> None:
    second = world.start(ReadSetJobKind.ACTIVATION, world.read_sets)
    world.local.advance(JOB_SECONDS * 0.15)
    statuses = [read_set_status(world, each) for each in world.read_sets]
    assert statuses == ["ACTIVATING", "ACTIVATING", "ARCHIVED"]
    world.local.cancel_job(second)
    world.local.advance(JOB_SECONDS * 0.5)
    statuses = [read_set_status(world, each) for each in world.read_sets]
    assert statuses == ["ACTIVATING", "ARCHIVED", "ARCHIVED"]


def test_a_cancelled_activation_gives_back_what_it_was_at_before_the_next_one(world: World) -> None:
    read_set = world.read_sets[0]
    world.local.archive_read_sets()
    first = world.start(ReadSetJobKind.ACTIVATION, [read_set])
    world.local.advance(JOB_SECONDS * 0.2)
    world.local.cancel_job(first)
    assert read_set_status(world, read_set) == "ACTIVATING"
    world.local.advance(JOB_SECONDS * 0.11)
    assert activation(world, first)[0] == "CANCELLED"
    assert read_set_status(world, read_set) == "ARCHIVED"
    world.start(ReadSetJobKind.ACTIVATION, [read_set])
    world.local.advance(JOB_SECONDS)
    assert read_set_status(world, read_set) == "ACTIVE"


@pytest.mark.parametrize("ending", ["CANCELLED", "COMPLETED"])
def test_a_job_that_another_has_followed_changes_nothing_more(world: World, ending: str) -> None:
    read_set = world.read_sets[0]
    world.local.archive_read_sets()
    first = world.start(ReadSetJobKind.ACTIVATION, [read_set])
    world.local.advance(JOB_SECONDS * 0.2)
    world.local.archive_read_sets([read_set])
    world.start(ReadSetJobKind.ACTIVATION, [read_set])
    world.local.advance(JOB_SECONDS * 0.2)
    if ending == "CANCELLED":
        world.local.cancel_job(first)
    world.local.advance(JOB_SECONDS * 0.65)
    assert activation(world, first)[0] == ending
    assert read_set_status(world, read_set) == "ACTIVATING"
    world.local.advance(JOB_SECONDS * 0.2)
    assert read_set_status(world, read_set) == "ACTIVE"


def test_an_export_writes_the_bytes_of_every_file(world: World) -> None:
    pair = world.sources[0]
    pair["sourceFiles"]["source2"] = f"s3://{BUCKET}/in/a name+ünï.fastq.gz"
    world.s3.put_object(Bucket=BUCKET, Key="in/a name+ünï.fastq.gz", Body=b"@mate\n" * 100_000)
    world.sources = [pair]
    world.start(ReadSetJobKind.IMPORT)
    world.local.advance(JOB_SECONDS)
    read_set = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"][-1]["id"]
    world.start(ReadSetJobKind.EXPORT, [read_set], destination=f"s3://{BUCKET}/there/")
    world.local.advance(JOB_SECONDS)
    found = world.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"there/{read_set}/")["Contents"]
    bodies = {each["Key"]: world.s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in found}
    assert bodies == {
        f"there/{read_set}/0.fastq.gz": b"@read0\n",
        f"there/{read_set}/a name+ünï.fastq.gz": b"@mate\n" * 100_000,
    }


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda world: world.local.archive_read_sets(), "ARCHIVED, not ACTIVE"),
        (
            lambda world: world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=world.read_sets),
            "not exist",
        ),
    ],
    ids=["archived", "deleted"],
)
def test_what_cannot_be_exported_fails_its_item(world: World, prepare: Any, message: str) -> None:
    prepare(world)
    job_id = world.start(ReadSetJobKind.EXPORT)
    world.local.advance(JOB_SECONDS)
    job = world.omics.get_read_set_export_job(sequenceStoreId=world.store, id=job_id)
    assert job["status"] == "FAILED"
    assert message in job["readSets"][0]["statusMessage"]


def test_a_cancelled_activation_leaves_the_rest_archived(world: World) -> None:
    world.local.archive_read_sets()
    world.job(ReadSetJobKind.ACTIVATION, "CANCELLED")
    listed = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"]
    assert [each["status"] for each in listed] == ["ACTIVE", "ARCHIVED", "ARCHIVED"]


def test_what_happened_does_not_depend_on_when_somebody_looks(world: World) -> None:
    world.local.archive_read_sets()
    world.start(ReadSetJobKind.ACTIVATION)
    world.local.configure(job_seconds=JOB_SECONDS / 10)
    early = world.start(ReadSetJobKind.EXPORT)
    imported = world.start(ReadSetJobKind.IMPORT)
    world.local.advance(10 * JOB_SECONDS)
    assert world.status(ReadSetJobKind.EXPORT, early) == "FAILED"  # nothing was active yet
    job = world.omics.get_read_set_import_job(sequenceStoreId=world.store, id=imported)
    newest = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"][-1]
    assert newest["creationTime"] <= job["completionTime"]


def test_two_files_of_the_same_name_are_both_exported(world: World) -> None:
    pair = world.sources[0]
    pair["sourceFiles"]["source2"] = f"s3://{BUCKET}/mates/0.fastq.gz"
    world.s3.put_object(Bucket=BUCKET, Key="mates/0.fastq.gz", Body=b"@mate\n")
    world.sources = [pair]
    world.start(ReadSetJobKind.IMPORT)
    world.local.advance(JOB_SECONDS)
    read_set = world.omics.list_read_sets(sequenceStoreId=world.store)["readSets"][-1]["id"]
    world.start(ReadSetJobKind.EXPORT, [read_set])
    world.local.advance(JOB_SECONDS)
    found = world.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"out/{read_set}/")["Contents"]
    assert [each["Key"].split("/", 2)[2] for each in found] == ["source1/0.fastq.gz", "source2/0.fastq.gz"]


@versions.s3_metadata_with_an_underscore
def test_s3_keeps_metadata_with_an_underscore(world: World) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", Metadata={"run_id": "1", "lane": "2"})
    assert world.s3.head_object(Bucket=BUCKET, Key="k")["Metadata"] == {"run_id": "1", "lane": "2"}


def test_an_export_to_a_bucket_that_is_not_there_fails(world: World) -> None:
    job_id = world.start(ReadSetJobKind.EXPORT, destination="s3://no-such-bucket/")
    world.local.advance(JOB_SECONDS)
    assert world.status(ReadSetJobKind.EXPORT, job_id) == "FAILED"


@pytest.mark.parametrize("status", ["DELETED", "UPLOAD_FAILED", "PROCESSING_UPLOAD"])
def test_only_what_is_archived_is_activated(world: World, status: str) -> None:
    world.local.set_read_set_status(world.read_sets[:1], status)
    job_id = world.start(ReadSetJobKind.ACTIVATION, world.read_sets[:1])
    world.local.advance(JOB_SECONDS)
    assert activation(world, job_id) == ("FAILED", [("FAILED", f"The read set is {status}, not ARCHIVED.")])
