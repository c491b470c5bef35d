"""What AWS's errors mean, and what their messages say."""

from __future__ import annotations

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

from airflow_omics._aws.errors import (
    Call,
    are_credentials_expired,
    explain,
    explain_empty,
    is_key_unknown,
    is_throttling,
    is_transient,
)
from airflow_omics._service.limits import LONGEST_MESSAGE
from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsThrottledError,
    OmicsTransientError,
)
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
        (HTTPClientError(error=ValueError("Invalid header value")), False),
        (HTTPClientError(error=OSError("broken")), True),
        (HTTPClientError(error=ValueError("read length must be non-negative or -1")), True),
        (HTTPClientError(error=UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")), True),
        (HTTPClientError(error=UnicodeEncodeError("latin-1", "x", 0, 1, "bad")), False),
        (HTTPClientError(error=TypeError("expected string or bytes-like object")), False),
        (HTTPClientError(error=ValueError("Failed to parse: http://a b")), False),
        *(
            (SSLError(endpoint_url="https://example", error=text), False)
            for text in ("[Errno 2] No such file or directory", "[Errno 13] x", "[Errno 20] x", "[Errno 21] x")
        ),
        (SSLError(endpoint_url="https://example", error="[SSL] PEM lib (_ssl.c:3900)"), False),
        (SSLError(endpoint_url="https://example", error="[X509: NO_CERTIFICATE_OR_CRL_FOUND]"), False),
        (SSLError(endpoint_url="https://example", error="no certificate or crl found"), False),
        *(
            (client_error(code, 403, message=f"Signature {text}: 20261125T000000Z is ..."), True)
            for code in ("InvalidSignatureException", "SignatureDoesNotMatch")
            for text in ("expired", "not yet current")
        ),
        (client_error("InvalidSignatureException", 403, message="The request signature we calculated"), False),
        (client_error("InvalidIdentityToken", 400, message="Couldn't retrieve verification key from your"), True),
        (client_error("InvalidIdentityToken", 400, message="Incorrect token audience"), False),
    ],
    ids=lambda value: type(value).__name__,  # for mutmut: plain characters
)
def test_errors_of_botocore_and_of_what_stands_between(error: Exception, transient: bool) -> None:
    assert is_transient(error) == transient


CREDENTIALS = "Check the Airflow connection: its credentials, account, region and endpoint_url."
CALL = Call("GetReadSetExportJob", "a job", "connection 'c', region r", " It began with '<p>'.")
ON = "on GetReadSetExportJob for a job (connection 'c', region r)"
ALLOW = "on this resource; check the policies of their user or role."
PLACE = "that the connection's account and region are those of the sequence store."
PASS_ROLE = "User: u is not authorized to perform: iam:PassRole on resource: r"
ANEW = "Credentials are looked for anew. If this goes on, check the Airflow connection, and the role that"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            client_error("AccessDeniedException", 403),
            OmicsRefusedError,
            f"AccessDeniedException {ON}: No. The credentials of the Airflow connection need the IAM action "
            f"omics:GetReadSetExportJob {ALLOW}",
        ),
        (
            client_error("AccessDenied", 403, "AssumeRole"),
            OmicsRefusedError,
            "AccessDenied on AssumeRole for a job (connection 'c', region r): No. The credentials of the Airflow "
            f"connection need the IAM action sts:AssumeRole {ALLOW}",
        ),
        (
            client_error("AccessDeniedException", 403, "StartReadSetExportJob", PASS_ROLE),
            OmicsRefusedError,
            "AccessDeniedException (iam:PassRole) on StartReadSetExportJob for a job (connection 'c', region r): "
            f"{PASS_ROLE}. The credentials of the Airflow connection need the IAM action iam:PassRole {ALLOW}",
        ),
        (
            client_error(
                "AccessDeniedException", 403, message="not authorized to perform: kms:Decrypt with an explicit deny"
            ),
            OmicsRefusedError,
            f"AccessDeniedException (explicit deny of kms:Decrypt) {ON}: "
            "not authorized to perform: kms:Decrypt with an explicit deny. "
            "A policy denies kms:Decrypt explicitly: allowing it elsewhere does not help, the deny has to go.",
        ),
        (
            client_error("UnrecognizedClientException", 403),
            OmicsCredentialsError,
            f"UnrecognizedClientException {ON}: No. The connection was read anew, and AWS refused its key again: "
            "check its credentials.",
        ),
        (
            client_error("ResourceNotFoundException", 404, message="No such X."),
            OmicsNotFoundError,
            f"ResourceNotFoundException {ON}: No such X. Check sequence_store_id and job_id, that the job is of this "
            f"kind, and {PLACE}",
        ),
        *(
            (
                client_error("ResourceNotFoundException", 404, operation),
                OmicsNotFoundError,
                f"ResourceNotFoundException on {operation} for a job (connection 'c', region r): No. "
                f"Check {arguments}, and {PLACE}",
            )
            for operation, arguments in {
                "ListReadSets": "sequence_store_id",
                "StartReadSetActivationJob": "sequence_store_id, read_set_ids",
                "StartReadSetExportJob": "sequence_store_id, read_set_ids, role_arn, destination",
                "StartReadSetImportJob": "sequence_store_id, sources, role_arn",
            }.items()
        ),
        (
            client_error("ValidationException", 400),
            OmicsRefusedError,
            f"ValidationException {ON}: No. Check sequence_store_id and job_id: both are text of 10 to 36 digits.",
        ),
        (
            client_error("ValidationException", 400, "StartReadSetExportJob"),
            OmicsRefusedError,
            "ValidationException on StartReadSetExportJob for a job (connection 'c', region r): No. "
            "Check sequence_store_id, read_set_ids, role_arn, destination.",
        ),
        (
            ClientError({}, None),
            OmicsRefusedError,
            f"an error without a code {ON}: no message. It began with '<p>'. {CREDENTIALS}",
        ),
        (
            client_error("404", 404, message=""),
            OmicsRefusedError,
            f"HTTP 404, not from AWS, {ON}: no answer of HealthOmics. It began with '<p>'. {CREDENTIALS}",
        ),
        (
            client_error("C" * 101, 409, message="M" * (LONGEST_MESSAGE + 1)),
            OmicsRefusedError,
            f"{'C' * 99}… {ON}: {'M' * (LONGEST_MESSAGE - 1)}…. {CREDENTIALS}",
        ),
        (
            client_error("ExpiredToken", 403, message="Old X."),
            OmicsTransientError,
            f"ExpiredToken {ON}: Old X. The connection is read anew; renew its credentials.",
        ),
        (
            client_error("ThrottlingException", 429, message="Less X."),
            OmicsThrottledError,
            f"ThrottlingException {ON}: Less X.",
        ),
        (
            client_error("InternalServerException", 500, message="Broken X."),
            OmicsTransientError,
            f"InternalServerException {ON}: Broken X.",
        ),
        (
            ConnectTimeoutError(endpoint_url="https://example"),
            OmicsTransientError,
            f'ConnectTimeoutError {ON}: Connect timeout on endpoint URL: "https://example". '
            "If this goes on, check endpoint_url, region_name and the network.",
        ),
        (
            ResponseParserError("not X."),
            OmicsTransientError,
            f"ResponseParserError {ON}: not X. It began with '<p>'. "
            "If this goes on, check endpoint_url, region_name and the network.",
        ),
        (
            CredentialRetrievalError(provider="p", error_msg="gone"),
            OmicsTransientError,
            f"CredentialRetrievalError {ON}: Error when retrieving credentials from p: gone. {ANEW} this machine "
            "should have.",
        ),
        (
            HTTPClientError(error=ValueError("Invalid header value")),
            OmicsArgumentError,
            f"HTTPClientError {ON}: An HTTP Client raised an unhandled exception: Invalid header value. A setting of "
            "the client cannot be right: check botocore_config, and of the Airflow connection config_kwargs and the "
            "credentials.",
        ),
        (
            NoCredentialsError(),
            OmicsRequestError,
            f"NoCredentialsError {ON}: Unable to locate credentials. "
            "Check the Airflow connection, its region and its credentials.",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_an_error_says_why_what_failed_where_and_what_to_do(error: Any, kind: type[Exception], said: str) -> None:
    explained = explain(error, CALL)
    assert (type(explained), str(explained)) == (kind, said)


def test_an_answer_without_a_member_is_shown() -> None:
    assert str(explain_empty(CALL)) == (
        "No member in the answer to GetReadSetExportJob for a job (connection 'c', region r). It began with '<p>'. "
        "If this goes on, check what stands between Airflow and AWS (endpoint_url, proxy)."
    )


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


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        *(
            (client_error(code, 403), True)
            for code in (
                "AuthFailure",
                "InvalidAccessKeyId",
                "InvalidClientTokenId",
                "InvalidSignatureException",
                "MissingAuthenticationToken",
                "MissingAuthenticationTokenException",
                "SignatureDoesNotMatch",
                "UnrecognizedClientException",
            )
        ),
        (client_error("InvalidSignatureException", 403, message="Signature expired"), False),
        (client_error("AccessDeniedException", 403), False),
        (NoCredentialsError(), False),
    ],
    ids=str,
)
def test_which_answers_say_that_the_key_is_unknown(error: Exception, unknown: bool) -> None:
    assert is_key_unknown(error) == unknown
