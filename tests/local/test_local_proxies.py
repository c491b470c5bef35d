"""Local HealthOmics is reached whatever proxies stand in the environment."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from botocore.exceptions import ProxyConnectionError
from conftest import ONE_TRY

from airflow_omics.hooks import OmicsHook
from airflow_omics.local import LocalHealthOmics

PROXIES = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
SCRIPT = """
import boto3
from botocore.config import Config
boto3.client("s3").create_bucket(Bucket="printed")
config = Config(inject_host_prefix=False)  # botocore of 1.37 does not know the variable for it
boto3.client("omics", config=config).create_sequence_store(name="printed")
print(boto3.client("sts").get_caller_identity()["Account"])
"""


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put proxies into the environment that nobody can reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        dead = f"http://127.0.0.1:{server.getsockname()[1]}"
    for name in PROXIES:
        monkeypatch.setenv(name, dead)
        monkeypatch.setenv(name.upper(), dead)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def account() -> str:
    """Return the account that the connection ``aws_default`` belongs to, as STS tells it."""
    sts: Any = AwsBaseHook(client_type="sts").get_conn()
    return str(sts.get_caller_identity()["Account"])


@pytest.mark.usefixtures("proxies")
def test_a_client_of_the_handle() -> None:
    with LocalHealthOmics() as local:
        unreached = local.client("omics", proxies=None, **ONE_TRY)
        with pytest.raises(ProxyConnectionError):
            unreached.list_sequence_stores()
        assert local.client().list_sequence_stores()["sequenceStores"] == []
        local.client("s3").create_bucket(Bucket="mine")


@pytest.mark.usefixtures("proxies")
def test_hooks_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHealthOmics() as local:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(local.connection))
        store = local.client().create_sequence_store(name="mine")["id"]
        S3Hook().create_bucket("mine", region_name="us-east-1")
        assert account() == "123456789012"
        listed = OmicsHook().get_conn().list_sequence_stores()["sequenceStores"]
        assert [each["id"] for each in listed] == [store]


@pytest.mark.usefixtures("proxies")
def test_a_role_that_the_connection_assumes(monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHealthOmics() as local:
        connection = local.connection
        connection["extra"] |= {
            "role_arn": "arn:aws:iam::210987654321:role/Reader",
            "service_config": {"sts": {"endpoint_url": local.endpoint_url}},
        }
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        assert account() == "210987654321"


def test_plain_boto3_and_controls_beside_the_fixture(proxies: None, request: pytest.FixtureRequest) -> None:
    local: LocalHealthOmics = request.getfixturevalue("local_healthomics")  # after the proxies
    assert OmicsHook().get_conn().list_sequence_stores()["sequenceStores"] == []
    sts = boto3.Session("key", "secret", region_name="us-east-1").client("sts", endpoint_url=local.endpoint_url)
    assert sts.get_caller_identity()["Account"] == "123456789012"
    # urlopen itself would keep the proxies of this test for all that come.
    with urllib.request.build_opener().open(f"{local.endpoint_url}/_local/call_counts", b"{}") as response:
        assert json.load(response) == {"ListSequenceStores": 1}


@pytest.mark.parametrize(
    ("name", "own", "expected"),
    [
        ("no_proxy", "intranet.example", "intranet.example,127.0.0.1"),
        ("NO_PROXY", "intranet.example", "intranet.example,127.0.0.1"),
        ("NO_PROXY", "127.0.0.1", "127.0.0.1"),
        ("NO_PROXY", "*", "*"),
        ("NO_PROXY", "", "127.0.0.1"),
    ],
)
def test_what_is_already_reached_without_a_proxy_stays_so(
    proxies: None, monkeypatch: pytest.MonkeyPatch, name: str, own: str, expected: str
) -> None:
    monkeypatch.setenv(name, own)
    environment = LocalHealthOmics().environment
    assert (environment["NO_PROXY"], environment["no_proxy"]) == (expected, expected)


@pytest.mark.usefixtures("proxies")
def test_what_the_command_prints_is_all_that_plain_boto3_needs() -> None:
    command = [sys.executable, "-m", "airflow_omics.local", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        printed = [""]
        while not printed[-1].startswith("export no_proxy"):
            printed.append(server.stdout.readline())
            assert printed[-1], "The server ended"
        exports = [line for line in printed if line.startswith("export")]
        script = "".join([*exports, f"exec {sys.executable} -c '{SCRIPT}'"])
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
        server.terminate()
        assert server.wait(10) == 0
    assert (done.stdout.strip(), done.returncode) == ("123456789012", 0), done.stderr
