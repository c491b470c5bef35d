"""Which errors pass by themselves, and what their messages say."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, CredentialRetrievalError, NoCredentialsError, SSLError
from botocore.parsers import ResponseParserError
from conftest import TaskInstance

from airflow_omics.bounds import LARGEST_ERROR, LONGEST_TEXT, MOST_READ_SETS
from airflow_omics.exceptions import OmicsReadSetJobFailedError, explain, is_transient
from airflow_omics.jobs import FailedReadSet, JobStatus, ReadSetJob, ReadSetJobKind
from airflow_omics.local.wire import error_codes


def client_error(code: str, status: int, operation: str = "GetReadSetExportJob") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "No"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


TRANSIENT = {
    "InternalServerException",
    "RequestTimeoutException",
    "ServiceQuotaExceededException",
    "ThrottlingException",
}


@pytest.mark.parametrize(("code", "status"), error_codes().items(), ids=str)
def test_every_error_of_the_service_model(code: str, status: int) -> None:
    assert is_transient(client_error(code, status)) == (code in TRANSIENT)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (client_error("ExpiredTokenException", 403), True),
        (client_error("UnrecognizedClientException", 403), False),
        (client_error("IDPCommunicationError", 400), True),
        (client_error("RequestLimitExceeded", 400), True),
        (client_error("502", 502), True),
        (client_error("403", 403), False),
        (client_error("Whatever", 429), True),
        (ConnectTimeoutError(endpoint_url="https://example"), True),
        (SSLError(endpoint_url="https://example", error="EOF occurred in violation of protocol"), True),
        (SSLError(endpoint_url="https://example", error="[SSL: CERTIFICATE_VERIFY_FAILED]"), False),
        (CredentialRetrievalError(provider="container-role", error_msg="timed out"), True),
        (NoCredentialsError(), False),
        (ResponseParserError("not XML"), True),
        (KeyError("status"), False),
    ],
    ids=repr,
)
def test_errors_of_botocore_and_of_what_stands_between(error: Exception, transient: bool) -> None:
    assert is_transient(error) == transient


def test_access_denied_names_the_action_of_the_call_that_was_denied() -> None:
    error = explain(client_error("AccessDenied", 403, "AssumeRole"), "GetReadSetExportJob", "a job")
    assert "AssumeRole for a job was answered with AccessDenied: No. " in str(error)
    assert "sts:AssumeRole" in str(error)


def test_a_failed_job_survives_pickling() -> None:
    job = ReadSetJob(
        ReadSetJobKind.EXPORT, "1234567890", "2345678901", JobStatus.FAILED, failed=(FailedReadSet("3456789012", None),)
    )
    error = pickle.loads(pickle.dumps(OmicsReadSetJobFailedError([job])))
    assert error.jobs == (job,)
    assert str(error) == (
        "HealthOmics export job 1234567890 in sequence store 2345678901 ended FAILED; "
        "1 of 1 read sets failed: 3456789012."
    )


@pytest.mark.parametrize(("jobs", "failed"), [(1, 3), (1, 100), (1, MOST_READ_SETS), (500, 100)])
@pytest.mark.parametrize("size", [10, LONGEST_TEXT])
def test_an_error_has_a_bounded_size_and_says_where_all_is(jobs: int, failed: int, size: int) -> None:
    items = [
        {"id": f"{number:010}".ljust(size, "0")[:size], "status": "FAILED", "statusMessage": "Torn" * size}
        for number in range(failed)
    ]
    response: Any = {"status": "FAILED", "statusMessage": "Bad" * size, "readSets": items}
    job = ReadSetJob.from_response(ReadSetJobKind.EXPORT, response, sequence_store_id="1234567890", job_id="2345678901")
    error, ti = OmicsReadSetJobFailedError([job] * jobs), TaskInstance()
    error.push({"ti": ti}, None)
    assert len(str(error)) <= LARGEST_ERROR
    assert len(ti.xcoms["failed_read_set_ids"]) == failed
    assert ("failed_read_set_ids" in str(error)) == (any(each["id"] not in str(error) for each in items) or jobs > 100)
    assert size > 10 or jobs > 1 or failed > 100 or all(each["id"] in str(error) for each in items)
