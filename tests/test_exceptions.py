"""Which errors pass by themselves, and what their messages say."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError
from conftest import TaskInstance

from airflow_omics.bounds import LARGEST_ERROR, LONGEST_MESSAGE, LONGEST_TEXT, MOST_READ_SETS
from airflow_omics.exceptions import (
    OmicsNotFoundError,
    OmicsReadSetJobFailedError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsThrottledError,
    OmicsTransientError,
    are_credentials_expired,
    explain,
    is_throttling,
    is_transient,
)
from airflow_omics.jobs import FailedReadSet, JobStatus, ReadSetJob, ReadSetJobKind
from airflow_omics.local.wire import error_codes


def client_error(code: str, status: int, operation: str = "GetReadSetExportJob", message: str = "No") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
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


CODES_THAT_PASS = [
    "ExpiredToken",
    "InternalServerException",
    "PriorRequestNotComplete",
    "RequestExpired",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "TokenRefreshRequired",
]
"""Whatever their HTTP status."""


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (client_error("ExpiredTokenException", 403), True),
        (client_error("UnrecognizedClientException", 403), False),
        (client_error("IDPCommunicationError", 400), True),
        (client_error("RequestLimitExceeded", 400), True),
        (client_error("502", 502), True),
        (client_error("500", 500), True),
        (client_error("499", 499), False),
        (ClientError({}, "GetReadSetExportJob"), False),
        (client_error("403", 403), False),
        *((client_error(code, 400), True) for code in CODES_THAT_PASS),
        (client_error("Whatever", 408), True),
        (client_error("Whatever", 429), True),
        (HTTPClientError(error="broken"), True),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), True),
        (MetadataRetrievalError(error_msg="timed out"), True),
        (ConnectTimeoutError(endpoint_url="https://example"), True),
        (SSLError(endpoint_url="https://example", error="EOF occurred in violation of protocol"), True),
        (SSLError(endpoint_url="https://example", error="[SSL: CERTIFICATE_VERIFY_FAILED]"), False),
        (CredentialRetrievalError(provider="container-role", error_msg="timed out"), True),
        (NoCredentialsError(), False),
        (ResponseParserError("not XML"), True),
        (KeyError("status"), False),
    ],
    ids=lambda value: type(value).__name__,  # for mutmut: plain characters
)
def test_errors_of_botocore_and_of_what_stands_between(error: Exception, transient: bool) -> None:
    assert is_transient(error) == transient


CREDENTIALS = "Check the Airflow connection: its credentials, account and region."
NOT_FOUND = (
    "Check sequence_store_id and job_id, that the job is of this kind, and that the connection's account and region "
    "are those of the sequence store."
)
POLICIES = "on this resource; check the policies of their user or role."
RENEW = "The connection is read anew; renew its credentials."


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            client_error("AccessDeniedException", 403),
            OmicsRefusedError,
            "GetReadSetExportJob for a job was answered with AccessDeniedException: No. The credentials of the Airflow "
            f"connection need the IAM action omics:GetReadSetExportJob {POLICIES}",
        ),
        (
            client_error("AccessDenied", 403, "AssumeRole"),
            OmicsRefusedError,
            "AssumeRole for a job was answered with AccessDenied: No. The credentials of the Airflow connection need "
            f"the IAM action sts:AssumeRole {POLICIES}",
        ),
        (
            client_error("ResourceNotFoundException", 404, message="No such X."),
            OmicsNotFoundError,
            f"GetReadSetExportJob for a job was answered with ResourceNotFoundException: No such X. {NOT_FOUND}",
        ),
        (
            client_error("ValidationException", 400),
            OmicsRefusedError,
            "GetReadSetExportJob for a job was answered with ValidationException: No. "
            "Check sequence_store_id and job_id: both are text of 10 to 36 digits.",
        ),
        (
            ClientError({}, None),
            OmicsRefusedError,
            f"GetReadSetExportJob for a job was answered with an error without a code: no message. {CREDENTIALS}",
        ),
        (
            client_error("C" * 101, 409, message="M" * (LONGEST_MESSAGE + 1)),
            OmicsRefusedError,
            f"GetReadSetExportJob for a job was answered with {'C' * 99}…: {'M' * (LONGEST_MESSAGE - 1)}…. "
            f"{CREDENTIALS}",
        ),
        (
            client_error("ExpiredToken", 403, message="Old X."),
            OmicsTransientError,
            f"GetReadSetExportJob for a job was answered with ExpiredToken: Old X. {RENEW}",
        ),
        (
            client_error("ThrottlingException", 429, message="Less X."),
            OmicsThrottledError,
            "GetReadSetExportJob for a job was answered with ThrottlingException: Less X.",
        ),
        (
            client_error("InternalServerException", 500, message="Broken X."),
            OmicsTransientError,
            "GetReadSetExportJob for a job was answered with InternalServerException: Broken X.",
        ),
        (
            ConnectTimeoutError(endpoint_url="https://example"),
            OmicsTransientError,
            "GetReadSetExportJob for a job failed: ConnectTimeoutError: Connect timeout on endpoint URL: "
            '"https://example" If this goes on, check endpoint_url, region_name and the network.',
        ),
        (
            NoCredentialsError(),
            OmicsRequestError,
            "GetReadSetExportJob for a job failed: NoCredentialsError: Unable to locate credentials "
            "Check the Airflow connection, its region and its credentials.",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_error_says_what_failed_why_and_what_to_do(error: Any, kind: type[Exception], said: str) -> None:
    explained = explain(error, "GetReadSetExportJob", "a job")
    assert (type(explained), str(explained)) == (kind, said)


@pytest.mark.parametrize(
    ("error", "expired"),
    [
        (client_error("ExpiredToken", 403), True),
        (client_error("ExpiredTokenException", 403), True),
        (client_error("RequestExpired", 400), True),
        (client_error("TokenRefreshRequired", 400), True),
        (client_error("AccessDenied", 403), False),
        (CredentialRetrievalError(provider="container-role", error_msg="timed out"), True),
        (NoCredentialsError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_credentials_taken_up_anew_may_help(error: Exception, expired: bool) -> None:
    assert are_credentials_expired(error) == expired


@pytest.mark.parametrize(
    ("code", "status", "throttling"),
    [
        ("ProvisionedThroughputExceededException", 400, True),
        ("RequestLimitExceeded", 400, True),
        ("RequestThrottled", 400, True),
        ("RequestThrottledException", 400, True),
        ("SlowDown", 503, True),
        ("Throttling", 400, True),
        ("ThrottledException", 400, True),
        ("ThrottlingException", 400, True),
        ("TooManyRequestsException", 400, True),
        ("Whatever", 429, True),
        ("Whatever", 430, False),
        ("InternalServerException", 500, False),
        ("ServiceUnavailable", 503, False),
    ],
)
def test_what_says_that_there_are_too_many_calls(code: str, status: int, throttling: bool) -> None:
    error = client_error(code, status)
    assert is_throttling(error.response) == throttling
    assert not throttling or is_transient(error)
    assert not is_throttling({})


def failed_job(**changes: Any) -> ReadSetJob:
    return ReadSetJob(ReadSetJobKind.EXPORT, "1234567890", "2345678901", JobStatus.FAILED, **changes)


WHERE_ALL_IS = "more; XCom has all: failed_job, and the ids alone failed_read_set_ids"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "; AWS sent no details of its read sets."),
        (
            {"status_message": "Bad", "finished": ("r0",), "unfinished": ("r1", "r2")},
            " (Bad); 0 of 3 read sets failed, 2 were never finished.",
        ),
        (
            {"failed": tuple(FailedReadSet(f"r{number}", "Torn") for number in range(7))},
            "; 7 of 7 read sets failed: r0 (Torn), r1 (Torn), r2 (Torn), r3 (Torn), r4 (Torn), r5, r6.",
        ),
        (
            {"failed": (FailedReadSet("r0", None), *[FailedReadSet("x" * 3000, None)] * 2)},
            f"; 3 of 3 read sets failed: r0, {'x' * 3000}, and 1 {WHERE_ALL_IS}.",
        ),
    ],
    ids=["no details", "unfinished", "seven", "long"],
)
def test_a_failed_job_says_how_it_ended(changes: dict[str, Any], said: str) -> None:
    job = failed_job(**changes)
    assert str(OmicsReadSetJobFailedError([job])) == f"{job} ended FAILED{said}"


def test_failed_jobs_share_what_room_there_is() -> None:
    job = failed_job(failed=(FailedReadSet("x" * 2000, None),) * 2)
    cut = f"{job} ended FAILED; 2 of 2 read sets failed: {'x' * 2000}, and 1 {WHERE_ALL_IS}."
    more = f"and 1 jobs {WHERE_ALL_IS}"
    assert str(OmicsReadSetJobFailedError([job] * 2)) == f"{cut}\n{cut}"
    assert str(OmicsReadSetJobFailedError([job] * 3)) == f"{cut}\n{cut}\n{more}"


def test_what_a_downstream_task_finds() -> None:
    failed = [FailedReadSet("r0", None), FailedReadSet(None, None, "s3://b/k"), FailedReadSet("r1", None)]
    error, ti = (
        OmicsReadSetJobFailedError([failed_job(failed=tuple(failed)), failed_job(failed=(failed[0],))]),
        TaskInstance(),
    )
    error.push({}, None)
    error.push({"ti": ti}, ["result"])
    assert ti.xcoms == {"failed_job": ["result"], "failed_read_set_ids": ["r0", "r1"]}


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
