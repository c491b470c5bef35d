"""No secret is in what is logged or raised, whatever AWS, botocore or a command quotes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from conftest import ONE_TRY, TaskInstance, World, connection, first_event
from moto.sts.models import sts_backends
from secret_search import SECRET, secrets_in

from airflow_omics._aws.masking import MASK, mask
from airflow_omics._waiting.shared_connection import Connection
from airflow_omics._waiting.shared_poll import Source
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.triggers import OmicsReadSetJobTrigger

EXPORT, JOB = ReadSetJobKind.EXPORT, "2345678901"
ONCE = {**ONE_TRY, "connect_timeout": 1}
ROLE = "arn:aws:iam::123456789012:role/reader"
CANONICAL = (
    "The request signature we calculated does not match the signature you provided. The Canonical String for this "
    f"request should have been\n'GET\n/\n\nhost:x\nx-amz-security-token:{SECRET}/x\n\nhost;x-amz-security-token\ne3b0'"
)
PRESIGNED = f"https://bucket.s3.amazonaws.com/key?X-Amz-Security-Token={SECRET}%2F&X-Amz-Signature={SECRET}&x-id=Get"
HEADER = f"Authorization=AWS4-HMAC-SHA256 Credential=A/omics/aws4_request, SignedHeaders=host, Signature={SECRET}"

Connect = Callable[..., None]


@pytest.fixture
def connect(world: World, monkeypatch: pytest.MonkeyPatch) -> Connect:
    def set_extra(**extra: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection(world.local, **extra)))

    return set_extra


def told(call: Callable[[], Any]) -> str:
    """Return all that can be read from what a call raises, the errors behind it and their members too."""
    each: BaseException | None = None
    try:
        call()
    except Exception as error:
        each = error
    texts = traceback.format_exception(each)
    while each is not None:
        texts += [repr(each), str(vars(each))]
        each = each.__cause__ or each.__context__
    return "\n".join(texts)


def assert_masked(world: World, logs: Callable[[], list[str]], said: str) -> None:
    """See what a failing call tells through the hook, and through a sensor, which may log it and wait."""
    hook, sensor = OmicsHook(config=ONCE), world.sensor(EXPORT, JOB, botocore_config=ONCE)
    for call in (
        lambda: hook.get_read_set_export_job(world.store, JOB),
        lambda: hook.get_work(EXPORT, world.store, JOB),
        lambda: sensor.poke({"ti": TaskInstance()}),
    ):
        text = "\n".join([told(call), *logs()])
        assert said in text
        assert MASK in text
        assert not secrets_in(text)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://me:{}@127.0.0.1:1", "Could not connect to the endpoint URL"),
        ("me:{}@127.0.0.1:1", "Invalid endpoint"),
        ("http://me:{}/x@127.0.0.1:1", "Port could not be cast"),
    ],
)
def test_a_password_in_an_endpoint_url(connect: Connect, world: World, logs: Any, url: str, said: str) -> None:
    connect(endpoint_url=url.format(SECRET))
    assert_masked(world, logs, said)


def test_a_session_token_with_a_line_end(connect: Connect, world: World, logs: Any) -> None:
    connect(aws_session_token=f"{SECRET}\n")
    text = "\n".join([told(lambda: OmicsHook().get_read_set_export_job(world.store, JOB)), *logs()])
    assert "aws_session_token of Airflow connection 'aws_default' has a character that no header takes" in text
    assert not secrets_in(text)


@pytest.mark.parametrize("code", ["InvalidSignatureException", "ExpiredTokenException"])
@pytest.mark.parametrize(
    "message", [CANONICAL, PRESIGNED, HEADER, f"{SECRET}-session-token is bad"], ids=["canonical", "url", "header", ""]
)
def test_an_answer_that_quotes_what_was_signed(world: World, logs: Any, code: str, message: str) -> None:
    world.local.add_fault(error=code, http_status=403, message=message)
    assert_masked(world, logs, code)


def test_an_answer_that_quotes_the_token_of_an_assumed_role(connect: Connect, world: World, logs: Any) -> None:
    connect(role_arn=ROLE, service_config={"sts": {"endpoint_url": world.local.endpoint_url}})
    hook = OmicsHook(config=ONCE)
    with suppress(Exception):
        hook.get_read_set_export_job(world.store, JOB)
    (role,) = (role for each in sts_backends["123456789012"].values() for role in each.assumed_roles)
    message = f"Why {role.session_token}"
    assert secrets_in(message)
    assert secrets_in(role.secret_access_key)
    world.local.add_fault(error="AccessDeniedException", message=message)
    text = told(lambda: hook.get_work(EXPORT, world.store, JOB))
    assert f"Why {MASK}" in text
    assert role.session_token not in text


@contextmanager
def sts_that_answers(body: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "body",
    [
        f"<ErrorResponse><Error><Code>ExpiredToken</Code><Message>{SECRET}-session-token AssumeRole</Message>"
        f"<Token>{SECRET}-session-token</Token></Error></ErrorResponse>",
        f"A proxy's page that shows AssumeRole's x-amz-security-token: {SECRET}",
    ],
    ids=["ExpiredToken", "garbage"],
)
def test_sts_that_quotes_the_connections_token(connect: Connect, world: World, logs: Any, body: str) -> None:
    with sts_that_answers(body) as url:
        connect(role_arn=ROLE, service_config={"sts": {"endpoint_url": url}})
        assert_masked(world, logs, "AssumeRole")


def test_what_a_credential_process_prints_when_it_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, logs: Any
) -> None:
    (tmp_path / "said").write_text(json.dumps({"SecretAccessKey": SECRET, "SessionToken": SECRET}))
    process = f"credential_process = sh -c 'cat {tmp_path}/said >&2; exit 1'"
    (tmp_path / "config").write_text(f"[profile mine]\n{process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    extra = {"region_name": "us-east-1", "profile_name": "mine", "endpoint_url": world.local.endpoint_url}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": extra}))
    assert_masked(world, logs, "SecretAccessKey")


@pytest.mark.parametrize("broken", ["endpoint", "answer"])
def test_a_triggers_event(connect: Connect, world: World, broken: str) -> None:
    if broken == "endpoint":
        connect(endpoint_url=f"me:{SECRET}@127.0.0.1:1")
    world.local.add_fault(error="AccessDeniedException", message=HEADER)
    trigger = OmicsReadSetJobTrigger(kind="export", sequence_store_id=world.store, job_ids=[JOB])
    event = json.dumps(asyncio.run(first_event(trigger)))
    assert MASK in event
    assert not secrets_in(event)


def test_a_shared_poll_is_named_without_its_configuration() -> None:
    config = json.dumps({"proxies": {"https": f"http://me:{SECRET}@proxy"}})
    assert SECRET not in repr(Source(EXPORT, "1234567890", Connection("aws_default", None, None, config)))


def test_what_is_no_secret_stays() -> None:
    user = "User: arn:aws:sts::1:assumed-role/admin/jane@example.com is not authorized to perform: omics:Get"
    error = ValueError(f"{user} on s3://bucket/jane@home with clientToken=airflow-1 at http://host/jane@home", 7)
    before = str(error)

    mask(error, ["x", ""])
    assert str(error) == before


# --- the search that all tests of the suite are under


@pytest.mark.parametrize(
    "leak",
    [
        "print(SECRET)",
        "print(SECRET, file=sys.stderr)",
        "logging.getLogger('x').warning('Signed with %s', SECRET)",
        "raise ValueError(SECRET)",
        "print('not-a-' + 'secret')",
        "print('https://host/?X-Amz-Signature=' + 64 * 'a')",
    ],
)
def test_the_search_finds_a_planted_secret(tmp_path: Path, leak: str) -> None:
    code = "import logging, sys\nfrom secret_search import SECRET\n"
    (tmp_path / "test_it.py").write_text(f"{code}def test_leak():\n    {leak}\ndef test_other(): print('harmless')\n")
    command = [sys.executable, "-m", "pytest", "-p", "secret_search", "-c", "/dev/null", "--rootdir", ".", "."]
    env = {"PYTHONPATH": str(Path(__file__).parents[1] / "helpers"), "PATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "has a secret" in done.stdout


@pytest.mark.parametrize("status", [200, 403, 503])
@pytest.mark.parametrize("body", ["<html>blocked: {}</html>", '{{"status": ["{}"]}}', "{}"])
@pytest.mark.parametrize("secret", [f"{SECRET}-session-token", f"{SECRET}-key"])
def test_a_page_that_quotes_what_was_sent(world: World, logs: Any, status: int, body: str, secret: str) -> None:
    world.local.add_fault(action="garbage", http_status=status, body=body.format(secret))
    hook, sensor = OmicsHook(config=ONCE), world.sensor(EXPORT, JOB, botocore_config=ONCE)
    for call in (lambda: hook.get_work(EXPORT, world.store, JOB), lambda: sensor.poke({"ti": TaskInstance()})):
        text = "\n".join([told(call), *logs()])
        assert "It had HTTP status" in text
        assert not secrets_in(text)
