"""
Failures made on purpose, as Airflow's UI shows them: one line, cut at the window, here at 150 characters.

What failed and why has to be in it; where, and what to do, may come after.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ONE_TRY, ROLE, TaskInstance, World, connection, through_triggerer, wake
from servers import Sts, serve, sts_error
from starting import operator
from versions import DAG, IS_AIRFLOW_2, TaskDeferred

from airflow_omics._service.kind import Kind
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.operators import OmicsStartReadSetActivationJobOperator

EXPORT, ACTIVATION, IMPORT = ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION, ReadSetJobKind.IMPORT
LINE = 150
USER = "User: arn:aws:iam::123456789012:user/airflow is not authorized to perform:"
Failure = Callable[[World, pytest.MonkeyPatch], Any]


def ended(kind: Kind, status: str) -> Failure:
    def fail(world: World, _: pytest.MonkeyPatch) -> Any:
        return poke(world.sensor(kind, world.job(kind, status)))

    return fail


def refused(**fault: Any) -> Failure:
    def fail(world: World, _: pytest.MonkeyPatch) -> Any:
        world.local.add_fault(operation="GetReadSetExportJob", **fault)
        return poke(world.sensor(EXPORT, "1234567890", botocore_config=ONE_TRY))

    return fail


def not_started(**fault: Any) -> Failure:
    def fail(world: World, _: pytest.MonkeyPatch) -> Any:
        world.local.add_fault(operation="StartReadSetExportJob", **fault)
        return operator(world, EXPORT, world.read_sets).execute({"ti": TaskInstance()})

    return fail


def connected(**changes: Any) -> Failure:
    def fail(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
        good = connection(world.local)
        extra = good["extra"] | changes.get("extra", {})
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**good, **changes, "extra": extra}))
        return poke(world.sensor(EXPORT, "1234567890"))

    return fail


def argued(**arguments: Any) -> Failure:
    def fail(world: World, _: pytest.MonkeyPatch) -> Any:
        return poke(world.sensor(EXPORT, **{"job_id": "1234567890", **arguments}))

    return fail


def poke(sensor: Any) -> Any:
    sensor.mode = "poke"
    return through_triggerer(sensor, TaskInstance())


def many_failed(world: World, _: pytest.MonkeyPatch) -> Any:
    return poke(world.sensor(EXPORT, [world.job(EXPORT, "FAILED") for _ in range(3)]))


def timed_out(world: World, _: pytest.MonkeyPatch) -> Any:
    return poke(world.sensor(EXPORT, world.job(EXPORT, "IN_PROGRESS"), timeout=0, poke_interval=0))


def timed_out_in_trouble(world: World, _: pytest.MonkeyPatch) -> Any:
    job_id = world.job(EXPORT, "IN_PROGRESS")
    world.local.add_fault(error="ThrottlingException", message="Rate exceeded")
    return poke(world.sensor(EXPORT, job_id, timeout=0, poke_interval=0, botocore_config=ONE_TRY))


def operator_timed_out(world: World, _: pytest.MonkeyPatch) -> Any:
    return operator(world, EXPORT, world.read_sets, timeout=0).execute({"ti": TaskInstance()})


def denied_role(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    text = f"{USER} sts:AssumeRole on resource: {ROLE}"
    with serve(Sts, sts_error(403, "AccessDenied", text), times=99) as (url, _):
        return connected(extra={"role_arn": ROLE, "service_config": {"sts": {"endpoint_url": url}}})(world, monkeypatch)


def no_xcom(world: World, _: pytest.MonkeyPatch) -> Any:
    with DAG("dag"):
        upstream = OmicsStartReadSetActivationJobOperator(
            task_id="start", sequence_store_id=world.store, read_set_ids=world.read_sets
        )
        sensor: Any = world.sensor(ACTIVATION, upstream.output)
    sensor.job_id = None  # as Airflow renders it
    return poke(sensor)


def no_store(world: World, _: pytest.MonkeyPatch) -> Any:
    return operator(world, ACTIVATION, world.read_sets, sequence_store_id="9999999999").execute({"ti": TaskInstance()})


def undefined(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    return poke(world.sensor(EXPORT, "1234567890", aws_conn_id="aws_defautl", region_name="us-east-1"))


def no_status(world: World, _: pytest.MonkeyPatch) -> Any:
    job_id = world.job(EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", response={"status": None})
    return poke(world.sensor(EXPORT, job_id))


def bad_event(world: World, _: pytest.MonkeyPatch) -> Any:
    sensor = world.sensor(EXPORT, world.start(EXPORT), deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute({"ti": TaskInstance()})
    return wake(sensor, deferred.value, TaskInstance(), {"status": "success"})


FAILURES: dict[str, Failure] = {
    "failed": ended(EXPORT, "FAILED"),
    "half failed": ended(ACTIVATION, "COMPLETED_WITH_FAILURES"),
    "cancelled": ended(EXPORT, "CANCELLED"),
    "source failed": ended(IMPORT, "COMPLETED_WITH_FAILURES"),
    "many failed": many_failed,
    "timed out": timed_out,
    "timed out in trouble": timed_out_in_trouble,
    "operator timed out": operator_timed_out,
    "denied": refused(error="AccessDeniedException", message=f"{USER} omics:GetReadSetExportJob on resource: x"),
    "denied to pass the role": not_started(
        error="AccessDeniedException", message=f"{USER} iam:PassRole on resource: x"
    ),
    "denied explicitly": refused(
        error="AccessDeniedException", message=f"{USER} omics:GetReadSetExportJob on resource: x with an explicit deny"
    ),
    "denied a KMS key": not_started(
        error="AccessDeniedException", message=f"{USER} kms:GenerateDataKey on resource: x"
    ),
    "denied to assume a role": denied_role,
    "key unknown": refused(error="UnrecognizedClientException", http_status=403, message="The token is invalid."),
    "no such job": refused(error="ResourceNotFoundException", message="Export job 1234567890 does not exist"),
    "no such store": no_store,
    "a proxy's page": refused(action="garbage", http_status=403, body="<html><h1>Blocked by the proxy</h1></html>"),
    "no status": no_status,
    "no XCom": no_xcom,
    "a list as text": argued(job_id="['1234567890']"),
    "verify": argued(verify="False"),
    "no CA bundle": argued(verify="/no/such/file.pem"),
    "option of a wrong type": argued(botocore_config={"read_timeout": "60"}),
    "password for the triggerer": argued(
        deferrable=True, botocore_config={"proxies": {"https": "http://me:s3cr3t-of-the-suite@proxy:3128"}}
    ),
    "key with a line break": connected(login="AKIA\n"),
    "no region": connected(extra={"region_name": None, "endpoint_url": None}),
    "connection not defined": undefined,
    "bad event": bad_event,
}

IN_AIRFLOWS_UI = {
    "failed": "OmicsReadSetJobSensorError: export job 1000000005 ended FAILED: 3 of 3 read sets failed: 1000000002 (Bad reads), 1000000003 (Bad reads), 1000000004 (B",
    "half failed": "OmicsReadSetJobSensorError: activation job 1000000005 ended COMPLETED_WITH_FAILURES: 1 of 3 read sets failed: 1000000002 (Bad reads). AWS says: The jo",
    "cancelled": "OmicsReadSetJobSensorError: export job 1000000005 ended CANCELLED: 2 of 3 read sets were never finished. AWS says: The job was cancelled. Sequence sto",
    "source failed": "OmicsReadSetJobSensorError: import job 1000000005 ended COMPLETED_WITH_FAILURES: 1 of 3 read sets failed: s3://airflow-omics-tests/in/0.fastq.gz (Bad ",
    "many failed": "OmicsReadSetJobSensorError: export job 1000000005 ended FAILED: 3 of 3 read sets failed: 1000000002 (Bad reads), 1000000003 (Bad reads), 1000000004 (B",
    "timed out": "AirflowSensorTimeout: Timed out after 0 s: export job 1000000005 in sequence store 1000000001 is IN_PROGRESS, 1 of 3 read sets finished, 0 failed, 2 o",
    "timed out in trouble": "AirflowSensorTimeout: Timed out after 0 s: ThrottlingException on GetReadSetExportJob for export job 1000000005 in sequence store 1000000001 (connecti",
    "operator timed out": "AirflowException: Timed out after 0 s: 0 of 3 read sets done, 0 to be started, 0 refused; 0 export jobs running; sequence store 1000000001, connection",
    "denied": "OmicsRefusedError: AccessDeniedException on GetReadSetExportJob for export job 1234567890 in sequence store 1000000001 (connection 'aws_default', endp",
    "denied to pass the role": "OmicsRefusedError: AccessDeniedException (iam:PassRole) on StartReadSetExportJob for 3 read sets of sequence store 1000000001 (connection 'aws_default",
    "denied explicitly": "OmicsRefusedError: AccessDeniedException (explicit deny) on GetReadSetExportJob for export job 1234567890 in sequence store 1000000001 (connection 'aw",
    "denied a KMS key": "OmicsRefusedError: AccessDeniedException (kms:GenerateDataKey) on StartReadSetExportJob for 3 read sets of sequence store 1000000001 (connection 'aws_",
    "denied to assume a role": "OmicsRefusedError: AccessDenied on AssumeRole for export job 1234567890 in sequence store 1000000001 (connection 'aws_default', endpoint http://127.0.",
    "key unknown": "OmicsCredentialsError: UnrecognizedClientException on GetReadSetExportJob for export job 1234567890 in sequence store 1000000001 (connection 'aws_defa",
    "no such job": "OmicsNotFoundError: ResourceNotFoundException on GetReadSetExportJob for export job 1234567890 in sequence store 1000000001 (connection 'aws_default',",
    "no such store": "OmicsNotFoundError: ResourceNotFoundException on ListReadSets for sequence store 9999999999 (connection 'aws_default', endpoint http://127.0.0.1:4566)",
    "a proxy's page": "OmicsRefusedError: HTTP 403, not from AWS, on GetReadSetExportJob for export job 1234567890 in sequence store 1000000001 (connection 'aws_default', en",
    "no status": "OmicsResponseError: An answer that cannot be right: status is missing; the response has ['id', 'sequenceStoreId', 'destination', 'statusMessage', 'cre",
    "no XCom": "OmicsArgumentError: job_id is None (NoneType), expected text of 10 to 36 digits, such as '1234567890', or a list of at least one such id. An upstream ",
    "a list as text": "OmicsArgumentError: job_id is \"['1234567890']\" (str), expected text of 10 to 36 digits, such as '1234567890'. This is a list written as text: pass the",
    "verify": "OmicsArgumentError: verify is 'False' (str), expected True or False as a bool, without quotes, or the path of a CA bundle.",
    "no CA bundle": "OmicsArgumentError: verify is '/no/such/file.pem' (str), expected True, False, or the path of a file with at least one CA certificate in PEM form ([Er",
    "option of a wrong type": "OmicsArgumentError: botocore_config['read_timeout'] is '60' (str), expected seconds, as a number above 0, at most a day, or None.",
    "password for the triggerer": "OmicsArgumentError: botocore_config['proxies']['https'] has a password in it. What a deferred task waits with is kept in Airflow's database in plain t",
    "key with a line break": "OmicsArgumentError: login of Airflow connection 'aws_default' has a character that no header takes, such as a line break at its end.",
    "no region": "OmicsRequestError: NoRegionError on GetReadSetExportJob for export job 1234567890 in sequence store 1000000001 (connection 'aws_default', region of bo",
    "connection not defined": "OmicsRequestError: Airflow connection 'aws_defautl' is not defined, and boto3 itself finds no credentials. Define it, or correct aws_conn_id.",
    "bad event": "OmicsEventError: The trigger woke this task with an event that cannot be right: {'status': 'success'} (status is 'success' with members ['status']). A",
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_line_says_what_failed_and_why(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name == "connection not defined" and IS_AIRFLOW_2:
        pytest.skip("without its database, Airflow 2 does not know what is not defined")
    with pytest.raises(Exception) as failure:  # noqa: PT011 - its text is compared
        FAILURES[name](world, monkeypatch)
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:4566", f"{failure.type.__name__}: {failure.value}")
    assert line[:LINE] == IN_AIRFLOWS_UI[name]
