"""What is read out of AWS's answers about references and their import jobs, and out of their summaries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_omics._service.job_items import FAILED, FINISHED, JobItem, item_key
from airflow_omics._service.kind import Verdict
from airflow_omics._service.kinds import JOB_KINDS, KINDS, REFERENCE, REFERENCE_IMPORT, parse_kind
from airflow_omics._service.limits import MOST_READ_SETS
from airflow_omics._service.references import Reference, ReferenceStatus
from airflow_omics.jobs import JobStatus, ReadSetJob

STORE, ID, OTHER = "1234567890", "2345678901", "3456789012"
TOLD: dict[str, Any] = {
    "id": ID,
    "arn": f"arn:aws:omics:us-east-1:123456789012:referenceStore/{STORE}/reference/{ID}",
    "referenceStoreId": STORE,
    "md5": "d41d8cd98f00b204e9800998ecf8427e",
    "status": "ACTIVE",
    "name": "hg38",
}
SUMMARY = {"reference_id": ID, "reference_store_id": STORE, "status": "ACTIVE", "name": "hg38"}
ITEMS: list[dict[str, Any]] = [
    {"sourceFile": "s3://bucket/0", "name": "hg38", "status": "FINISHED", "referenceId": ID},
    {"sourceFile": "s3://bucket/1", "name": "hg19", "status": "FAILED", "statusMessage": "Torn"},
    {"sourceFile": "s3://bucket/2", "name": "t2t", "status": "NOT_STARTED"},
]


def parse(**changes: Any) -> Reference:
    reference = REFERENCE.parser.from_response(REFERENCE, {**TOLD, **changes}, sequence_store_id=STORE, work_id=ID)
    assert isinstance(reference, Reference)
    return reference


def test_the_rows() -> None:
    assert parse_kind("reference") is REFERENCE
    assert parse_kind("reference import") is REFERENCE_IMPORT
    assert REFERENCE_IMPORT in JOB_KINDS
    assert {each.word for each in JOB_KINDS} | {"read set", "reference"} == KINDS.keys()
    assert REFERENCE.operations == {"Get": "GetReferenceMetadata", "List": "ListReferences"}
    assert [REFERENCE_IMPORT.operation(verb) for verb in ("Start", "Get", "List")] == [
        "StartReferenceImportJob",
        "GetReferenceImportJob",
        "ListReferenceImportJobs",
    ]
    assert (REFERENCE_IMPORT.item, REFERENCE_IMPORT.item_argument) == ("reference", "reference_id")
    assert (REFERENCE_IMPORT.max_items, REFERENCE_IMPORT.max_concurrent_jobs) == (100, 1)
    assert (REFERENCE.listed_as, REFERENCE_IMPORT.listed_as) == ("references", "importJobs")


# --- a reference


def test_a_reference_and_its_summary() -> None:
    reference = parse()
    assert reference == Reference(REFERENCE, ID, STORE, "ACTIVE", None, "hg38")
    assert isinstance(reference.status, ReferenceStatus)
    assert reference.summary() == SUMMARY
    assert type(reference.summary()["status"]) is str
    assert reference.is_complete
    assert (str(reference), reference.in_words) == (f"reference {ID} in reference store {STORE}", "ACTIVE")
    assert Reference.from_response(REFERENCE, TOLD, sequence_store_id=STORE) == reference
    assert parse(name=None).summary() == {**SUMMARY, "name": None}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("ACTIVE", Verdict.SUCCEEDED),
        ("DELETING", Verdict.FAILED),
        ("DELETED", Verdict.FAILED),
        ("FROM_THE_FUTURE", Verdict.WAITING),
    ],
)
def test_verdicts(status: str, verdict: Verdict) -> None:
    reference = parse(status=status)
    assert reference.verdict() is reference.verdict(accept_partial_failure=True) is verdict
    assert reference.is_status_known == (status != "FROM_THE_FUTURE")
    assert reference.summary()["status"] == status


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": OTHER}, f"id is '{OTHER}', expected '{ID}', the one asked for"),
        ({"referenceStoreId": OTHER}, f"referenceStoreId is '{OTHER}', expected '{STORE}', the one asked for"),
        ({"status": None}, f"status of reference {ID} is missing"),
        ({"status": 5}, "status is 5, expected text"),
        ({"name": 5}, "name is 5, expected text"),
    ],
    ids=str,
)
def test_answers_that_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        parse(**changes)
    assert str(caught.value) == said


# --- a reference import job


def test_a_job_and_its_summary() -> None:
    answer = {"id": ID, "referenceStoreId": STORE, "status": "COMPLETED_WITH_FAILURES", "sources": ITEMS}
    job = ReadSetJob.from_response(REFERENCE_IMPORT, answer, sequence_store_id=STORE)
    assert job.items == (
        JobItem(("s3://bucket/0", "hg38"), FINISHED, ID, None, "s3://bucket/0"),
        JobItem(("s3://bucket/1", "hg19"), FAILED, None, "Torn", "s3://bucket/1"),
        JobItem(("s3://bucket/2", "t2t"), "NOT_STARTED", None, None, "s3://bucket/2"),
    )
    assert job.summary() == {
        "kind": "reference import",
        "job_id": ID,
        "reference_store_id": STORE,
        "status": "COMPLETED_WITH_FAILURES",
        "status_message": None,
        "destination": None,
        "creation_time": None,
        "completion_time": None,
        "finished": [ID],
        "failed": [{"reference_id": None, "message": "Torn", "source": "s3://bucket/1"}],
        "unfinished": ["s3://bucket/2"],
    }
    assert job.progress == "1 of 3 references finished, 1 failed, 1 open"
    assert str(job) == f"reference import job {ID} in reference store {STORE}"
    assert job.verdict() is Verdict.FAILED
    assert job.verdict(accept_partial_failure=True) is Verdict.SUCCEEDED
    again = ReadSetJob.from_summary(REFERENCE_IMPORT, json.loads(json.dumps(job.summary())))
    assert again.summary() == job.summary()
    assert isinstance(again.status, JobStatus)


@pytest.mark.parametrize(
    ("item", "key"),
    [
        (ITEMS[0], ("s3://bucket/0", "hg38")),
        ({"sourceFile": "s3://bucket/0"}, ()),
        ({"sourceFile": "", "name": "hg38"}, ()),
        ({"sourceFile": 5, "name": "hg38"}, ()),
        ({"referenceId": ID}, (ID,)),
        ({"referenceId": 5}, ()),
        ({}, ()),
    ],
    ids=str,
)
def test_what_an_item_is_recognized_by(item: dict[str, Any], key: tuple[str, ...]) -> None:
    assert item_key(item, "referenceId") == key


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([{}], "sources[0]: referenceId is missing"),
        ([ITEMS[0], {"sourceFile": 5}], "sources[1]: sourceFile is 5, expected text"),
        ([ITEMS[0]] * (MOST_READ_SETS + 1), "there are 2001 references, expected at most 2000"),
    ],
    ids=["neither id nor source", "a source that is no text", "too many"],
)
def test_jobs_that_are_refused(sources: list[Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        ReadSetJob.from_response(
            REFERENCE_IMPORT, {"id": ID, "status": "FAILED", "sources": sources}, sequence_store_id=STORE
        )
    assert str(caught.value) == said
