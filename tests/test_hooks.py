"""How the hook reaches AWS: hosts, retries, and whose settings win."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import ONE_TRY, TaskInstance, World

from airflow_omics._aws.rate_limit import _Turns
from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import OmicsArgumentError, OmicsRefusedError, OmicsRequestError, OmicsTransientError
from airflow_omics.hooks import PAGE_TRIES, OmicsHook
from airflow_omics.jobs import ReadSetJobKind

STORE, JOB = "1234567890", "2345678901"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the extra of the connection aws_default."""

    def set_extra(**extra: Any) -> None:
        connection = {"conn_type": "aws", "login": "key", "password": "secret"}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection | {"extra": extra}))

    set_extra(region_name="eu-west-2")
    return set_extra


def url(hook: OmicsHook) -> str:
    """Return where the hook's client sends GetReadSetExportJob, without sending it."""
    parameters = {"sequenceStoreId": STORE, "id": JOB}
    return hook.conn.generate_presigned_url("get_read_set_export_job", Params=parameters).split("/sequencestore")[0]


def test_the_get_operations_return_boto3s_response(world: World, kind: Kind) -> None:
    job_id = world.job(kind, "COMPLETED")
    response = getattr(OmicsHook(), xform_name(kind.operation("Get")))(world.store_of(kind), job_id)
    assert "ResponseMetadata" not in response
    assert (response["id"], response["status"]) == (job_id, "COMPLETED")
    assert len(response[kind.items_key]) == 3


def test_the_get_operations_raise_boto3s_errors(world: World) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        OmicsHook().get_read_set_export_job(world.store, JOB)


def test_without_an_endpoint_the_host_prefix_is_on(connect: Callable[..., None]) -> None:
    assert url(OmicsHook()) == "https://control-storage-omics.eu-west-2.amazonaws.com"
    assert url(OmicsHook(region_name="us-east-1")) == "https://control-storage-omics.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    "extra",
    [
        {"endpoint_url": "http://127.0.0.1:1"},
        {"service_config": {"omics": {"endpoint_url": "http://127.0.0.1:1"}}},
        {"endpoint_url": "http://127.0.0.1:2", "service_config": {"omics": {"endpoint_url": "http://127.0.0.1:1"}}},
    ],
    ids=str,
)
def test_with_an_endpoint_the_host_prefix_is_off(connect: Callable[..., None], extra: dict[str, Any]) -> None:
    connect(region_name="eu-west-2", **extra)
    assert url(OmicsHook()) == "http://127.0.0.1:1"


def test_another_services_endpoint_changes_nothing(connect: Callable[..., None]) -> None:
    connect(region_name="eu-west-2", service_config={"s3": {"endpoint_url": "http://127.0.0.1:1"}})
    assert url(OmicsHook()) == "https://control-storage-omics.eu-west-2.amazonaws.com"


def test_the_users_host_prefix_wins(connect: Callable[..., None]) -> None:
    connect(region_name="eu-west-2", endpoint_url="http://omics:1", config_kwargs={"inject_host_prefix": True})
    assert url(OmicsHook()) == "http://control-storage-omics:1"
    assert url(OmicsHook(config={"inject_host_prefix": False})) == "http://omics:1"


def test_a_botocore_config_does_not_undo_the_connections(connect: Callable[..., None]) -> None:
    own = {"retries": {"mode": "legacy"}, "inject_host_prefix": True}
    connect(region_name="eu-west-2", endpoint_url="http://omics:1", config_kwargs=own)
    hook = OmicsHook(config={"read_timeout": 7})
    assert (hook.conn.meta.config.retries["mode"], url(hook)) == ("legacy", "http://control-storage-omics:1")


@pytest.mark.parametrize("config", [{"read_timeout": 7}, Config(read_timeout=7)], ids=["dict", "Config"])
def test_a_botocore_config_keeps_this_providers_defaults(connect: Callable[..., None], config: Any) -> None:
    connect(region_name="eu-west-2", endpoint_url="http://127.0.0.1:1")
    hook = OmicsHook(config=config)
    assert hook.conn.meta.config.read_timeout == 7
    assert hook.conn.meta.config.retries["mode"] == "standard"
    assert url(hook) == "http://127.0.0.1:1"


def test_retries_are_standard_unless_configured(
    connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def mode(**arguments: Any) -> str:
        return str(OmicsHook(**arguments).conn.meta.config.retries["mode"])

    assert mode() == "standard"
    assert mode(config={"retries": {"mode": "adaptive"}}) == "adaptive"
    connect(region_name="eu-west-2", config_kwargs={"retries": {"mode": "legacy", "max_attempts": 2}})
    assert mode() == "legacy"
    connect(region_name="eu-west-2")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    assert mode() == "adaptive"
    monkeypatch.delenv("AWS_RETRY_MODE")
    (tmp_path / "config").write_text("[profile mine]\nretry_mode = adaptive\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert mode() == "standard"
    connect(region_name="eu-west-2", profile_name="mine")
    assert mode() == "adaptive"


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalServerException", "RequestTimeoutException"])
def test_standard_retries_hide_two_transient_errors(world: World, error: str) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(error=error, times=2)
    assert OmicsHook().get_read_set_export_job(world.store, job_id)["status"] == "COMPLETED"


def test_errors_that_are_no_answer_of_aws_are_told_apart(
    world: World, monkeypatch: pytest.MonkeyPatch, connect: Callable[..., None]
) -> None:
    def ask() -> None:
        once = {**ONE_TRY, "connect_timeout": 1}
        OmicsHook(config=once).get_work(ReadSetJobKind.EXPORT, STORE, JOB)

    connect(region_name="us-east-1", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(
        OmicsTransientError, match="EndpointConnectionError on GetReadSetExportJob for export job 2345678901"
    ):
        ask()
    connect(region_name="us-east-1", endpoint_url="127.0.0.1:1")
    with pytest.raises(OmicsArgumentError, match="connection 'aws_default' makes no client: Invalid endpoint"):
        ask()
    connect()
    with pytest.raises(OmicsRequestError, match=r"NoRegionError.*Check the Airflow connection, its region"):
        ask()
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": {"region_name": "us-east-1"}})
    )
    with pytest.raises(OmicsTransientError, match=r"Unable to locate credentials.*the role that this machine should"):
        ask()


def test_a_role_is_assumed_and_its_credentials_sign(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    extra = world.local.connection["extra"] | {
        "role_arn": "arn:aws:iam::123456789012:role/reader",
        "service_config": {"sts": {"endpoint_url": world.local.endpoint_url}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(world.local.connection | {"extra": extra}))
    world.local.add_fault(error="AccessDeniedException", access_key=world.local.connection["login"])
    assert OmicsHook().get_read_set_export_job(world.store, job_id)["status"] == "COMPLETED"


class _ExpiredToken(BaseHTTPRequestHandler):
    """STS, to credentials that are expired."""

    def do_POST(self) -> None:
        body = b"<ErrorResponse><Error><Code>ExpiredToken</Code><Message>Expired</Message></Error></ErrorResponse>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def test_credentials_that_are_too_old_to_assume_a_role_are_taken_up_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    good = world.local.connection
    with HTTPServer(("127.0.0.1", 0), _ExpiredToken) as sts:
        Thread(target=sts.serve_forever, daemon=True).start()
        sts_url = f"http://127.0.0.1:{sts.server_port}"
        role = {"role_arn": "arn:aws:iam::123456789012:role/r", "service_config": {"sts": {"endpoint_url": sts_url}}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(good | {"extra": good["extra"] | role}))
        hook = OmicsHook()
        with pytest.raises(OmicsTransientError, match="AssumeRole"):
            hook.get_work(ReadSetJobKind.EXPORT, world.store, job_id)
        sts.shutdown()
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(good))
    assert hook.get_work(ReadSetJobKind.EXPORT, world.store, job_id).status == "COMPLETED"


@pytest.mark.thorough
def test_calls_of_one_operation_are_spaced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.configure(calls_per_second=5)
    monkeypatch.setenv("AIRFLOW__OMICS__CALLS_PER_SECOND", "4")
    hook = OmicsHook(config=ONE_TRY)
    for _ in range(7):
        hook.get_read_set_export_job(world.store, job_id)  # none is throttled


def test_botocores_retries_take_their_turns_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", error="InternalServerException", times=2)
    monkeypatch.setenv("AIRFLOW__OMICS__CALLS_PER_SECOND", "2")
    hooks = [OmicsHook(config={"retries": {"mode": "standard", "total_max_attempts": 5}}) for _ in range(4)]
    started = time.monotonic()
    with ThreadPoolExecutor(len(hooks)) as pool:
        list(pool.map(lambda hook: hook.get_read_set_export_job(world.store, job_id), hooks))
    assert world.local.call_counts()["GetReadSetExportJob"] == 6
    assert time.monotonic() - started > 2  # two at a time; the two retries, within a second, would not come last


@pytest.mark.thorough
def test_throttling_makes_calls_rarer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__OMICS__CALLS_PER_SECOND", "1.9")
    hook = OmicsHook(config=ONE_TRY)
    world.local.add_fault(operation="GetReadSetImportJob", error="ThrottlingException")
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(ClientError):
            hook.get_read_set_import_job(world.store, JOB)
    assert time.monotonic() - started > (1.5 + 1.5**2) / 1.9


def test_turns_get_up_to_four_times_as_rare() -> None:
    turns = _Turns()
    for was_throttled, slowness in ((True, 4), (False, 1)):
        for _ in range(20):
            turns.learn(was_throttled)
        assert turns.slowness == slowness


def test_a_page_that_is_throttled_is_not_given_up_at_once(world: World) -> None:
    hook = OmicsHook(config=ONE_TRY)
    wanted = world.local.add_read_sets(world.store, 250)
    world.local.add_fault(operation="ListReadSets", error="ThrottlingException", times=PAGE_TRIES - 1)
    assert {each["id"] for each in hook.find_read_sets(world.store)} == {*world.read_sets, *wanted}
    for error, calls in (("ThrottlingException", PAGE_TRIES), ("InternalServerException", 1)):
        world.local.add_fault(operation="ListReadSets", error=error)
        before = world.local.call_counts()["ListReadSets"]
        with pytest.raises(OmicsTransientError, match=error):
            hook.find_read_sets(world.store)
        assert world.local.call_counts()["ListReadSets"] == before + calls
        world.local.clear_faults()


def test_aws_is_told_who_calls(world: World, ti: TaskInstance) -> None:
    sensor = world.sensor(ReadSetJobKind.EXPORT, world.job(ReadSetJobKind.EXPORT, "COMPLETED"))
    sensor.execute({"ti": ti})
    assert "Caller/OmicsReadSetExportJobSensor" in sensor.hook.conn.meta.config.user_agent_extra


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_a_call_rate_that_cannot_be_is_named(world: World, monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    monkeypatch.setenv("AIRFLOW__OMICS__CALLS_PER_SECOND", rate)
    with pytest.raises(OmicsArgumentError, match=r"\[omics\] calls_per_second is"):
        OmicsHook().get_read_set_export_job(world.store, JOB)


def test_credentials_that_are_expired_when_handed_out_pass(
    world: World, connect: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2020-01-01T00:00:00Z"}
    (tmp_path / "credentials").write_text(json.dumps(expired))
    (tmp_path / "config").write_text(f"[profile mine]\ncredential_process = cat {tmp_path}/credentials\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    extra = {"region_name": "us-east-1", "profile_name": "mine", "endpoint_url": world.local.endpoint_url}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))
    job_id = world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    hook = OmicsHook()
    with pytest.raises(OmicsTransientError, match="still expired"):
        hook.get_work(ReadSetJobKind.EXPORT, world.store, job_id)
    (tmp_path / "credentials").write_text(json.dumps(expired | {"Expiration": "2999-01-01T00:00:00Z"}))
    assert hook.get_work(ReadSetJobKind.EXPORT, world.store, job_id).status == "COMPLETED"


def test_the_order_of_positional_arguments(connect: Callable[..., None]) -> None:
    hook = OmicsHook("aws_default", "us-west-2", False, Config(read_timeout=3))
    assert (hook.aws_conn_id, hook.region_name, hook.verify, hook.config.read_timeout) == (
        "aws_default",
        "us-west-2",
        False,
        3,
    )


def test_what_is_denied_from_the_beginning_is_asked_for_once(world: World) -> None:
    """Only what may have been withdrawn is asked again with the connection read anew, and once."""
    hook, job_id = OmicsHook(config=ONE_TRY), world.job(ReadSetJobKind.EXPORT, "COMPLETED")
    world.local.add_fault(operation="ListReadSets", error="AccessDeniedException")
    for calls in (1, 1, 1):
        before = world.local.call_counts().get("ListReadSets", 0)
        with pytest.raises(OmicsRefusedError):
            hook.find_read_sets(world.store)
        assert world.local.call_counts()["ListReadSets"] == before + calls
        hook.get_read_set_export_job(world.store, job_id)
    world.local.clear_faults()
    assert hook.find_read_sets(world.store, sample_id="nobody") == []
    world.local.add_fault(operation="ListReadSets", error="AccessDeniedException")
    for calls in (2, 1):
        before = world.local.call_counts()["ListReadSets"]
        with pytest.raises(OmicsRefusedError):
            hook.find_read_sets(world.store)
        assert world.local.call_counts()["ListReadSets"] == before + calls


def test_what_botocore_does_not_send_is_a_wrong_argument(world: World) -> None:
    with pytest.raises(OmicsArgumentError, match=r"(?s)createdAfter.*Nothing was sent"):
        OmicsHook().find_read_sets(world.store, created_after=["yesterday"])
