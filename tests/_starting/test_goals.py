"""Whether a goal holds, told by jobs and read sets alone, kind by kind; `make mutation` runs these alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_omics._service import kinds
from airflow_omics._service.job_items import FAILED, FINISHED, JobItem
from airflow_omics._service.kind import Kind
from airflow_omics._service.read_sets import ReadSet, ReadSetStatus
from airflow_omics._starting.goals import GOALS, Finding, Goal, Item, State, records, unfinished
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind

ACTIVATION, EXPORT, IMPORT = ReadSetJobKind.ACTIVATION, ReadSetJobKind.EXPORT, ReadSetJobKind.IMPORT
STORE, READ_SET = "1234567890", "5555555555"
SOURCE = {"sourceFiles": {"source1": "s3://b/1", "source2": "s3://b/2"}, "sampleId": "sample", "subjectId": "subject"}
SINCE = datetime(2026, 11, 22, tzinfo=UTC)

HOLDS, UNDER_WAY, MISSING = State.HOLDS, State.UNDER_WAY, State.MISSING
DONE = JobItem(("x",), FINISHED, READ_SET)
FAILS = JobItem(("x",), FAILED, READ_SET)
WAITS = JobItem(("x",), "IN_PROGRESS")
UNNAMED = JobItem(("x",), FINISHED)
"""Finished, without the id of what it made."""


def job(job_id: str, *items: JobItem, **changes: Any) -> ReadSetJob:
    is_waiting = any(item.status not in (FINISHED, FAILED) for item in items)
    status = JobStatus.IN_PROGRESS if is_waiting else JobStatus.COMPLETED_WITH_FAILURES
    return ReadSetJob(EXPORT, job_id, STORE, status, items=items, **changes)


def told(*items: JobItem) -> list[tuple[ReadSetJob, JobItem]]:
    """Return what jobs named 1, 2 and so on tell of an item."""
    return [(job(str(number), item), item) for number, item in enumerate(items, 1)]


def goal(kind: Kind, destination: str | None = None, since: datetime | None = None) -> Goal:
    return GOALS[kind](kind, destination, since)


def read_set(status: str, message: str | None = None, read_set_id: str = READ_SET) -> ReadSet:
    return ReadSet(kinds.READ_SET, read_set_id, STORE, status, message)


# --- items


def test_a_read_set_is_known_by_its_id() -> None:
    item = Item.of({"readSetId": READ_SET})
    assert item == Item((READ_SET,), {"readSetId": READ_SET})
    assert (item.name, item.argument) == (READ_SET, READ_SET)


def test_a_source_is_known_by_its_files_sample_and_subject() -> None:
    item = Item.of(SOURCE)
    assert item == Item(("s3://b/1", "s3://b/2", "sample", "subject"), SOURCE)
    assert (item.name, item.argument) == ("s3://b/1", SOURCE)


# --- what jobs tell


def test_every_job_tells_of_an_item_and_of_two_that_are_equal_the_worse() -> None:
    again, unknown = JobItem(("x",), FINISHED, "another"), JobItem((), FINISHED)
    first, second, third = (
        job(str(number), *items) for number, items in enumerate([(DONE, FAILS, unknown), (FAILS, DONE), (DONE, again)])
    )
    assert records([first, second, third]) == {("x",): [(first, FAILS), (second, FAILS), (third, DONE)]}


def test_items_that_no_job_finished() -> None:
    jobs = [job("1", DONE, JobItem(("y",), FAILED)), job("2", FAILS)]
    assert unfinished(jobs, [("x",), ("y",), ("z",)]) == {("y",), ("z",)}


@pytest.mark.parametrize(
    ("changes", "does_count"),
    [
        ({}, True),
        ({"creation_time": SINCE + timedelta(days=1)}, True),
        ({"creation_time": SINCE - timedelta(seconds=1)}, False),
        ({"creation_time": None}, False),
        ({"destination": "s3://b/elsewhere/"}, False),
    ],
    ids=str,
)
def test_a_job_counts_by_its_time_and_destination(changes: dict[str, Any], does_count: bool) -> None:
    told = job("1", **{"creation_time": SINCE, "destination": "s3://b/out/"} | changes)
    assert goal(EXPORT, "s3://b/out/", SINCE).counts(told, timedelta()) is does_count


def test_a_jobs_time_is_by_the_clock_of_aws() -> None:
    a_minute = timedelta(minutes=1)
    assert goal(EXPORT, since=SINCE).counts(job("1", creation_time=SINCE - a_minute), a_minute)


def test_without_a_time_of_the_run_every_job_counts() -> None:
    assert goal(EXPORT).counts(job("1", creation_time=None), timedelta())


# --- exports


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([], Finding(MISSING)),
        ([DONE, DONE, FAILS, WAITS], Finding(HOLDS, READ_SET, "2")),
        ([WAITS, WAITS, FAILS], Finding(UNDER_WAY, None, "2")),
        ([FAILS, FAILS], Finding(MISSING, None, "2")),
    ],
    ids=["no job", "done", "under way", "failed"],
)
def test_an_export_holds_where_a_job_finished(items: list[JobItem], found: Finding) -> None:
    item = Item.of({"readSetId": READ_SET})
    assert goal(EXPORT).find(item, told(*items), {}) == found
    assert goal(EXPORT).to_look_at(item, told(*items)) == []


# --- imports


@pytest.mark.parametrize(
    ("items", "known", "found"),
    [
        ([], {}, Finding(MISSING)),
        ([DONE], {}, Finding(HOLDS, READ_SET, "1")),
        ([DONE, WAITS, FAILS], {READ_SET: read_set("ACTIVE")}, Finding(HOLDS, READ_SET, "1")),
        ([DONE], {READ_SET: read_set("ARCHIVED")}, Finding(HOLDS, READ_SET, "1")),
        ([DONE], {READ_SET: read_set("ACTIVATING")}, Finding(HOLDS, READ_SET, "1")),
        ([DONE, FAILS], {READ_SET: read_set("TOMORROW")}, Finding(UNDER_WAY, None, "1")),
        ([DONE, FAILS], {READ_SET: read_set(ReadSetStatus.PROCESSING_UPLOAD)}, Finding(UNDER_WAY, None, "1")),
        (
            [DONE],
            {READ_SET: read_set(ReadSetStatus.DELETED)},
            Finding(MISSING, None, "1", "Imported by job 1, but the read set is DELETED"),
        ),
        (
            [DONE],
            {READ_SET: read_set(ReadSetStatus.UPLOAD_FAILED, "Torn")},
            Finding(MISSING, None, "1", "Imported by job 1, but the read set is UPLOAD_FAILED (Torn)"),
        ),
        (
            [DONE, DONE, FAILS],
            {READ_SET: None},
            Finding(MISSING, None, "2", "Imported by job 2, but the read set is not found", is_early=True),
        ),
        ([DONE, WAITS], {READ_SET: None}, Finding(UNDER_WAY, None, "2")),
        ([DONE, UNNAMED], {READ_SET: read_set("ACTIVE")}, Finding(HOLDS, READ_SET, "1")),
        ([UNNAMED, FAILS], {}, Finding(MISSING, None, "2")),
    ],
)
def test_an_import_holds_where_what_it_made_is_in_the_store(
    items: list[JobItem], known: dict[str, ReadSet | None], found: Finding
) -> None:
    assert goal(IMPORT).find(Item.of(SOURCE), told(*items), known) == found


def test_of_two_imports_one_that_is_in_the_store_is_enough() -> None:
    records = told(DONE, JobItem(("x",), FINISHED, "6666666666"))
    known: dict[str, ReadSet | None] = {READ_SET: read_set("ACTIVE"), "6666666666": None}
    assert goal(IMPORT).find(Item.of(SOURCE), records, known) == Finding(HOLDS, READ_SET, "1")


def test_an_import_asks_for_what_jobs_made() -> None:
    assert goal(IMPORT).to_look_at(Item.of(SOURCE), told(JobItem(("x",), FAILED, "6666666666"), DONE, UNNAMED)) == [
        READ_SET
    ]


# --- activations

NOT_ACTIVE = "and will not become ACTIVE; correct read_set_ids"


@pytest.mark.parametrize(
    ("items", "known", "found"),
    [
        ([], {READ_SET: read_set("ACTIVE")}, Finding(HOLDS, READ_SET)),
        ([DONE, DONE, DONE, FAILS], {READ_SET: read_set("ACTIVE")}, Finding(HOLDS, READ_SET, "3")),
        ([], {}, Finding(MISSING, None, None, f"Read set is not found, {NOT_ACTIVE}", True)),
        ([DONE, FAILS], {READ_SET: None}, Finding(MISSING, None, "2", f"Read set is not found, {NOT_ACTIVE}", True)),
        (
            [FAILS],
            {READ_SET: read_set("UPLOAD_FAILED", "Torn")},
            Finding(MISSING, None, "1", f"Read set is UPLOAD_FAILED (Torn), {NOT_ACTIVE}", True),
        ),
        ([], {READ_SET: read_set("ACTIVATING")}, Finding(UNDER_WAY)),
        ([DONE, FAILS], {READ_SET: read_set("TOMORROW")}, Finding(UNDER_WAY, None, "2")),
        ([], {READ_SET: read_set("ARCHIVED")}, Finding(MISSING)),
        ([FAILS, FAILS], {READ_SET: read_set("ARCHIVED")}, Finding(MISSING, None, "2")),
        ([DONE, WAITS], {READ_SET: read_set("ARCHIVED")}, Finding(UNDER_WAY, None, "2")),
        (
            [DONE, FAILS, DONE],
            {READ_SET: read_set("ARCHIVED")},
            Finding(MISSING, None, "3", "Read set is ARCHIVED still, although job 3 finished it", is_early=True),
        ),
        ([DONE, FAILS], {READ_SET: read_set("ARCHIVED")}, Finding(MISSING, None, "2")),
    ],
)
def test_an_activation_holds_where_the_read_set_is_active(
    items: list[JobItem], known: dict[str, ReadSet | None], found: Finding
) -> None:
    item = Item.of({"readSetId": READ_SET})
    assert goal(ACTIVATION).find(item, told(*items), known) == found
    assert goal(ACTIVATION).to_look_at(item, told(*items)) == [READ_SET]
