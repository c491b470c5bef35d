"""What every test needs: an Airflow home of its own, local HealthOmics, and jobs in any state."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile

# Before Airflow is imported anywhere: it reads its home once.
HOME = tempfile.TemporaryDirectory(prefix="airflow-omics-tests-")
os.environ["AIRFLOW_HOME"] = HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__OMICS__CALLS_PER_SECOND"] = "1000"
os.environ["AIRFLOW__OMICS__NOT_FOUND_SECONDS"] = "0"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
for name in [each for each in os.environ if each.startswith("AWS_") and not each.startswith("AWS_EC2")]:
    del os.environ[name]
for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
    os.environ[name] = os.path.join(HOME.name, "none")
os.environ["AWS_DATA_PATH"] = os.path.join(HOME.name, "botocore")

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache, cached_property
from typing import Any

import pytest
from botocore import xform_name
from secret_search import SECRET, pytest_runtest_makereport, secrets_in
from versions import IS_AIRFLOW_2, TaskDeferred

from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import JOB_KINDS, REFERENCE_IMPORT
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics
from airflow_omics.sensors import (
    OmicsReadSetActivationJobSensor,
    OmicsReadSetExportJobSensor,
    OmicsReadSetImportJobSensor,
    OmicsReferenceImportJobSensor,
)
from airflow_omics.triggers import OmicsReadSetJobTrigger

if IS_AIRFLOW_2:
    import airflow.sensors.base

pytest_plugins = ["airflow_omics.local.pytest_plugin", "fast_runs", "tasks"]
__all__ = ["pytest_runtest_makereport"]

ROLE = "arn:aws:iam::123456789012:role/HealthOmics"
BUCKET = "airflow-omics-tests"
JOB_SECONDS = 1000
ONE_TRY = {"retries": {"total_max_attempts": 1}}
"""A configuration of botocore's: no retries of its own."""
FAULTS_THAT_PASS: list[dict[str, Any]] = [
    {"error": "ThrottlingException"},
    {"error": "InternalServerException"},
    {"error": "RequestTimeoutException"},
    {"error": "ServiceUnavailable", "http_status": 503},
    {"error": "ExpiredTokenException", "http_status": 403},
    {"action": "reset"},
    {"action": "garbage"},
]
"""What is waited out, as :meth:`LocalHealthOmics.add_fault` takes it."""
PATIENCE = float(os.environ.get("TESTS_PATIENCE", "60"))
"""Seconds after which what has not come will never come; less in scripts/mutation.py, where much never comes."""

SENSORS: dict[Kind, Any] = {
    ReadSetJobKind.EXPORT: OmicsReadSetExportJobSensor,
    ReadSetJobKind.ACTIVATION: OmicsReadSetActivationJobSensor,
    ReadSetJobKind.IMPORT: OmicsReadSetImportJobSensor,
    REFERENCE_IMPORT: OmicsReferenceImportJobSensor,
}


class World:
    """
    A sequence store with three read sets on local HealthOmics, whose time stands still until ``advance``.

    Jobs take :data:`JOB_SECONDS`, so none gets on by itself during a test.
    """

    def __init__(self, local: LocalHealthOmics) -> None:
        self.local = local
        local.reset()
        local.configure(job_seconds=JOB_SECONDS, calls_per_second=None, max_concurrent_jobs=None, get_lag=0, list_lag=0)
        local.configure(client_tokens=True, client_token_seconds=None, changed_request="refuse")
        self.omics, self.s3 = _clients(local)
        self.s3.create_bucket(Bucket=BUCKET)
        self.store: str = self.omics.create_sequence_store(name="tests")["id"]
        self.read_sets = local.add_read_sets(self.store, 3)

    @cached_property
    def sources(self) -> list[dict[str, Any]]:
        """What can be imported: three files."""
        for number in range(3):
            self.s3.put_object(Bucket=BUCKET, Key=f"in/{number}.fastq.gz", Body=b"@read%d\n" % number)
        return [self.source(f"s3://{BUCKET}/in/{number}.fastq.gz") for number in range(3)]

    @staticmethod
    def source(uri: str) -> dict[str, Any]:
        return {
            "sourceFiles": {"source1": uri},
            "sourceFileType": "FASTQ",
            "subjectId": "subject",
            "sampleId": "sample",
            "name": "name",
        }

    @cached_property
    def reference_sources(self) -> list[dict[str, Any]]:
        """What references can be imported of: three files."""
        return [self.reference_source(each["sourceFiles"]["source1"]) for each in self.sources]

    @staticmethod
    def reference_source(uri: str) -> dict[str, Any]:
        return {"sourceFile": uri, "name": "reference"}

    @cached_property
    def reference_store(self) -> str:
        return str(self.omics.create_reference_store(name="tests")["id"])

    def store_of(self, kind: Kind) -> str:
        """Return the id of the store that this kind's work is in."""
        return self.store if kind.store.word == "sequence store" else self.reference_store

    def call(self, kind: Kind, verb: str, **parameters: Any) -> Any:
        """Call an operation on a kind of work."""
        return getattr(self.omics, xform_name(kind.operation(verb)))(
            **{kind.store.member: self.store_of(kind)}, **parameters
        )

    def start(self, kind: Kind, read_sets: list[str] | None = None, **arguments: Any) -> str:
        """Start a job on all read sets, or these, and return its id."""
        by_id = [{"readSetId": each} for each in (read_sets or self.read_sets)]
        sources = {ReadSetJobKind.IMPORT: self.sources, REFERENCE_IMPORT: self.reference_sources}
        arguments["sources"] = sources.get(kind, by_id)
        if kind != ReadSetJobKind.ACTIVATION:
            arguments["roleArn"] = ROLE
        if kind == ReadSetJobKind.EXPORT:
            arguments.setdefault("destination", f"s3://{BUCKET}/out/")
        return str(self.call(kind, "Start", **arguments)["id"])

    def items(self, kind: Kind) -> Any:
        """Return three items of a job of this kind, in the form of an operator's argument."""
        return {ReadSetJobKind.IMPORT: self.sources, REFERENCE_IMPORT: self.reference_sources}.get(kind, self.read_sets)

    def many(self, kind: Kind, count: int) -> list[Any]:
        """Return so many new items; those to activate are ARCHIVED."""
        if kind == ReadSetJobKind.IMPORT:
            return [{**self.sources[0], "sampleId": f"sample {number}"} for number in range(count)]
        if kind == REFERENCE_IMPORT:
            return [{**self.reference_sources[0], "name": f"reference {number}"} for number in range(count)]
        status = "ARCHIVED" if kind == ReadSetJobKind.ACTIVATION else "ACTIVE"
        return list(self.local.add_read_sets(self.store, count, status))

    def names(self, kind: Kind) -> list[str]:
        """What a job of this kind calls the three read sets or references: ids, or source URIs."""
        if kind.makes_items:
            return [each["sourceFiles"]["source1"] for each in self.sources]
        return self.read_sets

    def job(self, kind: Kind, status: str) -> str:
        """Return a job that has this status, brought there by what really happens to jobs."""
        failing = {"FAILED": 3, "COMPLETED_WITH_FAILURES": 1}.get(status, 0)
        self.local.fail_read_sets(self.names(kind)[:failing], "Bad reads")
        job_id = self.start(kind)
        if status.startswith("CANCEL"):
            self.local.advance(JOB_SECONDS / 2)
            self.local.cancel_job(job_id)
        advance = {"SUBMITTED": 0, "IN_PROGRESS": JOB_SECONDS / 2, "CANCELLING": 0}
        self.local.advance(advance.get(status, JOB_SECONDS))
        self.local.clear_faults()
        return job_id

    def sensor(self, kind: Kind, job_id: Any, **arguments: Any) -> Any:
        """Return a sensor for a job."""
        arguments.setdefault("task_id", "wait")
        arguments.setdefault(kind.store.argument, self.store_of(kind))
        return SENSORS[kind](job_id=job_id, **arguments)

    def end(self, job_id: str, status: str) -> None:
        """Bring a job that has begun to its end."""
        if status == "CANCELLED":
            self.local.cancel_job(job_id)
        failing = {"FAILED": 3, "COMPLETED_WITH_FAILURES": 1}.get(status, 0)
        self.local.fail_read_sets(self.read_sets[:failing], "Bad reads")
        self.local.advance(JOB_SECONDS)
        self.local.clear_faults()

    def status(self, kind: Kind, job_id: str) -> str:
        """Return what Get says of a job."""
        return str(self.call(kind, "Get", id=job_id)["status"])


class TaskInstance:
    """What a task needs of a task instance, outside of a scheduler."""

    dag_id = "dag"
    run_id = "run"
    task_id = "task"
    map_index = -1
    try_number = 1
    max_tries = 0

    def __init__(self, first_reschedule: datetime | None = None) -> None:
        self.xcoms: dict[str, Any] = {}
        self._first_reschedule = first_reschedule
        if IS_AIRFLOW_2:  # it reads it from its database
            airflow.sensors.base._orig_start_date = lambda *_, **__: first_reschedule

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self._first_reschedule


def wake(task: Any, deferred: TaskDeferred, ti: TaskInstance, event: Any = ...) -> Any:
    """
    Do with a deferred task what the triggerer and the worker do; everything goes through JSON on the way.

    :param event: What the trigger tells; without it the trigger really runs.
    """
    classpath, arguments = json.loads(json.dumps(deferred.trigger.serialize()))
    trigger = OmicsReadSetJobTrigger(**arguments)
    assert classpath == f"{type(trigger).__module__}.{type(trigger).__name__}"
    told = asyncio.run(first_event(trigger)) if event is ... else event
    # In any order: JSONB of PostgreSQL's keeps none.
    kwargs = json.loads(json.dumps({**(deferred.kwargs or {}), "event": told}, sort_keys=True))
    return task.resume_execution(deferred.method_name, kwargs, {"ti": ti})


def through_triggerer(task: Any, ti: TaskInstance, deferred: TaskDeferred | None = None) -> Any:
    """Execute a task, or go on with it, as often deferred and woken as it takes."""
    while True:
        try:
            return wake(task, deferred, ti) if deferred else task.execute({"ti": ti})
        except TaskDeferred as left:
            deferred = left


async def first_event(trigger: OmicsReadSetJobTrigger, seconds: float = PATIENCE) -> Any:
    if isinstance(trigger.fire_after, float):
        trigger.fire_after = 0  # nothing here has to settle
    async with asyncio.timeout(seconds):
        async for event in trigger.run():
            return event.payload
    raise AssertionError("The trigger ended without an event")


@cache  # making a client takes longer than most tests
def _clients(local: LocalHealthOmics) -> tuple[Any, Any]:
    return local.client("omics"), local.client("s3")


@pytest.fixture(scope="session")
def shared_local() -> Iterator[LocalHealthOmics]:
    with LocalHealthOmics() as local:
        yield local


def connection(local: LocalHealthOmics, **extra: Any) -> dict[str, Any]:
    """Return an Airflow connection with secrets that can be searched for."""
    own = local.connection
    extra = {**own["extra"], "aws_session_token": f"{SECRET}-session-token", **extra}
    return {**own, "password": f"{SECRET}-key", "extra": extra}


@pytest.fixture
def world(shared_local: LocalHealthOmics, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection(shared_local)))
    return World(shared_local)


@pytest.fixture
def fast(world: World) -> World:
    """A world whose jobs are over at the next look."""
    world.local.configure(
        job_seconds=0, max_concurrent_jobs={kind.word: kind.max_concurrent_jobs for kind in JOB_KINDS}
    )
    return world


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return the lines logged so far: Airflow writes a task's log to standard output, or logs it, or does both."""
    caplog.set_level("INFO")

    def lines() -> list[str]:
        logged = {
            f"[{record.levelname.lower()}] {record.getMessage()}": record.getMessage() for record in caplog.records
        }
        printed = capsys.readouterr().out
        assert not secrets_in(printed)  # which is nowhere else from here on
        return [
            *(line for line, message in logged.items() if message not in printed),
            *(re.sub(r"([A-Z]+) - ", lambda level: f"[{level[1].lower()}] ", line) for line in printed.splitlines()),
        ]

    return lines


@pytest.fixture
def ti() -> TaskInstance:
    return TaskInstance()


@pytest.fixture(params=JOB_KINDS, ids=lambda kind: kind.word)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found
