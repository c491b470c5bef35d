"""Who reaches local HealthOmics: its own host names only, and no web page."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import BUCKET, World

from airflow_omics.local import LocalHealthOmics

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "omics": ("list_sequence_stores", {}),
    "s3": ("list_objects_v2", {"Bucket": BUCKET}),
    "sts": ("get_caller_identity", {}),
}


def send(local: LocalHealthOmics, method: str, path: str, **headers: str) -> tuple[int, str]:
    """Send a request with these headers; ``Host`` is the right one otherwise."""
    connection = HTTPConnection("127.0.0.1", urlsplit(local.endpoint_url).port or 0, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    for name, value in {"Host": urlsplit(local.endpoint_url).netloc, **headers}.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def reset(local: LocalHealthOmics, **headers: str) -> int:
    return send(local, "POST", "/_local/clear_faults", **headers)[0]


@pytest.mark.parametrize("service", CALLS)
def test_a_client_is_told_what_host_it_named_what_is_expected_and_what_to_do(world: World, service: str) -> None:
    client = world.local.client(service)
    method, arguments = CALLS[service]
    getattr(client, method)(**arguments)

    def rebind(request: Any, **_: Any) -> None:
        request.headers["Host"] = "rebound.example:4566"

    client.meta.events.register("before-sign", rebind)
    before = len(world.local.calls())
    with pytest.raises(ClientError, match=r"'rebound\.example:4566', expected one of 127.*--allow-host") as caught:
        getattr(client, method)(**arguments)
    assert caught.value.response["Error"]["Code"] == "HostNotAllowedException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert len(world.local.calls()) == before


def test_a_control_and_a_presigned_url_are_refused_too(world: World) -> None:
    status, text = send(world.local, "POST", "/_local/reset", Host="rebound.example")
    assert (status, "'rebound.example'" in json.loads(text)["message"]) == (403, True)
    assert world.omics.list_sequence_stores()["sequenceStores"]
    world.s3.put_object(Bucket=BUCKET, Key="key", Body=b"@read")
    url = world.s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "key"})
    path = url.removeprefix(world.local.endpoint_url)
    assert send(world.local, "GET", path) == (200, "@read")
    assert send(world.local, "GET", path, Host="rebound.example")[0] == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:4566", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:4566", 200),
        ("control-storage-omics.localhost:4566", 200),
        ("", 403),
        ("localhost.rebound.example", 403),
        ("control-storage-localhost", 403),
        ("notlocalhost", 403),
        ("127.0.0.1.rebound.example", 403),
        ("rebound.example@localhost", 403),
        ("localhost:x", 403),
        ("localhost,rebound.example", 403),
        ("192.0.2.1", 403),
        ("0.0.0.0", 403),
        ("[", 403),
        ("[::2]", 403),
    ],
)
def test_loopbacks_names_and_no_others(world: World, host: str, status: int) -> None:
    assert reset(world.local, Host=host) == status


def test_a_bucket_in_the_host_name(world: World) -> None:
    world.s3.put_object(Bucket=BUCKET, Key="key", Body=b"@read")
    virtual = Config(s3={"addressing_style": "virtual"})
    s3 = boto3.Session("key", "secret", region_name="us-east-1").client(
        "s3", endpoint_url=world.local.endpoint_url.replace("127.0.0.1", "localhost"), config=virtual
    )
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "key"}))
    assert url.netloc.startswith(f"{BUCKET}.localhost:")
    assert send(world.local, "GET", f"{url.path}?{url.query}", Host=url.netloc) == (200, "@read")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("https://page.example", 403),
        ("http://192.0.2.1:4566", 403),
        ("null", 403),
    ],
)
def test_another_web_pages_requests_are_refused(world: World, origin: str, status: int) -> None:
    assert reset(world.local, Origin=origin) == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "somewhere"])
def test_it_listens_on_loopback_unless_told_twice(host: str) -> None:
    with pytest.raises(ValueError, match=r"expected a loopback address.*--allow-host"):
        LocalHealthOmics(host)
    assert LocalHealthOmics(host, allow_hosts=["omics.test"]).endpoint_url == "http://omics.test:0"
    with pytest.raises(ValueError, match="expected a list"):
        LocalHealthOmics(host, allow_hosts="omics.test")


@pytest.mark.parametrize(
    ("host", "status"),
    [("omics.test:4566", 200), ("bucket.omics.test", 200), ("[fd00::1]", 200), ("localhost", 200), ("test", 403)],
)
def test_hosts_allowed_beside_loopbacks(host: str, status: int) -> None:
    with LocalHealthOmics(allow_hosts=["Omics.test", "[fd00::1]"]) as local:
        assert local.endpoint_url.startswith("http://127.0.0.1:")
        assert reset(local, Host=host) == status
