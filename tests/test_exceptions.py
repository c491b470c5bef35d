"""The exceptions for jobs that failed: what they say, and what they leave for downstream tasks."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from conftest import TaskInstance

from airflow_omics._service.job_items import FAILED, FINISHED, JobItem
from airflow_omics._service.limits import LARGEST_ERROR, LONGEST_TEXT, MOST_READ_SETS
from airflow_omics.exceptions import OmicsReadSetJobFailedError
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind


def failed_job(*items: JobItem, **changes: Any) -> ReadSetJob:
    return ReadSetJob(ReadSetJobKind.EXPORT, "1234567890", "2345678901", JobStatus.FAILED, items=items, **changes)


def done(name: str) -> JobItem:
    return JobItem((name,), FINISHED, name)


def failed(name: str | None, message: str | None = None, source: str | None = None) -> JobItem:
    return JobItem((), FAILED, name, message, source)


def left(name: str) -> JobItem:
    return JobItem((name,), "NOT_STARTED", name)


WHERE_ALL_IS = "more; XCom has all: failed_job, and the ids alone failed_read_set_ids"


IN_STORE = "Sequence store 2345678901"


@pytest.mark.parametrize(
    ("items", "status_message", "said"),
    [
        ([], None, "AWS sent no details of its read sets."),
        (
            [done("r0"), left("r1"), left("r2")],
            "Bad",
            "2 of 3 read sets were never finished. AWS says: Bad",
        ),
        (
            [failed("r0", "Torn"), left("r1"), left("r2")],
            None,
            "1 of 3 read sets failed, 2 were never finished: r0 (Torn).",
        ),
        (
            [failed(f"r{number}", "Torn") for number in range(7)],
            None,
            "7 of 7 read sets failed: r0 (Torn), r1 (Torn), r2 (Torn), r3 (Torn), r4 (Torn), r5, r6.",
        ),
        (
            [failed("r0"), *[failed("x" * 3000)] * 2],
            None,
            f"3 of 3 read sets failed: r0, {'x' * 3000}, and 1 {WHERE_ALL_IS}.",
        ),
        ([done("r0")], None, "0 of 1 read sets failed."),
    ],
    ids=["no details", "unfinished", "both", "seven", "long", "none"],
)
def test_a_failed_job_says_how_it_ended(items: list[JobItem], status_message: str | None, said: str) -> None:
    job = failed_job(*items, status_message=status_message)
    text = f"export job 1234567890 ended FAILED: {said} {IN_STORE}"
    assert str(OmicsReadSetJobFailedError([job])) == f"{text}."
    assert str(OmicsReadSetJobFailedError([job], "connection 'c', region r")) == f"{text}, connection 'c', region r."


def test_failed_jobs_share_what_room_there_is() -> None:
    job = failed_job(*[failed("x" * 2000)] * 2)
    cut = f"export job 1234567890 ended FAILED: 2 of 2 read sets failed: {'x' * 2000}, and 1 {WHERE_ALL_IS}."
    more = f"and 1 jobs {WHERE_ALL_IS}"
    assert str(OmicsReadSetJobFailedError([job] * 2)) == f"{cut}\n{cut} {IN_STORE}."
    assert str(OmicsReadSetJobFailedError([job] * 3)) == f"{cut}\n{cut}\n{more} {IN_STORE}."


def test_what_a_downstream_task_finds() -> None:
    jobs = [failed_job(failed("r0"), failed(None, None, "s3://b/k"), failed("r1")), failed_job(failed("r0"))]
    error, ti = OmicsReadSetJobFailedError(jobs), TaskInstance()
    error.push({}, None)
    error.push({"ti": ti}, ["result"])
    assert ti.xcoms == {"failed_job": ["result"], "failed_read_set_ids": ["r0", "r1"]}


def test_a_failed_job_survives_pickling() -> None:
    job = failed_job(failed("3456789012"))
    error = pickle.loads(pickle.dumps(OmicsReadSetJobFailedError([job], "connection 'c'")))
    assert error.jobs == (job,)
    assert str(error) == (
        f"export job 1234567890 ended FAILED: 1 of 1 read sets failed: 3456789012. {IN_STORE}, connection 'c'."
    )


@pytest.mark.parametrize(("jobs", "failed"), [(1, 3), (1, 100), (1, MOST_READ_SETS), (500, 100)])
@pytest.mark.parametrize("size", [10, LONGEST_TEXT])
def test_an_error_has_a_bounded_size_and_says_where_all_is(jobs: int, failed: int, size: int) -> None:
    items = [
        {"id": f"{number:010}".ljust(size, "0")[:size], "status": "FAILED", "statusMessage": "Torn" * size}
        for number in range(failed)
    ]
    response: Any = {"status": "FAILED", "statusMessage": "Bad" * size, "readSets": items}
    names = {"sequence_store_id": "1234567890", "work_id": "2345678901"}
    job = ReadSetJob.from_response(ReadSetJobKind.EXPORT, response, **names)
    error, ti = OmicsReadSetJobFailedError([job] * jobs, "x" * 9999), TaskInstance()
    error.push({"ti": ti}, None)
    assert len(str(error)) <= LARGEST_ERROR
    assert len(ti.xcoms["failed_read_set_ids"]) == failed
    assert ("failed_read_set_ids" in str(error)) == (any(each["id"] not in str(error) for each in items) or jobs > 100)
    assert size > 10 or jobs > 1 or failed > 100 or all(each["id"] in str(error) for each in items)
