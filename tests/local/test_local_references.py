"""Reference stores, references and reference import jobs of local HealthOmics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from conftest import BUCKET, JOB_SECONDS, ONE_TRY, ROLE, World
from test_local import code

from airflow_omics._service.kinds import KINDS, REFERENCE, REFERENCE_IMPORT
from airflow_omics.jobs import ReadSetJob
from airflow_omics.local import LocalHealthOmics

OTHER = "210987654321"
FASTA = b">chr1\nACGT\n"
MISSING = "ResourceNotFoundException"
WHERE = [("key", "eu-west-2"), ("theirs", "us-east-1")]


class Genomes:
    """A reference store on local HealthOmics, whose time stands still until ``advance``."""

    def __init__(self, local: LocalHealthOmics) -> None:
        self.local = local
        self.omics = local.client("omics", **ONE_TRY)
        self.s3 = local.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.store: str = self.omics.create_reference_store(name="genomes")["id"]
        local.configure(max_concurrent_jobs={"reference import": None})

    def source(self, name: str, content: bytes = FASTA, **more: Any) -> dict[str, Any]:
        """Put a file into S3, and return it as something to import."""
        self.s3.put_object(Bucket=BUCKET, Key=f"in/{name}.fa", Body=content)
        return {"sourceFile": f"s3://{BUCKET}/in/{name}.fa", "name": name, **more}

    def start(self, *sources: dict[str, Any], **arguments: Any) -> str:
        """Start a job on these sources, or on one that can be imported."""
        arguments = {"referenceStoreId": self.store, "roleArn": ROLE, "sources": list(sources), **arguments}
        arguments["sources"] = arguments["sources"] or [self.source("hg38")]
        return str(self.omics.start_reference_import_job(**arguments)["id"])

    def job(self, job_id: str) -> Any:
        """Return what Get says of a job."""
        return self.omics.get_reference_import_job(referenceStoreId=self.store, id=job_id)

    def imported(self, *sources: dict[str, Any]) -> list[str]:
        """Import these sources, and return the ids of the references."""
        job_id = self.start(*sources)
        self.local.advance(JOB_SECONDS)
        return [item["referenceId"] for item in self.job(job_id)["sources"]]

    def metadata(self, reference: str) -> Any:
        """Return what Get says of a reference."""
        return self.omics.get_reference_metadata(referenceStoreId=self.store, id=reference)

    def listed(self, **criteria: Any) -> list[str]:
        """Return the names of the references that a List with this filter tells."""
        answer = self.omics.list_references(referenceStoreId=self.store, filter=criteria)
        return [each["name"] for each in answer["references"]]


@pytest.fixture
def local() -> Iterator[LocalHealthOmics]:
    with LocalHealthOmics(job_seconds=JOB_SECONDS, calls_per_second=None, accounts={"theirs": OTHER}) as started:
        yield started
        started.reset()


@pytest.fixture
def genomes(local: LocalHealthOmics) -> Genomes:
    return Genomes(local)


def client(local: LocalHealthOmics, key: str, region: str, service: str = "omics") -> Any:
    return local.client(service, access_key=key, region_name=region, **ONE_TRY)


# --- reference stores


def test_a_reference_store_is_created_described_listed_and_deleted(local: LocalHealthOmics) -> None:
    omics = local.client()
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    said = {"name": "genomes", "description": "All of them", "sseConfig": {"type": "KMS", "keyArn": key}}
    created = omics.create_reference_store(**said, tags={"a": "b"}, clientToken="once")
    assert created["arn"] == f"arn:aws:omics:us-east-1:123456789012:referenceStore/{created['id']}"
    told = omics.get_reference_store(id=created["id"])
    listed = omics.list_reference_stores(filter={"name": "genomes"})["referenceStores"]
    for answer in (created, told, *listed):
        answer.pop("ResponseMetadata", None)
        assert answer == {**said, **{name: created[name] for name in ("id", "arn", "creationTime")}}
    assert len(listed) == 1
    later = created["creationTime"] + timedelta(seconds=1)
    assert omics.list_reference_stores(filter={"createdAfter": later})["referenceStores"] == []
    omics.delete_reference_store(id=created["id"])
    assert code(omics.get_reference_store, id=created["id"]) == MISSING
    assert code(omics.delete_reference_store, id=created["id"]) == MISSING


def test_an_account_has_one_reference_store_in_a_region(genomes: Genomes) -> None:
    create = genomes.omics.create_reference_store
    assert code(create, name="more") == "ServiceQuotaExceededException"
    for key, region in WHERE:
        client(genomes.local, key, region).create_reference_store(name="theirs")
    genomes.omics.create_sequence_store(name="reads")
    genomes.omics.delete_reference_store(id=genomes.store)
    create(name="again")


@pytest.mark.parametrize("limit", [2, None])
def test_how_many_reference_stores_there_are_is_a_setting(genomes: Genomes, limit: int | None) -> None:
    genomes.local.configure(max_reference_stores=limit)
    create, last = genomes.omics.create_reference_store, genomes.omics.create_reference_store(name="second")
    paginator = genomes.omics.get_paginator("list_reference_stores")
    pages = list(paginator.paginate(PaginationConfig={"PageSize": 1}))
    assert [each["id"] for page in pages for each in page["referenceStores"]] == [genomes.store, last["id"]]
    if limit is None:
        create(name="third")
    else:
        assert code(create, name="third") == "ServiceQuotaExceededException"
    with pytest.raises(ValueError, match="max_reference_stores is 'many', expected a number from 0 or None"):
        genomes.local.configure(max_reference_stores="many")


def test_a_client_token_creates_one_reference_store(local: LocalHealthOmics) -> None:
    create = local.client().create_reference_store
    first = create(name="genomes", clientToken="once")["id"]
    assert create(name="genomes", clientToken="once")["id"] == first
    assert code(create, name="others", clientToken="once") == "ValidationException"
    assert code(create, name="genomes", clientToken="twice") == "ServiceQuotaExceededException"


@pytest.mark.parametrize(("key", "region"), WHERE, ids=["region", "account"])
def test_what_is_elsewhere_is_not_found_and_not_listed(genomes: Genomes, key: str, region: str) -> None:
    (reference,) = genomes.imported()
    job, store = genomes.start(), {"referenceStoreId": genomes.store}
    omics = client(genomes.local, key, region)
    assert code(omics.get_reference_store, id=genomes.store) == MISSING
    assert code(omics.delete_reference_store, id=genomes.store) == MISSING
    assert code(omics.get_reference_metadata, id=reference, **store) == MISSING
    assert code(omics.delete_reference, id=reference, **store) == MISSING
    assert code(omics.get_reference_import_job, id=job, **store) == MISSING
    assert code(omics.start_reference_import_job, roleArn=ROLE, sources=[genomes.source("hg38")], **store) == MISSING
    assert code(omics.list_references, **store) == code(omics.list_reference_import_jobs, **store) == MISSING
    assert omics.list_reference_stores()["referenceStores"] == []


def test_a_store_of_one_kind_is_none_of_the_other(genomes: Genomes) -> None:
    omics, reads = genomes.omics, genomes.omics.create_sequence_store(name="reads")["id"]
    assert code(omics.get_reference_store, id=reads) == code(omics.list_references, referenceStoreId=reads) == MISSING
    assert code(omics.get_sequence_store, id=genomes.store) == MISSING
    assert code(omics.list_read_sets, sequenceStoreId=genomes.store) == MISSING
    assert [each["id"] for each in omics.list_sequence_stores()["sequenceStores"]] == [reads]
    assert [each["id"] for each in omics.list_reference_stores()["referenceStores"]] == [genomes.store]
    with pytest.raises(LookupError, match="no sequence store"):
        genomes.local.add_read_sets(genomes.store)


# --- references


def test_a_reference_is_described_as_it_was_imported(genomes: Genomes) -> None:
    job_id = genomes.start(genomes.source("hg38", description="Human", tags={"a": "b"}))
    genomes.local.advance(JOB_SECONDS)
    (item,) = genomes.job(job_id)["sources"]
    told = genomes.metadata(item["referenceId"])
    assert told["arn"] == (
        f"arn:aws:omics:us-east-1:123456789012:referenceStore/{genomes.store}/reference/{item['referenceId']}"
    )
    assert (told["id"], told["referenceStoreId"]) == (item["referenceId"], genomes.store)
    assert (told["name"], told["description"], told["status"]) == ("hg38", "Human", "ACTIVE")
    assert told["md5"] == hashlib.md5(FASTA).hexdigest()
    assert told["updateTime"] == told["creationTime"]
    assert told["files"] == {"source": {"totalParts": 1, "partSize": 100 * 1024 * 1024, "contentLength": len(FASTA)}}
    assert (told["creationType"], told["creationJobId"]) == ("IMPORT", job_id)
    (listed,) = genomes.omics.list_references(referenceStoreId=genomes.store)["references"]
    assert listed == {name: told[name] for name in listed}
    assert {"id", "arn", "referenceStoreId", "md5", "status", "name", "creationTime", "updateTime"} <= listed.keys()
    work = REFERENCE.parser.from_response(REFERENCE, told, sequence_store_id=genomes.store)
    assert work.summary()["reference_id"] == item["referenceId"]


def test_references_are_listed_by_filter_and_in_pages(genomes: Genomes) -> None:
    first, *_ = genomes.imported(genomes.source("one", b">1\nA\n"), genomes.source("two"))
    genomes.imported(genomes.source("three"))
    assert genomes.listed() == ["one", "two", "three"]
    assert genomes.listed(name="two") == ["two"]
    assert genomes.listed(md5=hashlib.md5(FASTA).hexdigest()) == ["two", "three"]
    between = genomes.metadata(first)["creationTime"] + timedelta(seconds=1)
    assert genomes.listed(createdAfter=between) == ["two", "three"]
    assert genomes.listed(createdBefore=between) == ["one"]
    paginator = genomes.omics.get_paginator("list_references")
    pages = paginator.paginate(referenceStoreId=genomes.store, PaginationConfig={"PageSize": 2})
    assert [[each["name"] for each in page["references"]] for page in pages] == [["one", "two"], ["three"]]


def test_a_reference_is_deleted_and_then_its_store(genomes: Genomes) -> None:
    first, second = genomes.imported(genomes.source("one"), genomes.source("two"))
    named = {"referenceStoreId": genomes.store, "id": first}
    genomes.omics.delete_reference(**named)
    assert code(genomes.omics.get_reference_metadata, **named) == MISSING
    assert code(genomes.omics.delete_reference, **named) == MISSING
    assert genomes.listed() == ["two"]
    assert code(genomes.omics.delete_reference_store, id=genomes.store) == "ConflictException"
    genomes.omics.delete_reference(referenceStoreId=genomes.store, id=second)
    genomes.omics.delete_reference_store(id=genomes.store)


def test_the_controls_of_read_sets_leave_references_alone(genomes: Genomes) -> None:
    (reference,) = genomes.imported()
    assert genomes.local.archive_read_sets() == []
    for change in (genomes.local.archive_read_sets, lambda ids: genomes.local.set_read_set_status(ids, "ARCHIVED")):
        with pytest.raises(LookupError, match="no read set"):
            change([reference])
    assert genomes.metadata(reference)["status"] == "ACTIVE"


def test_a_reference_that_read_sets_are_aligned_to_is_not_deleted(genomes: Genomes) -> None:
    first, second = genomes.imported(genomes.source("one"), genomes.source("two"))
    genomes.s3.put_object(Bucket=BUCKET, Key="in/reads.bam", Body=b"BAM")
    source = World.source(f"s3://{BUCKET}/in/reads.bam") | {"referenceArn": genomes.metadata(first)["arn"]}
    reads = genomes.omics.create_sequence_store(name="reads")["id"]
    genomes.omics.start_read_set_import_job(sequenceStoreId=reads, roleArn=ROLE, sources=[source])
    genomes.local.advance(JOB_SECONDS)
    delete = genomes.omics.delete_reference
    assert code(delete, referenceStoreId=genomes.store, id=first) == "ConflictException"
    delete(referenceStoreId=genomes.store, id=second)
    (read_set,) = genomes.omics.list_read_sets(sequenceStoreId=reads)["readSets"]
    assert read_set["creationType"] == "IMPORT"
    genomes.omics.batch_delete_read_set(sequenceStoreId=reads, ids=[read_set["id"]])
    delete(referenceStoreId=genomes.store, id=first)


# --- import jobs


def test_a_job_and_its_items_move_on_with_time(genomes: Genomes) -> None:
    sources = [genomes.source("one", description="First", tags={"a": "b"}), genomes.source("two")]
    job_id, seen = genomes.start(*sources), []
    for _ in range(11):
        job = genomes.job(job_id)
        seen.append((job["status"], *(item["status"] for item in job["sources"]), len(genomes.listed())))
        genomes.local.advance(JOB_SECONDS / 10)
    assert list(dict.fromkeys(seen)) == [
        ("SUBMITTED", "NOT_STARTED", "NOT_STARTED", 0),
        ("IN_PROGRESS", "IN_PROGRESS", "NOT_STARTED", 0),
        ("IN_PROGRESS", "FINISHED", "IN_PROGRESS", 1),
        ("COMPLETED", "FINISHED", "FINISHED", 2),
    ]
    job = genomes.job(job_id)
    assert (job["id"], job["referenceStoreId"], job["roleArn"]) == (job_id, genomes.store, ROLE)
    assert job["completionTime"] > job["creationTime"]
    for source, item in zip(sources, job["sources"], strict=True):
        assert item.items() >= source.items()
        assert genomes.metadata(item["referenceId"])["name"] == item["name"]


def test_an_item_whose_file_cannot_be_read_fails(genomes: Genomes) -> None:
    london = client(genomes.local, "key", "eu-west-2", "s3")
    london.create_bucket(Bucket="in-london", CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    london.put_object(Bucket="in-london", Key="hg38.fa", Body=FASTA)
    bad = [
        {"sourceFile": f"s3://{BUCKET}/none.fa", "name": "none"},
        {"sourceFile": "s3://no-such-bucket/none.fa", "name": "nowhere"},
        genomes.source("empty", b""),
        {"sourceFile": "s3://in-london/hg38.fa", "name": "abroad"},
    ]
    job_id, failed = genomes.start(*bad, genomes.source("good")), genomes.start(*bad)
    genomes.local.advance(JOB_SECONDS)
    job = genomes.job(job_id)
    assert job["status"] == "COMPLETED_WITH_FAILURES"
    assert [(item["status"], item.get("statusMessage")) for item in job["sources"]] == [
        ("FAILED", "source does not exist or cannot be read."),
        ("FAILED", "source does not exist or cannot be read."),
        ("FAILED", "source is empty."),
        (
            "FAILED",
            "source cannot be read: bucket in-london is in eu-west-2, not in the store's region us-east-1.",
        ),
        ("FINISHED", "The source was processed successfully."),
    ]
    assert ["referenceId" in item for item in job["sources"]] == [False] * 4 + [True]
    assert genomes.job(failed)["status"] == "FAILED"
    assert genomes.listed() == ["good"]


def test_a_message_is_no_longer_than_the_service_model_allows(genomes: Genomes) -> None:
    genomes.local.fail_read_sets([genomes.source("hg38")["sourceFile"]], "Torn " * 100)
    job_id = genomes.start()
    genomes.local.advance(JOB_SECONDS)
    assert len(genomes.job(job_id)["sources"][0]["statusMessage"]) == 127


def test_what_is_to_fail_is_told_by_its_uri(genomes: Genomes) -> None:
    sources = [genomes.source("one"), genomes.source("two")]
    genomes.local.fail_read_sets([sources[0]["sourceFile"]], "Torn")
    job_id = genomes.start(*sources)
    genomes.local.advance(JOB_SECONDS)
    torn, good = genomes.job(job_id)["sources"]
    assert (torn["status"], torn["statusMessage"], good["status"]) == ("FAILED", "Torn", "FINISHED")
    genomes.local.fail_read_sets([sources[0]["sourceFile"]], None)
    assert len(genomes.imported(sources[0])) == 1


def test_a_job_is_cancelled(genomes: Genomes) -> None:
    job_id = genomes.start(genomes.source("one"), genomes.source("two"))
    genomes.local.advance(JOB_SECONDS * 0.6)
    genomes.local.cancel_job(job_id)
    assert genomes.job(job_id)["status"] == "CANCELLING"
    genomes.local.advance(JOB_SECONDS)
    job = genomes.job(job_id)
    assert (job["status"], [item["status"] for item in job["sources"]]) == ("CANCELLED", ["FINISHED", "IN_PROGRESS"])
    assert genomes.listed() == ["one"]
    with pytest.raises(ValueError, match="is over: CANCELLED"):
        genomes.local.cancel_job(job_id)


def test_jobs_are_listed_by_filter_and_in_pages(genomes: Genomes) -> None:
    done = genomes.start()
    genomes.local.advance(JOB_SECONDS)
    running = [genomes.start() for _ in range(2)]

    def listed(**criteria: Any) -> list[str]:
        answer = genomes.omics.list_reference_import_jobs(referenceStoreId=genomes.store, filter=criteria)
        return [each["id"] for each in answer["importJobs"]]

    assert listed() == [done, *running]
    assert listed(status="SUBMITTED") == running
    assert listed(createdBefore=genomes.job(done)["completionTime"]) == [done]
    paginator = genomes.omics.get_paginator("list_reference_import_jobs")
    pages = list(paginator.paginate(referenceStoreId=genomes.store, PaginationConfig={"PageSize": 2}))
    assert [[each["id"] for each in page["importJobs"]] for page in pages] == [[done, running[0]], running[1:]]
    first = pages[0]["importJobs"][0]
    assert (first["status"], first["referenceStoreId"], first["roleArn"]) == ("COMPLETED", genomes.store, ROLE)
    assert "sources" not in first


def test_a_job_of_another_kind_is_not_found(genomes: Genomes) -> None:
    reads = genomes.omics.create_sequence_store(name="reads")["id"]
    get, job_id = genomes.omics.get_read_set_import_job, genomes.start()
    activation = {"sequenceStoreId": reads, "sources": [{"readSetId": "1234567890"}]}
    activating = genomes.omics.start_read_set_activation_job(**activation)["id"]
    assert code(get, sequenceStoreId=reads, id=activating) == MISSING
    assert code(get, sequenceStoreId=reads, id=job_id) == MISSING
    assert code(get, sequenceStoreId=genomes.store, id=job_id) == MISSING
    assert code(genomes.job, job_id="9999999999") == MISSING


def test_get_and_list_lag(genomes: Genomes) -> None:
    job_id = genomes.start()
    genomes.local.configure(get_lag=60, list_lag=60)
    assert code(genomes.job, job_id=job_id) == MISSING
    assert genomes.omics.list_reference_import_jobs(referenceStoreId=genomes.store)["importJobs"] == []
    genomes.local.configure(get_lag=0, list_lag=0)
    assert genomes.job(job_id)["id"] == job_id


# --- checks, limits, tokens and faults


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "ab"},
        {"sourceFile": "/data/hg38.fa"},
        {"sourceFile": None},
        {"description": ""},
    ],
    ids=str,
)
def test_sources_are_checked_against_the_service_model(genomes: Genomes, wrong: dict[str, Any]) -> None:
    lax = genomes.local.client("omics", parameter_validation=False)
    source = {name: value for name, value in (genomes.source("hg38") | wrong).items() if value is not None}
    call = {"referenceStoreId": genomes.store, "roleArn": ROLE, "sources": [source]}
    assert code(lax.start_reference_import_job, **call) == "ValidationException"


def test_sources_per_job(genomes: Genomes) -> None:
    call = {"referenceStoreId": genomes.store, "roleArn": ROLE}
    source = genomes.source("hg38")
    start = genomes.omics.start_reference_import_job
    assert code(start, sources=[source] * 101, **call) == "ValidationException"
    start(sources=[source] * 100, **call)
    genomes.local.configure(max_read_sets={"reference import": 2})
    assert code(start, sources=[source] * 3, **call) == "ValidationException"
    genomes.local.configure(max_read_sets=None)
    start(sources=[source] * 101, **call)


def test_concurrent_jobs(genomes: Genomes) -> None:
    genomes.local.configure(max_concurrent_jobs={"reference import": 1})
    genomes.start()
    assert code(genomes.start) == "ServiceQuotaExceededException"
    reads = genomes.omics.create_sequence_store(name="reads")["id"]
    sources = [World.source(f"s3://{BUCKET}/in/hg38.fa")]
    genomes.omics.start_read_set_import_job(sequenceStoreId=reads, roleArn=ROLE, sources=sources)
    genomes.local.configure(max_concurrent_jobs={"reference import": 2})
    genomes.start()
    assert code(genomes.start) == "ServiceQuotaExceededException"
    genomes.local.advance(JOB_SECONDS)
    genomes.start()


@pytest.mark.parametrize(
    "operation",
    ["list_references", "get_reference_metadata", "get_reference_import_job", "list_reference_import_jobs"],
)
def test_calls_per_second(genomes: Genomes, operation: str) -> None:
    genomes.local.configure(calls_per_second=0)
    arguments = {"id": "1234567890"} if operation.startswith("get") else {}
    call = getattr(genomes.omics, operation)
    assert code(call, referenceStoreId=genomes.store, **arguments) == "ThrottlingException"
    genomes.omics.get_reference_store(id=genomes.store)


def test_a_client_token_starts_one_job(genomes: Genomes) -> None:
    sources = [genomes.source("one"), genomes.source("two")]
    first = genomes.start(*sources, clientToken="once")
    assert genomes.start(*sources, clientToken="once") == first
    assert genomes.start(*sources, clientToken="twice") != first
    assert code(lambda: genomes.start(sources[0], clientToken="once")) == "ValidationException"
    genomes.local.configure(changed_request="old job", max_reference_stores=2)
    assert genomes.start(sources[0], clientToken="once") == first
    other = genomes.omics.create_reference_store(name="others")["id"]
    assert genomes.start(*sources, clientToken="once", referenceStoreId=other) != first


def test_faults_hit_these_operations_too(genomes: Genomes) -> None:
    (reference,) = genomes.imported()
    genomes.local.add_fault(operation="GetReferenceMetadata", response={"status": "DELETING"}, times=1)
    assert [genomes.metadata(reference)["status"] for _ in range(2)] == ["DELETING", "ACTIVE"]
    genomes.local.add_fault(operation="ListReferences", error="AccessDeniedException")
    assert code(genomes.listed) == "AccessDeniedException"


def test_the_job_is_parsed_as_its_kind(genomes: Genomes) -> None:
    sources = [genomes.source("good"), {"sourceFile": f"s3://{BUCKET}/none.fa", "name": "none"}]
    job_id = genomes.start(*sources)
    genomes.local.advance(JOB_SECONDS)
    answer = genomes.job(job_id)
    job = ReadSetJob.from_response(REFERENCE_IMPORT, answer, sequence_store_id=genomes.store, work_id=job_id)
    assert job.finished == [answer["sources"][0]["referenceId"]]
    assert job.summary()["failed"] == [
        {
            "reference_id": None,
            "message": "source does not exist or cannot be read.",
            "source": f"s3://{BUCKET}/none.fa",
        }
    ]
    assert job.in_words == "COMPLETED_WITH_FAILURES, 1 of 2 references finished, 1 failed, 0 open"
    assert {"reference", "reference import"} <= KINDS.keys()
