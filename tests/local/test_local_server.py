"""How local HealthOmics is spoken to: the wire, the limits, the clock."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import BUCKET, JOB_SECONDS, ONE_TRY, ROLE, World
from test_local import code

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics
from airflow_omics.local.wire import error_codes


def control(local: LocalHealthOmics, name: str, **arguments: Any) -> Any:
    """Call a control over HTTP."""
    body = json.dumps(arguments).encode()
    with urllib.request.urlopen(f"{local.endpoint_url}/_local/{name}", body) as response:
        return json.load(response)


# --- the wire


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sources": [{"readSetId": "1234567890"}] * 101}, "length less than or equal to 100"),
        ({"sources": []}, "length greater than or equal to 1"),
        ({"sources": None}, "must not be null"),
        ({"sources": [{"readSetId": "123456789x"}]}, "pattern: [0-9]+"),
        ({"sources": [{}]}, "sources.1.member.readSetId"),
        ({"destination": f"s3://{BUCKET}/prefix"}, "pattern: s3://"),
        ({"roleArn": "HealthOmicsRoleWithALongName"}, "pattern: arn:"),
        ({"clientToken": "t" * 128}, "less than or equal to 127"),
    ],
    ids=str,
)
def test_requests_are_checked_against_the_service_model(world: World, arguments: dict[str, Any], said: str) -> None:
    lax = boto3.Session("key", "secret", region_name="us-east-1").client(
        "omics",
        endpoint_url=world.local.endpoint_url,
        config=Config(inject_host_prefix=False, parameter_validation=False),
    )
    good = {"destination": f"s3://{BUCKET}/out/", "roleArn": ROLE, "sources": [{"readSetId": "1234567890"}]}
    chosen = {name: value for name, value in (good | arguments).items() if value is not None}
    with pytest.raises(ClientError) as caught:
        lax.start_read_set_export_job(sequenceStoreId=world.store, **chosen)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert said in str(caught.value)


def test_an_enumeration_and_a_range_are_checked(world: World) -> None:
    world.sources[0]["sourceFileType"] = "VCF"
    with pytest.raises(ClientError, match=r"enum value set: \[FASTQ, BAM, CRAM, UBAM\]"):
        world.start(ReadSetJobKind.IMPORT)
    with pytest.raises(ClientError, match="less than or equal to 100"):
        world.omics.list_read_sets(sequenceStoreId=world.store, maxResults=101)


def test_an_operation_that_is_not_served_is_named(world: World) -> None:
    with pytest.raises(ClientError, match="does not serve ListWorkflows") as caught:
        world.omics.list_workflows()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405
    with pytest.raises(ClientError, match="serves omics, s3 and sts, not lambda"):
        world.local.client("lambda").list_functions()


@pytest.mark.parametrize(("error", "status"), error_codes().items(), ids=str)
def test_every_error_of_the_model_has_its_shape_and_http_code(world: World, error: str, status: int) -> None:
    world.local.add_fault(error=error, message="Why", times=5)
    with pytest.raises(ClientError) as caught:
        world.local.client("omics", **ONE_TRY).list_sequence_stores()
    assert caught.value.response["Error"] == {"Code": error, "Message": "Why"}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert type(caught.value).__name__ == error


# --- limits


@pytest.mark.parametrize("limit", [20, 3, None])
def test_read_sets_per_job(world: World, limit: int | None) -> None:
    world.local.configure(max_read_sets={"activation": limit})
    sources = [{"readSetId": "1234567890"}] * 21
    call = world.omics.start_read_set_activation_job
    try:
        if limit is None:
            call(sequenceStoreId=world.store, sources=sources)
        else:
            assert code(call, sequenceStoreId=world.store, sources=sources[: limit + 1]) == "ValidationException"
            call(sequenceStoreId=world.store, sources=sources[:limit])
    finally:
        world.local.configure(max_read_sets={"activation": 20})


def test_concurrent_jobs_per_kind(world: World) -> None:
    world.local.configure(max_concurrent_jobs={"export": 2})
    for _ in range(2):
        world.start(ReadSetJobKind.EXPORT)
    with pytest.raises(ClientError) as caught:
        world.start(ReadSetJobKind.EXPORT)
    assert caught.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 402
    world.start(ReadSetJobKind.IMPORT)
    world.local.advance(JOB_SECONDS)
    world.start(ReadSetJobKind.EXPORT)


def test_calls_per_second_and_operation(world: World) -> None:
    client = world.local.client("omics", **ONE_TRY)
    world.local.configure(calls_per_second=5)
    for _ in range(5):
        client.list_read_sets(sequenceStoreId=world.store)
    assert code(client.list_read_sets, sequenceStoreId=world.store) == "ThrottlingException"
    client.list_read_set_export_jobs(sequenceStoreId=world.store)
    world.local.configure(calls_per_second=None)
    client.list_read_sets(sequenceStoreId=world.store)


def test_a_client_token_starts_one_job(world: World) -> None:
    first = world.start(ReadSetJobKind.EXPORT, clientToken="once")
    assert world.start(ReadSetJobKind.EXPORT, clientToken="once") == first
    assert world.start(ReadSetJobKind.EXPORT, clientToken="twice") != first
    with pytest.raises(ClientError, match="ValidationException"):
        world.start(ReadSetJobKind.EXPORT, world.read_sets[:1], clientToken="once")
    world.local.configure(client_tokens=False)
    assert world.start(ReadSetJobKind.EXPORT, clientToken="once") != first
    world.local.configure(client_tokens=True)


@pytest.fixture
def tokens(world: World) -> Iterator[Callable[..., None]]:
    """Return what changes the settings of client tokens; they are as they were after the test."""
    yield world.local.configure
    world.local.configure(client_tokens=True, client_token_seconds=None, changed_request="refuse")


@pytest.mark.usefixtures("tokens")
def test_a_client_token_is_answered_with_the_old_job_and_its_time(world: World) -> None:
    arguments = {"sequenceStoreId": world.store, "sources": [{"readSetId": world.read_sets[0]}], "clientToken": "once"}
    first = world.omics.start_read_set_activation_job(**arguments)
    world.local.advance(JOB_SECONDS * 400)
    again = world.omics.start_read_set_activation_job(**arguments)
    assert (again["id"], again["creationTime"]) == (first["id"], first["creationTime"])
    assert world.omics.start_read_set_activation_job(**arguments | {"clientToken": "new"})["id"] != first["id"]


def test_a_client_token_is_forgotten_by_the_services_own_clock(world: World, tokens: Callable[..., None]) -> None:
    tokens(client_token_seconds=3600)
    first = world.start(ReadSetJobKind.EXPORT, clientToken="once")
    world.local.advance(3500)
    assert world.start(ReadSetJobKind.EXPORT, clientToken="once") == first
    world.local.advance(100)
    second = world.start(ReadSetJobKind.EXPORT, clientToken="once")
    assert second != first
    world.local.advance(3500)
    assert world.start(ReadSetJobKind.EXPORT, clientToken="once") == second
    tokens(client_token_seconds=0)
    assert world.start(ReadSetJobKind.EXPORT, clientToken="once") != second


def test_what_a_changed_request_with_a_used_client_token_gets(world: World, tokens: Callable[..., None]) -> None:
    first = world.start(ReadSetJobKind.EXPORT, clientToken="once")
    changed = world.read_sets[:1]
    with pytest.raises(ClientError, match=r"ValidationException.*other parameters"):
        world.start(ReadSetJobKind.EXPORT, changed, clientToken="once")
    tokens(changed_request="old job")
    assert world.start(ReadSetJobKind.EXPORT, changed, clientToken="once") == first
    tokens(changed_request="new job")
    second = world.start(ReadSetJobKind.EXPORT, changed, clientToken="once")
    assert second != first
    assert world.start(ReadSetJobKind.EXPORT, changed, clientToken="once") == second


@pytest.mark.parametrize(
    "wrong", [{"changed_request": "any"}, {"client_token_seconds": -1}, {"client_tokens": None}], ids=str
)
def test_a_setting_of_client_tokens_that_cannot_be_is_refused(world: World, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        world.local.configure(**wrong)


# --- the clock


def date(answer: Any) -> datetime:
    """Return the Date header of boto3's answer or error."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).replace(tzinfo=UTC)


@pytest.mark.parametrize("ahead", [0, 90 * 24 * 3600, -90 * 24 * 3600])
def test_every_answer_tells_the_services_own_time(shared_local: LocalHealthOmics, ahead: int) -> None:
    shared_local.reset()
    shared_local.advance(ahead)
    now = datetime.now(UTC) + timedelta(seconds=ahead)
    omics, s3 = shared_local.client("omics", **ONE_TRY), shared_local.client("s3", **ONE_TRY)
    created = omics.create_sequence_store(name="mine")
    answers = [created, s3.create_bucket(Bucket=BUCKET), shared_local.client("sts").get_caller_identity()]
    shared_local.add_fault(operation="GetSequenceStore", error="AccessDeniedException")
    shared_local.add_fault(operation="ListSequenceStores", action="garbage")
    answers.append(omics.list_sequence_stores())
    for call, arguments in (
        (omics.list_workflows, {}),
        (omics.get_sequence_store, {"id": created["id"]}),
        (omics.list_read_sets, {"sequenceStoreId": "9999999999"}),
        (s3.get_object, {"Bucket": BUCKET, "Key": "none"}),
        (shared_local.client("lambda").list_functions, {}),
    ):
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        answers.append(caught.value.response)
    for answer in answers:
        assert timedelta(seconds=-1) <= date(answer) - now < timedelta(seconds=60)
    assert abs(date(created) - created["creationTime"]) < timedelta(seconds=2)


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/_local/call_counts", {}), ("/_local/call_counts", {"Host": "rebound.example"}), (f"/{BUCKET}?list-type=2", {})],
    ids=["a control", "a refused host", "S3"],
)
def test_whoever_answers_there_is_one_date(world: World, path: str, headers: dict[str, str]) -> None:
    world.local.advance(10_000_000)
    ahead = datetime.now(UTC) + timedelta(seconds=9_999_990)
    body = b"{}" if path.startswith("/_local") else None
    request = urllib.request.Request(world.local.endpoint_url + path, body, headers)
    try:
        with urllib.request.urlopen(request) as response:
            (told,) = response.headers.get_all("Date")
    except urllib.error.HTTPError as error:
        (told,) = error.headers.get_all("Date") or []
    assert parsedate_to_datetime(told).replace(tzinfo=UTC) > ahead


def test_the_real_services_limits_are_the_default() -> None:
    with LocalHealthOmics() as local:
        client = local.client("omics", **ONE_TRY)
        store = client.create_sequence_store(name="mine")["id"]
        arguments = {"sequenceStoreId": store, "sources": [{"readSetId": "1234567890"}]}
        export = {"destination": f"s3://{BUCKET}/", "roleArn": ROLE}
        for _ in range(5):
            client.start_read_set_export_job(**arguments, **export)
        assert code(client.start_read_set_export_job, **arguments, **export) == "ThrottlingException"
        local.configure(calls_per_second=None)
        assert code(client.start_read_set_export_job, **arguments, **export) == "ServiceQuotaExceededException"


def test_an_unknown_setting_is_refused() -> None:
    for settings in ({"job_seconds": "5"}, {"job_seconds": None}, {"calls_per_second": -1}, {"max_read_sets": "x"}):
        with pytest.raises(ValueError, match="expected a number from 0"):
            LocalHealthOmics(**settings)
    with pytest.raises(ValueError, match="there are job_seconds"):
        LocalHealthOmics(jobs=3)
    with pytest.raises(ValueError, match="there is no kind deletion"):
        LocalHealthOmics(max_concurrent_jobs={"deletion": 1})


def test_added_read_sets_have_a_status_that_there_is(world: World) -> None:
    (added,) = world.local.add_read_sets(world.store, status="ARCHIVED")
    metadata = world.omics.get_read_set_metadata(sequenceStoreId=world.store, id=added)
    assert metadata["status"] == "ARCHIVED"
    with pytest.raises(ValueError, match="expected one of ARCHIVED"):
        world.local.add_read_sets(world.store, status="FROZEN")
    with pytest.raises(LookupError):
        world.local.add_read_sets("9999999999")


def test_a_port_in_use_is_an_error(world: World) -> None:
    port = int(world.local.endpoint_url.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"Port {port}"):
        LocalHealthOmics(port=port).start()
