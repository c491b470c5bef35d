"""Clients that know nothing of this project: botocore's waiters and the AWS CLI agree with our verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import WaiterError
from conftest import JOB_SECONDS, World

from airflow_omics._service.kind import Kind, Verdict
from airflow_omics.jobs import JobStatus, ReadSetJob, ReadSetJobKind

AWS = Path(__file__).parents[2] / ".venv-awscli" / "bin" / "aws"


def verdict(world: World, kind: Kind, job_id: str) -> Verdict:
    response, store = world.call(kind, "Get", id=job_id), world.store_of(kind)
    return ReadSetJob.from_response(kind, response, sequence_store_id=store, work_id=job_id).verdict()


@pytest.mark.parametrize("status", JobStatus)
def test_botocores_waiters_agree(world: World, kind: Kind, status: JobStatus) -> None:
    job_id = world.job(kind, status)
    waiter = world.omics.get_waiter(f"{xform_name(kind.operation('Get')).removeprefix('get_')}_completed")
    expected = verdict(world, kind, job_id)
    ending = {Verdict.WAITING: "Max attempts exceeded", Verdict.FAILED: "terminal failure state"}
    with pytest.raises(WaiterError, match=ending[expected]) if expected in ending else nullcontext():
        asked = {kind.store.member: world.store_of(kind), "id": job_id}
        waiter.wait(**asked, WaiterConfig={"Delay": 0, "MaxAttempts": 1})


def aws(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the AWS CLI of the environment that `make test` keeps for it."""
    env = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": world.local.endpoint_url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    }
    return subprocess.run([AWS, *words], env=env, capture_output=True, text=True, timeout=60, check=False)


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_aws_cli_starts_gets_and_lists(world: World) -> None:
    store = ("--sequence-store-id", world.store)
    sources = json.dumps([{"readSetId": each} for each in world.read_sets])
    job = answer(aws(world, "omics", "start-read-set-activation-job", *store, "--sources", sources))
    world.local.advance(JOB_SECONDS)
    job = answer(aws(world, "omics", "get-read-set-activation-job", *store, "--id", job["id"]))
    assert job["status"] == "COMPLETED"
    assert [each["readSetId"] for each in job["sources"]] == world.read_sets
    listed = answer(aws(world, "omics", "list-read-sets", *store))["readSets"]
    assert [each["id"] for each in listed] == world.read_sets


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (ReadSetJobKind.EXPORT, JobStatus.COMPLETED),
        (ReadSetJobKind.EXPORT, JobStatus.FAILED),
        (ReadSetJobKind.ACTIVATION, JobStatus.COMPLETED),
        (ReadSetJobKind.ACTIVATION, JobStatus.COMPLETED_WITH_FAILURES),
        (ReadSetJobKind.IMPORT, JobStatus.COMPLETED),
        (ReadSetJobKind.IMPORT, JobStatus.CANCELLED),
    ],
    ids=str,
)
def test_the_aws_cli_waits_and_agrees(world: World, kind: Kind, status: JobStatus) -> None:
    job_id = world.job(kind, status)
    words = ("wait", f"read-set-{kind.word}-job-completed", "--sequence-store-id", world.store, "--id", job_id)
    done = aws(world, "omics", *words)
    assert (done.returncode == 0) == (verdict(world, kind, job_id) is Verdict.SUCCEEDED), done.stderr


def test_the_server_from_the_command_line() -> None:
    command = [sys.executable, "-m", "airflow_omics.local"]
    with subprocess.Popen([*command, "--port", "0", "--job-seconds", "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Local HealthOmics: http://127.0.0.1:")
        name, _, value = server.stdout.readline().strip().partition("=")
        assert (name, json.loads(value.strip("'"))["conn_type"]) == ("AIRFLOW_CONN_AWS_DEFAULT", "aws")
        server.terminate()
        assert server.wait(10) == 0
    refused = subprocess.run([*command, "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "expected a loopback address" in refused.stderr
    with subprocess.Popen(
        [*command, "--host", "0.0.0.0", "--port", "0", "--allow-host", "localhost"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Local HealthOmics: http://localhost:")
        server.terminate()
        assert server.wait(10) == 0
