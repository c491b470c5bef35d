"""What is read out of AWS's answers and out of summaries, and how it is written; `make mutation` runs these alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_omics._service.job_items import FAILED, JobItem
from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.kinds import READ_SET_JOB_KINDS, parse_kind
from airflow_omics._service.limits import LONGEST_TEXT, MOST_READ_SETS
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind

ACTIVATION, EXPORT, IMPORT = ReadSetJobKind.ACTIVATION, ReadSetJobKind.EXPORT, ReadSetJobKind.IMPORT
STORE, JOB = "1234567890", "2345678901"
LONG = "x" * 300
SHOWN = f"'{LONG[:78]}…"
"""How a message shows it: in 80 characters."""

ITEM_STATUSES = ["FINISHED", "FAILED", "NOT_STARTED", "IN_PROGRESS", "FROM_THE_FUTURE", "FAILED"]
ANSWER: dict[str, Any] = {
    "id": JOB,
    "sequenceStoreId": STORE,
    "status": "COMPLETED_WITH_FAILURES",
    "statusMessage": "Some failed",
    "destination": "s3://bucket/out/",
    "creationTime": datetime(2026, 11, 22, 1, 2, 3, tzinfo=timezone(timedelta(hours=1))),
    "completionTime": datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC),
}
SUMMARY: dict[str, Any] = {
    "kind": "export",
    "job_id": JOB,
    "sequence_store_id": STORE,
    "status": "COMPLETED_WITH_FAILURES",
    "status_message": "Some failed",
    "destination": "s3://bucket/out/",
    "creation_time": "2026-11-22T00:02:03+00:00",
    "completion_time": "2026-11-22T04:05:06+00:00",
    "finished": ["r0"],
    "failed": [{"read_set_id": "r1", "message": "Torn"}, {"read_set_id": "r5", "message": None}],
    "unfinished": ["r2", "r3", "r4"],
}


def answer(kind: Kind) -> dict[str, Any]:
    items: list[dict[str, Any]] = [
        {kind.item_id_key: f"r{index}", "status": status} for index, status in enumerate(ITEM_STATUSES)
    ]
    items[1]["statusMessage"] = "Torn"
    if kind is IMPORT:
        for index, item in enumerate(items):
            item["sourceFiles"] = {"source1": f"s3://bucket/{index}", "source2": "s3://bucket/other"}
        del items[0][kind.item_id_key], items[5][kind.item_id_key]
    return {**ANSWER, kind.items_key: items}


def parse(kind: Kind, response: dict[str, Any]) -> ReadSetJob:
    return ReadSetJob.from_response(kind, response, sequence_store_id=STORE, work_id=JOB)


def wrong(parameter: object) -> str:
    """Return what a case is called: by what is wrong, in a few plain characters."""
    return "-".join(parameter) if isinstance(parameter, dict) else ""


@pytest.mark.parametrize(
    ("kind", "items_key", "item_id_key", "quotas", "get", "many"),
    [
        (EXPORT, "readSets", "id", (100, 5), "GetReadSetExportJob", "ListReadSetExportJobs"),
        (ACTIVATION, "sources", "readSetId", (20, 25), "GetReadSetActivationJob", "ListReadSetActivationJobs"),
        (IMPORT, "sources", "readSetId", (100, 5), "GetReadSetImportJob", "ListReadSetImportJobs"),
    ],
)
def test_kinds(kind: Kind, items_key: str, item_id_key: str, quotas: tuple[int, int], get: str, many: str) -> None:
    assert (kind.items_key, kind.item_id_key) == (items_key, item_id_key)
    assert (kind.max_items, kind.max_concurrent_jobs) == quotas
    assert (kind.operation("Get"), kind.operation("List")) == (get, many)
    assert parse_kind(kind.word) is kind


@pytest.mark.parametrize("kind", [EXPORT, ACTIVATION])
def test_an_answer_and_its_summary(kind: Kind) -> None:
    job = parse(kind, answer(kind))
    assert job == ReadSetJob(
        kind=kind,
        job_id=JOB,
        sequence_store_id=STORE,
        status=JobStatus.COMPLETED_WITH_FAILURES,
        status_message="Some failed",
        destination="s3://bucket/out/",
        creation_time=datetime(2026, 11, 22, 0, 2, 3, tzinfo=UTC),
        completion_time=datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC),
        items=job.items,
    )
    assert job.finished == ["r0"]
    assert job.failed == [JobItem(("r1",), FAILED, "r1", "Torn"), JobItem(("r5",), FAILED, "r5")]
    assert job.unfinished == ["r2", "r3", "r4"]
    assert isinstance(job.status, JobStatus)
    assert job.summary() == {**SUMMARY, "kind": kind.word}
    assert type(job.summary()["status"]) is str
    assert (job.total, job.progress) == (6, "1 of 6 read sets finished, 2 failed, 3 open")
    again = ReadSetJob.from_summary(kind, json.loads(json.dumps(job.summary())))
    assert again.summary() == job.summary()
    assert isinstance(again.status, JobStatus)


def test_an_import_names_what_has_no_id_yet_by_its_source() -> None:
    job = parse(IMPORT, answer(IMPORT))
    assert job.finished == [None]
    assert [(each.id, each.message, each.source) for each in job.failed] == [
        ("r1", "Torn", "s3://bucket/1"),
        (None, None, "s3://bucket/5"),
    ]
    assert job.unfinished == ["s3://bucket/2", "s3://bucket/3", "s3://bucket/4"]
    assert job.summary()["failed"] == [
        {"read_set_id": "r1", "message": "Torn", "source": "s3://bucket/1"},
        {"read_set_id": None, "message": None, "source": "s3://bucket/5"},
    ]
    assert ReadSetJob.from_summary(IMPORT, job.summary()).summary() == job.summary()
    without_files = parse(IMPORT, {"status": "IN_PROGRESS", "sources": [{"readSetId": "r0"}]})
    assert without_files.unfinished == ["r0"]


@pytest.mark.parametrize("kind", READ_SET_JOB_KINDS)
def test_what_is_not_sent_is_none_or_empty(kind: Kind) -> None:
    job = ReadSetJob.from_response(kind, {"id": JOB, "status": "ELSE"}, sequence_store_id=STORE)
    assert job == ReadSetJob(kind, JOB, STORE, "ELSE")
    assert (job.total, job.progress, job.is_status_known) == (0, "no details of its read sets", False)
    assert job.summary() == {
        **dict.fromkeys(SUMMARY), "kind": kind.word, "job_id": JOB, "sequence_store_id": STORE, "status": "ELSE",
        "finished": [], "failed": [], "unfinished": [],
    }  # fmt: skip
    assert ReadSetJob.from_summary(kind, job.summary()) == job


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (EXPORT, {"id": LONG}, f"id is {SHOWN}, expected '{JOB}', the one asked for"),
        (EXPORT, {"sequenceStoreId": JOB}, f"sequenceStoreId is '{JOB}', expected '{STORE}', the one asked for"),
        (EXPORT, {"status": None}, f"status is missing; the response has {list(answer(EXPORT))}"),
        (EXPORT, {"status": 5}, "status is 5, expected text"),
        (EXPORT, {"statusMessage": 5}, "statusMessage is 5, expected text"),
        (EXPORT, {"destination": 5}, "destination is 5, expected text"),
        (EXPORT, {"creationTime": "now"}, "creationTime is 'now', expected a time"),
        (EXPORT, {"completionTime": 5}, "completionTime is 5, expected a time"),
        (EXPORT, {"readSets": {}}, "readSets is {}, expected a list"),
        (EXPORT, {"readSets": [LONG]}, f"readSets[0]: {SHOWN} is no structure"),
        (EXPORT, {"readSets": [{"id": "r0"}, {}]}, "readSets[1]: id is missing"),
        (EXPORT, {"readSets": [{"id": "r0", "status": 5}]}, "readSets[0]: status is 5, expected text"),
        (EXPORT, {"readSets": [{"id": "r0", "statusMessage": 5}]}, "readSets[0]: statusMessage is 5, expected text"),
        (ACTIVATION, {"sources": [{"id": "r0"}]}, "sources[0]: readSetId is missing"),
        (IMPORT, {"sources": [{"sourceFiles": 5}]}, "sources[0]: readSetId is missing"),
        (IMPORT, {"sources": [{"sourceFiles": {"source1": 5}}]}, "sources[0]: source1 is 5, expected text"),
        (EXPORT, {"destination": "x" * (LONGEST_TEXT + 1)}, "2049 characters, expected at most 2048"),
    ],
    ids=wrong,
)
def test_answers_that_are_refused(kind: Kind, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        parse(kind, {**answer(kind), **changes})
    assert str(caught.value) == said or (said.endswith("2048") and said in str(caught.value))


def test_an_empty_answer_and_one_without_an_id_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^status is missing; the response has no members$"):
        parse(EXPORT, {})
    with pytest.raises(ValueError, match=r"^id is missing$"):
        ReadSetJob.from_response(EXPORT, {"status": "SUBMITTED"}, sequence_store_id=STORE)


def test_a_job_has_so_many_read_sets_and_no_more() -> None:
    items = [{"id": f"r{number}"} for number in range(MOST_READ_SETS)]
    assert parse(EXPORT, {"status": "SUBMITTED", "readSets": items}).total == MOST_READ_SETS
    with pytest.raises(ValueError, match=r"^there are 2001 read sets, expected at most 2000$"):
        parse(EXPORT, {"status": "SUBMITTED", "readSets": [*items, {"id": "r"}]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": LONG}, f"kind is {SHOWN}, expected 'export'"),
        ({"job_id": None}, "job_id, sequence_store_id or status is missing"),
        ({"sequence_store_id": None}, "job_id, sequence_store_id or status is missing"),
        ({"status": None}, "job_id, sequence_store_id or status is missing"),
        ({"job_id": 5}, "job_id is 5, expected text"),
        ({"sequence_store_id": 5}, "sequence_store_id is 5, expected text"),
        ({"status": 5}, "status is 5, expected text"),
        ({"status_message": 5}, "status_message is 5, expected text"),
        ({"destination": 5}, "destination is 5, expected text"),
        ({"creation_time": "soon"}, "creation_time is 'soon', expected a time in ISO 8601 with its zone"),
        ({"completion_time": 5}, "completion_time is 5, expected text"),
        ({"finished": "all"}, "finished is 'all', expected a list"),
        ({"finished": [5]}, "finished is 5, expected text"),
        ({"unfinished": ["r0", 5]}, "unfinished[1] is 5, expected text"),
        ({"failed": 5}, "failed is 5, expected a list"),
        ({"failed": [LONG]}, f"failed holds {SHOWN}, expected structures"),
        ({"failed": [{"read_set_id": 5}]}, "read_set_id is 5, expected text"),
        ({"failed": [{"message": 5}]}, "message is 5, expected text"),
        ({"failed": [{"source": 5}]}, "source is 5, expected text"),
    ],
    ids=wrong,
)
def test_summaries_that_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        ReadSetJob.from_summary(EXPORT, {**SUMMARY, **changes})
    assert str(caught.value) == said


def test_what_is_no_summary_is_refused() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        ReadSetJob.from_summary(EXPORT, LONG)
    assert str(caught.value) == f"{SHOWN} is no summary of a job"


def test_the_words_for_people() -> None:
    words = f"export job {JOB} in sequence store {STORE}"
    assert EXPORT.describe(STORE, JOB) == str(ReadSetJob(EXPORT, JOB, STORE, "SUBMITTED")) == words
    assert str(JobItem((), FAILED, "r0", "Torn", "s3://bucket/0")) == "r0 (Torn)"
    assert str(JobItem((), FAILED, None, "Torn", "s3://bucket/0")) == "s3://bucket/0 (Torn)"
    assert str(JobItem((), FAILED)) == "an item without an id"


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("SUBMITTED", Verdict.WAITING),
        ("IN_PROGRESS", Verdict.WAITING),
        ("CANCELLING", Verdict.WAITING),
        ("CANCELLED", Verdict.FAILED),
        ("FAILED", Verdict.FAILED),
        ("COMPLETED", Verdict.SUCCEEDED),
        ("COMPLETED_WITH_FAILURES", Verdict.FAILED),
        ("FROM_THE_FUTURE", Verdict.WAITING),
    ],
)
def test_verdicts(status: str, verdict: Verdict) -> None:
    job = ReadSetJob(EXPORT, JOB, STORE, status)
    assert job.verdict() is verdict
    accepted = Verdict.SUCCEEDED if status == "COMPLETED_WITH_FAILURES" else verdict
    assert job.verdict(accept_partial_failure=True) is accepted
    assert job.is_status_known == (status != "FROM_THE_FUTURE")
