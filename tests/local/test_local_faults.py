"""What local HealthOmics can be told to do wrong, and the controls."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from conftest import ONE_TRY, World

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics


def control(local: LocalHealthOmics, name: str, **arguments: Any) -> Any:
    """Call a control over HTTP."""
    body = json.dumps(arguments).encode()
    with urllib.request.urlopen(f"{local.endpoint_url}/_local/{name}", body) as response:
        return json.load(response)


# --- faults and controls


def test_faults_strike_by_rate_operation_key_and_number(world: World) -> None:
    client = world.local.client("omics", **ONE_TRY)
    world.local.add_fault(operation="GetSequenceStore", error="InternalServerException", rate=0.5)
    failures = 0
    for _ in range(60):
        try:
            client.get_sequence_store(id=world.store)
        except ClientError:
            failures += 1
    assert 15 < failures < 45
    client.list_sequence_stores()
    world.local.clear_faults()
    world.local.add_fault(error="AccessDeniedException", access_key="other")
    client.get_sequence_store(id=world.store)


def test_a_reset_a_hang_a_delay_and_garbage(world: World) -> None:
    client = world.local.client("omics", read_timeout=0.3, **ONE_TRY)
    world.local.add_fault(action="reset", times=1)
    with pytest.raises(ConnectionClosedError):
        client.list_sequence_stores()
    world.local.add_fault(action="hang", times=1)
    with pytest.raises(ReadTimeoutError):
        client.list_sequence_stores()
    world.local.add_fault(delay=0.05, times=1)
    assert client.list_sequence_stores()["sequenceStores"]
    world.local.add_fault(action="garbage", times=1)
    assert "sequenceStores" not in client.list_sequence_stores()


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"error": "ThrottlingException", "delay": 1},
        {"error": "ThrotlingException"},
        {"action": "explode"},
        {"delay": 1, "rate": 2},
        {"delay": 1, "times": 0},
    ],
    ids=str,
)
def test_a_fault_that_makes_no_sense_is_refused(world: World, fault: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|exactly one"):
        world.local.add_fault(**fault)
    with pytest.raises(ValueError, match="no operation 'GetExportJob'"):
        world.local.add_fault(operation="GetExportJob", error="X")


def test_controls_over_http(world: World) -> None:
    control(world.local, "configure", job_seconds=10)
    control(world.local, "fail_read_sets", names=world.read_sets[:1], message="Torn")
    job_id = world.start(ReadSetJobKind.EXPORT)
    control(world.local, "advance", seconds=10)
    job = world.omics.get_read_set_export_job(sequenceStoreId=world.store, id=job_id)
    assert (job["status"], job["readSets"][0]["statusMessage"]) == ("COMPLETED_WITH_FAILURES", "Torn")
    assert control(world.local, "archive_read_sets", ids=world.read_sets[:1]) == world.read_sets[:1]
    running = world.start(ReadSetJobKind.EXPORT)
    control(world.local, "cancel_job", job_id=running)
    assert world.status(ReadSetJobKind.EXPORT, running) == "CANCELLING"
    control(world.local, "add_fault", error="ThrottlingException", times=1)
    assert control(world.local, "call_counts")["StartReadSetExportJob"] == 2
    last = control(world.local, "calls")[-1]
    assert last["operation"] == "GetReadSetExportJob"
    assert last["parameters"] == {"sequenceStoreId": world.store, "id": running}
    control(world.local, "clear_faults")
    control(world.local, "reset")
    assert world.omics.list_sequence_stores()["sequenceStores"] == []


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("explode", b"{}", "there are add_fault"),
        ("advance", b"{}", "advance: missing a required argument: 'seconds'; it takes (seconds"),
        ("advance", b"[]", "JSON object"),
        ("cancel_job", b'{"job_id": "1"}', "There is no job 1"),
        ("archive_read_sets", b'{"ids": "1234567890"}', "expected a list"),
        ("archive_read_sets", b'{"ids": ["1234567890"]}', "no read set 1234567890"),
    ],
)
def test_a_control_that_cannot_be_is_refused(world: World, name: str, body: bytes, said: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{world.local.endpoint_url}/_local/{name}", body)
    assert caught.value.code == 400
    assert said in json.load(caught.value)["message"]


def test_a_job_that_is_over_cannot_be_cancelled(world: World) -> None:
    with pytest.raises(ValueError, match="is over: COMPLETED"):
        world.local.cancel_job(world.job(ReadSetJobKind.EXPORT, "COMPLETED"))


def test_a_time_without_a_zone_is_utc(world: World) -> None:
    world.start(ReadSetJobKind.IMPORT)
    scope = {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/omics/aws4_request"}
    url = f"{world.local.endpoint_url}/sequencestore/{world.store}/importjobs"
    body = json.dumps({"filter": {"createdAfter": "1970-01-01"}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, scope, method="POST")) as response:
        assert len(json.load(response)["importJobs"]) == 1


def test_it_ends_with_its_port_closed_and_hanging_requests_released(local_healthomics: LocalHealthOmics) -> None:
    port = int(local_healthomics.endpoint_url.rsplit(":", 1)[1])
    local_healthomics.add_fault(action="hang")
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(local_healthomics.client("omics", **ONE_TRY).list_sequence_stores)
        while not local_healthomics.calls():
            assert not hanging.done()
        local_healthomics.stop()
        assert isinstance(hanging.exception(timeout=10), ConnectionClosedError)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
