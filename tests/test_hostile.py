"""What comes from outside, in any shape: it makes no wrong success, no hang, and no error that does not say what."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from conftest import ONE_TRY, ROLE, SENSORS, TaskInstance, World, first_event
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starting import DESTINATION, OPERATORS, operator

from airflow_omics import _arguments
from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.kinds import READ_SET, REFERENCE_IMPORT
from airflow_omics._service.limits import LARGEST_ERROR, LONGEST_MESSAGE, LONGEST_TEXT, MOST_READ_SETS
from airflow_omics._waiting import trigger_events
from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsEventError,
    OmicsRequestError,
    OmicsResponseError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJob, ReadSetJobKind
from airflow_omics.triggers import OmicsReadSetJobTrigger

ACTIVATION, EXPORT, IMPORT = ReadSetJobKind.ACTIVATION, ReadSetJobKind.EXPORT, ReadSetJobKind.IMPORT
ID, OTHER = "1234567890", "2345678901"
SOURCE = World.source("s3://bucket/key")
over_http = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


ITEM = {"id": ID, "readSetId": ID, "status": "FAILED", "statusMessage": "Torn", "sourceFiles": {"source1": "s3://b/k"}}
GET = {
    "id": OTHER,
    "sequenceStoreId": ID,
    "status": "COMPLETED",
    "statusMessage": "Done",
    "creationTime": "2026-11-22T00:00:00Z",
    "completionTime": "2026-11-22T00:00:01Z",
    "destination": DESTINATION,
    "readSets": [ITEM],
    "sources": [ITEM],
}
JOB = ReadSetJob.from_response(EXPORT, {**GET, "creationTime": None, "completionTime": None}, sequence_store_id=ID)
EVENT = trigger_events.ended([JOB])


def nested(depth: int) -> Any:
    """Return what Python can hold, and cannot write."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


texts = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["", "None", "False", "{", ID, OTHER, f"{ID}\n", f"\x00{ID}", "\ud800", "١٢٣٤٥٦٧٨٩٠", "[1234567890]", "1" * 5000]
)
numbers = st.sampled_from([0, 1, -1, 10**20, 10**400, 1e300, -1e300, 1e-300, float("nan"), float("inf")])
scalars = st.none() | st.booleans() | st.integers() | numbers | texts
hostile = st.recursive(
    scalars, lambda each: st.lists(each, max_size=4) | st.dictionaries(texts, each, max_size=4), max_leaves=8
)


def changed(good: dict[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a dictionary with some members replaced, added and missing."""
    names = st.sampled_from(sorted(good)) | texts
    replaced = st.dictionaries(names, values, min_size=1, max_size=3).map(lambda new: {**good, **new})
    missing = st.sampled_from(sorted(good)).map(lambda name: {each: good[each] for each in good if each != name})
    return replaced | missing


@contextmanager
def only(*allowed: type[BaseException], naming: str = "") -> Iterator[None]:
    """Let only these exceptions pass, if they say of what they are, in few words that any log and database takes."""
    try:
        yield
    except allowed as error:
        said = str(error)
        assert naming in said
        assert len(said.encode()) <= LARGEST_ERROR * 4
        assert len(said) <= LARGEST_ERROR
        assert "\x00" not in said


# --- arguments

PARSERS: list[Callable[[str, Any], Any]] = [
    _arguments.parse_id,
    _arguments.parse_ids,
    _arguments.parse_destination,
    _arguments.parse_role,
    _arguments.parse_sources,
    _arguments.parse_seconds,
    _arguments.parse_moment,
]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PARSERS), hostile | st.lists(changed(SOURCE, hostile), max_size=2))
@example(_arguments.parse_destination, "s3://bucket/\ud800/")
@example(_arguments.parse_role, "arn:a\nws:iam::123456789012:role/x")
@example(_arguments.parse_sources, [{**SOURCE, 5: "x"}])
def test_what_an_argument_renders_to(parse: Callable[[str, Any], Any], value: Any) -> None:
    with only(OmicsArgumentError, naming="argument"):
        parsed = parse("argument", value)
        assert json.dumps(parsed, allow_nan=False)
        assert parse is _arguments.parse_sources or quote(str(parsed))
        assert not isinstance(parsed, float) or 0 <= parsed <= _arguments.LONGEST_WAIT + time.time()


@pytest.mark.parametrize(
    "value", [10**5000, -(10**5000), nested(500), nested(100_000)], ids=["+", "-", "500", "100000"]
)
def test_what_python_cannot_write(world: World, value: Any) -> None:
    for parse in PARSERS:
        with pytest.raises(OmicsArgumentError, match="argument"):
            parse("argument", value)
        with pytest.raises(OmicsArgumentError, match="argument"):
            _arguments.check(parse, "argument", value)
    with pytest.raises(OmicsArgumentError, match="'tags'"):
        _arguments.parse_sources("argument", [{**SOURCE, "tags": value}])
    for event in (value, {**EVENT, "jobs": value}, {**EVENT, "jobs": [value]}, {"status": value}):
        with pytest.raises(OmicsEventError):
            trigger_events.parse(event, EXPORT, ID, [OTHER])
    for name in ("kind", "job_ids", "botocore_config", "aws_conn_id", "wake_at"):
        trigger = OmicsReadSetJobTrigger(**{"kind": "export", "sequence_store_id": ID, "job_ids": [ID], name: value})
        assert asyncio.run(first_event(trigger, seconds=20))["error"] == "OmicsArgumentError"
    with pytest.raises(OmicsEventError, match="What this task remembered"):
        operator(world, EXPORT, [ID]).execute_complete({"ti": TaskInstance()}, None, {"total": 1, "jobs": value})


COMMON = {"task_id": "task", "accept_partial_failure": False, "timeout": 60}
GOOD: dict[Any, dict[str, Any]] = {
    **{each: {**COMMON, kind.store.argument: ID, "job_id": ID, "poke_interval": 60} for kind, each in SENSORS.items()},
    **{
        each: {**COMMON, kind.store.argument: ID, "poll_interval": 60, "max_concurrent_jobs": 1}
        for kind, each in OPERATORS.items()
    },
}
GOOD[OPERATORS[ACTIVATION]] |= {"read_set_ids": [ID]}
GOOD[OPERATORS[EXPORT]] |= {"read_set_ids": [ID], "destination": DESTINATION, "role_arn": ROLE}
GOOD[OPERATORS[IMPORT]] |= {"sources": [SOURCE], "role_arn": ROLE}
GOOD[OPERATORS[REFERENCE_IMPORT]] |= {"sources": [World.reference_source("s3://bucket/key")], "role_arn": ROLE}
arguments_of_tasks = [(task, name) for task, good in GOOD.items() for name in good if name != "task_id"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(arguments_of_tasks), hostile)
@example((SENSORS[EXPORT], "accept_partial_failure"), "False")
@example((SENSORS[EXPORT], "timeout"), float("inf"))
@example((SENSORS[EXPORT], "timeout"), None)
@example((OPERATORS[EXPORT], "poll_interval"), timedelta.max)
def test_what_is_passed_when_the_dag_is_parsed(argument: tuple[Any, str], value: Any) -> None:
    task, name = argument
    with only(OmicsArgumentError, naming=name):
        made = task(**{**GOOD[task], name: value})
        assert isinstance(made.accept_partial_failure, bool)


CONNECTION = ["aws_conn_id", "region_name", "verify", "botocore_config"]


@settings(over_http, max_examples=20)
@given(st.sampled_from(CONNECTION), hostile, st.booleans())
@example("botocore_config", {"retries": {"max_attempts": "x"}}, True)
@example("botocore_config", {"unheard": 1}, False)
@example("aws_conn_id", "\ud800", True)
def test_settings_of_the_client(world: World, name: str, value: Any, is_sensor: bool) -> None:
    task: Any = operator(world, EXPORT, world.read_sets, wait_for_completion=False)
    if is_sensor:
        task = world.sensor(EXPORT, world.start(EXPORT, world.read_sets[:1]))
    setattr(task, name, value)
    with only(OmicsArgumentError, OmicsRequestError):
        assert not task.poke({"ti": TaskInstance()}) if is_sensor else task.execute({"ti": TaskInstance()})


@over_http
@given(st.sampled_from(["sequence_store_id", "destination", "role_arn", "read_set_ids", "client_token"]), hostile)
def test_what_is_rendered_starts_nothing_else(world: World, name: str, value: Any) -> None:
    task = operator(world, EXPORT, world.read_sets, wait_for_completion=False, botocore_config=ONE_TRY)
    setattr(task, name, value)
    with only(OmicsArgumentError, OmicsRequestError):
        started = task.execute({"ti": TaskInstance()})
        assert len(started) == 1 or (
            name == "read_set_ids" and not _arguments.parse_ids(name, value, can_be_empty=True)
        )


# --- answers of AWS


@pytest.fixture
def hook(world: World) -> OmicsHook:
    return OmicsHook(config=ONE_TRY)


def answer(world: World, operation: str, body: str) -> None:
    world.local.clear_faults()
    world.local.add_fault(operation=operation, action="garbage", body=body)


def raw(good: dict[str, Any]) -> st.SearchStrategy[str]:
    """Draw bodies: a good one changed, any JSON, and what makes a reader of JSON give up."""
    readable = (changed(good, hostile) | hostile).map(json.dumps)
    return readable | st.sampled_from(["[" * 100_000, "", "5", "NaN", '{"id":' + "1" * 5000 + "}", "\xff{"])


answers = (
    raw(GET)
    | changed(ITEM, hostile).map(lambda item: json.dumps({**GET, "readSets": [item], "sources": [item]}))
    | st.sampled_from(["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 1e300, 1e18, 1e12, "now", True]).map(
        lambda moment: json.dumps({**GET, "completionTime": moment})
    )
    | st.integers(1, 3000).map(lambda count: json.dumps({**GET, "readSets": [ITEM] * count, "sources": [ITEM] * count}))
    | st.text(st.characters()).map(lambda said: json.dumps({**GET, "statusMessage": said * 300}))
)


@over_http
@given(st.sampled_from([EXPORT, ACTIVATION, IMPORT]), answers)
@example(EXPORT, json.dumps({**GET, "completionTime": "9999-12-31T23:59:59-14:00"}))
@example(IMPORT, json.dumps({**GET, "statusMessage": "\ud800\x00" * 1000}))
@example(EXPORT, json.dumps({**GET, "readSets": [ITEM] * (MOST_READ_SETS + 1)}))
@example(EXPORT, json.dumps({**GET, "destination": "x" * (LONGEST_TEXT + 1)}))
def test_an_answer_about_a_job(world: World, hook: OmicsHook, kind: Kind, body: str) -> None:
    answer(world, kind.operation("Get"), body)
    with only(OmicsTransientError, OmicsResponseError, naming=kind.operation("Get")):
        job = hook.get_work(kind, ID, OTHER)
        summary = json.dumps(job.summary(), ensure_ascii=False)
        assert "\\u0000" not in summary
        assert len(summary.encode()) < 4 * (LONGEST_MESSAGE + 2 * LONGEST_TEXT + 100) * (job.total + 1)
        assert (job.job_id, job.total <= MOST_READ_SETS) == (OTHER, True)
        assert job.verdict() is not Verdict.SUCCEEDED or json.loads(body)["status"] == "COMPLETED"


def test_a_time_that_cannot_be_read_says_nothing_of_credentials(world: World, hook: OmicsHook) -> None:
    answer(world, "GetReadSetExportJob", json.dumps({**GET, "completionTime": 1e300}))
    with pytest.raises(OmicsTransientError, match="the body cannot be read"):
        hook.get_work(EXPORT, ID, OTHER)


@over_http
@given(raw({"id": OTHER, "sequenceStoreId": ID, "status": "SUBMITTED"}))
def test_an_answer_to_a_start(world: World, hook: OmicsHook, body: str) -> None:
    answer(world, "StartReadSetActivationJob", body)
    with only(OmicsTransientError, OmicsResponseError, naming="StartReadSetActivationJob"):
        job = hook.start_job(ACTIVATION, ID, [{"readSetId": ID}])
        assert job.job_id == _arguments.parse_id("id", json.loads(body)["id"])


@over_http
@given(raw({"exportJobs": [{**GET, "status": "IN_PROGRESS"}], "readSets": [{**ITEM, "status": "ACTIVE"}]}))
def test_an_answer_to_a_list(world: World, hook: OmicsHook, body: str) -> None:
    for kind in (EXPORT, READ_SET):
        answer(world, kind.operation("List"), body)
        with only(OmicsTransientError, OmicsResponseError, naming=kind.operation("List")):
            assert {each.id for page in hook.list_work(kind, ID, status="IN_PROGRESS") for each in page} <= {OTHER, ID}


@pytest.mark.parametrize("tokens", [["again"] * 3, [str(number) for number in range(200)]], ids=["same", "new"])
def test_a_list_without_end(world: World, hook: OmicsHook, tokens: list[str]) -> None:
    for token in tokens:
        page = json.dumps({"exportJobs": [], "nextToken": token})
        world.local.add_fault(operation="ListReadSetExportJobs", action="garbage", body=page, times=1)
    with pytest.raises(OmicsResponseError, match=r"ListReadSetExportJobs.*nextToken"):
        list(hook.list_work(EXPORT, ID, status="IN_PROGRESS"))


def test_read_sets_that_are_listed_but_not_active_are_activated(world: World, ti: TaskInstance) -> None:
    read_sets = world.local.add_read_sets(world.store, READ_SET.few + 1, "ARCHIVED")
    page = {"readSets": [{"id": each, "status": "ARCHIVED"} for each in read_sets]}
    answer(world, "ListReadSets", json.dumps(page))
    assert operator(world, ACTIVATION, read_sets, wait_for_completion=False).execute({"ti": ti})
    assert "GetReadSetMetadata" not in world.local.call_counts()


def test_one_job_is_not_taken_for_two(world: World, ti: TaskInstance) -> None:
    started = {"id": world.job(ACTIVATION, "COMPLETED"), "sequenceStoreId": world.store, "status": "SUBMITTED"}
    answer(world, "StartReadSetActivationJob", json.dumps(started))
    read_sets = world.local.add_read_sets(world.store, 40, "ARCHIVED")
    with pytest.raises(OmicsResponseError, match="StartReadSetActivationJob"):
        operator(world, ACTIVATION, read_sets).execute({"ti": ti})
