"""What AWS's errors mean: which pass by themselves, which the connection's credentials cause, and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    ParamValidationError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as BotocoreConnectionError,
)
from botocore.parsers import ResponseParserError

from airflow_omics._airflow import AirflowException
from airflow_omics._service.limits import cut
from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsThrottledError,
    OmicsTransientError,
)

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN_KEY = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
"""The key is unknown or inactive, or its secret is another: after a rotation the connection has a better one."""
_THROTTLING = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
}
TRANSIENT_CODES = {
    *_EXPIRED,
    *_THROTTLING,
    "IDPCommunicationError",  # STS could not reach the identity provider of a web identity
    "InternalServerException",
    "PriorRequestNotComplete",
    "RequestInTheFuture",  # this and the next: a clock is wrong, and will be set
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceQuotaExceededException",  # Start* only: a job of somebody's has to end first
    "ServiceUnavailable",
}
"""Errors that pass by themselves, whatever their HTTP status."""
_TRANSIENT_HTTP = {408, 429}  # and every 5xx
_TRANSIENT_TEXTS = {
    "InvalidSignatureException": ("signature expired", "not yet current"),  # a clock is wrong, and will be set
    "SignatureDoesNotMatch": ("signature expired", "not yet current"),
    "InvalidIdentityToken": ("couldn't retrieve verification key",),  # STS could not fetch the identity provider's key
}
"""Errors that pass by themselves if their message has one of these texts."""
_TRANSIENT_BOTOCORE = (
    BotocoreConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)
_UNSENDABLE = re.compile(
    r"Invalid header|Failed to parse: |PEM lib|NO_CERTIFICATE_OR_CRL|no certificate or crl"
    r"|\[Errno (?:2|13|20|21)\]"  # a certificate's file is not there, not readable, or a folder
)
"""What Python and urllib3 say of a header, a URL or a certificate."""
_DENIED_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Call:
    """
    A call of AWS, in the words of messages.

    :param operation: The operation, such as ``GetReadSetExportJob``.
    :param subject: What it is called for, such as a job.
    :param where: By which connection, and in which region or at which endpoint.
    :param answer: What was answered, if that may be no answer of HealthOmics; else empty.
    """

    operation: str
    subject: str
    where: str
    answer: str = ""

    def __str__(self) -> str:
        return f"{self.operation} for {self.subject} ({self.where})"


def are_credentials_expired(error: Exception) -> bool:
    """Tell whether ``error`` goes away with credentials taken up anew."""
    return isinstance(error, CredentialRetrievalError) or (isinstance(error, ClientError) and _code(error) in _EXPIRED)


def is_no_word_of_aws(error: Exception) -> bool:
    """Tell whether AWS may not have answered at all: a wrong endpoint or a proxy gives no answer, or an HTTP 5xx."""
    return not isinstance(error, ClientError) or _http_status(error.response) >= 500


def is_key_unknown(error: Exception) -> bool:
    """Tell whether AWS does not know the key that a request is signed with, or not with this secret."""
    return isinstance(error, ClientError) and _code(error) in _UNKNOWN_KEY and not is_transient(error)


def is_denied(error: ClientError) -> bool:
    """Tell whether AWS knows who calls, and does not allow it."""
    return _code(error).startswith("AccessDenied")


def is_throttling(response: Mapping[str, Any]) -> bool:
    """Tell whether an answer, as botocore parses it, says that there are too many calls."""
    return response.get("Error", {}).get("Code") in _THROTTLING or _http_status(response) == 429


def is_transient(error: Exception) -> bool:
    """
    Tell whether the same call may well succeed later, with nobody changing anything.

    Sources: the service model's ``retryable`` traits and HTTP codes, botocore's own list for its standard retry mode.
    """
    if isinstance(error, ClientError):
        code, http = _code(error), _http_status(error.response)
        said = _message(error).lower()
        passing = any(text in said for text in _TRANSIENT_TEXTS.get(code, ()))
        return passing or code in TRANSIENT_CODES or http in _TRANSIENT_HTTP or http >= 500
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return False  # a wrong CA stays wrong; a broken handshake does not
    # The latter: the body was not what the service sends; something between us and AWS answered.
    return isinstance(error, (*_TRANSIENT_BOTOCORE, ResponseParserError)) and not _is_unsendable(error)


def explain(error: BotoCoreError | ClientError | ResponseParserError, call: Call) -> AirflowException:
    """Turn what boto3 raised into this provider's exception, with a message that one can act on."""
    if isinstance(error, ClientError):
        return _explain_answer(error, call)
    answer = call.answer if isinstance(error, ResponseParserError) else ""
    said = f"{type(error).__name__} on {call}: {cut(str(error)).rstrip('.')}.{answer}"
    if _is_unsendable(error):
        return OmicsArgumentError(
            f"{said} A setting of the client cannot be right: check botocore_config, and of the Airflow connection "
            "config_kwargs and the credentials."
        )
    if isinstance(error, ParamValidationError):
        return OmicsArgumentError(f"{said} Nothing was sent: an argument cannot be right, or is newer than botocore.")
    if isinstance(error, CredentialRetrievalError | MetadataRetrievalError):
        return OmicsTransientError(
            f"{said} Credentials are looked for anew. If this goes on, check the Airflow connection, and the role that "
            "this machine should have."
        )
    if is_transient(error):
        return OmicsTransientError(f"{said} If this goes on, check endpoint_url, region_name and the network.")
    return OmicsRequestError(f"{said} Check the Airflow connection, its region and its credentials.")


def explain_empty(call: Call) -> OmicsTransientError:
    """Explain an answer without any member. HealthOmics sends none; botocore makes one of a body that is no JSON."""
    return OmicsTransientError(
        f"No member in the answer to {call}.{call.answer} If this goes on, check what stands between Airflow and AWS "
        "(endpoint_url, proxy)."
    )


def _explain_answer(error: ClientError, call: Call) -> AirflowException:
    # Signing may have called another service first, such as sts:AssumeRole.
    operation = error.operation_name or call.operation
    code, denied = _code(error), _DENIED_ACTION.search(_message(error))
    action = denied[1] if denied else f"{'sts' if operation.startswith('AssumeRole') else 'omics'}:{operation}"
    named = [] if action.endswith(f":{operation}") else [action]
    named = [*(["explicit deny"] if _is_denied_explicitly(error) else []), *named]
    reason = f"{code} ({' of '.join(named)})" if named else code
    said = cut(_message(error) or "no message").rstrip(".")
    if code.isdecimal():  # botocore takes the HTTP status for the code where there is none, and the body for the text
        reason, said = f"HTTP {code}, not from AWS,", "no answer of HealthOmics"
    text = f"{reason} on {operation} for {call.subject} ({call.where}): {said}."
    text += call.answer if code.isdecimal() or not _has_code(error) else ""
    if are_credentials_expired(error):
        return OmicsTransientError(f"{text} The connection is read anew; renew its credentials.")
    if is_transient(error):
        return (OmicsThrottledError if is_throttling(error.response) else OmicsTransientError)(text)
    if is_key_unknown(error):
        return OmicsCredentialsError(
            f"{text} The connection was read anew, and AWS refused its key again: check its credentials."
        )
    refusal = OmicsNotFoundError if code == "ResourceNotFoundException" else OmicsRefusedError
    return refusal(f"{text} {_advice(error, operation, action)}")


def _advice(error: ClientError, operation: str, action: str) -> str:
    code = _code(error)
    if is_denied(error):
        if _is_denied_explicitly(error):
            return f"A policy denies {action} explicitly: allowing it elsewhere does not help, the deny has to go."
        return (
            f"The credentials of the Airflow connection need the IAM action {action} on this resource; "
            "check the policies of their user or role."
        )
    store, kind = ("reference" if "Reference" in operation else "sequence"), ""
    arguments = f"{store}_store_id"
    if operation.endswith("Metadata"):
        arguments += " and sources" if store == "reference" else " and read_set_ids"
    elif operation.startswith("Get"):
        arguments, kind = f"{arguments} and job_id", ", that the job is of this kind"
    elif operation.startswith("Start"):
        arguments += f", {'sources' if 'Import' in operation else 'read_set_ids'}"
        arguments += "" if "Activation" in operation else ", role_arn"
        arguments += ", destination" if "Export" in operation else ""
    if code == "ResourceNotFoundException":
        return f"Check {arguments}{kind}, and that the connection's account and region are those of the {store} store."
    if code == "ValidationException":
        ids = ": both are text of 10 to 36 digits" if operation.startswith("Get") else ""
        return f"Check {arguments}{ids}."
    return "Check the Airflow connection: its credentials, account, region and endpoint_url."


def _is_denied_explicitly(error: ClientError) -> bool:
    return is_denied(error) and "explicit deny" in _message(error)


def _is_unsendable(error: Exception) -> bool:
    """Tell whether a request was never sent, since a header, a certificate or an option cannot be what it is."""
    if not isinstance(error, HTTPClientError | SSLError):
        return False
    cause = error.kwargs.get("error")
    return isinstance(cause, TypeError | UnicodeEncodeError) or bool(_UNSENDABLE.search(str(error)))


def _http_status(response: Mapping[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _has_code(error: ClientError) -> bool:
    return bool(error.response.get("Error", {}).get("Code"))


def _code(error: ClientError) -> str:
    return cut(str(error.response.get("Error", {}).get("Code") or "an error without a code"), 100)


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message") or "")
