"""What can go wrong, and which of AWS's errors pass by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as BotocoreConnectionError,
)

from airflow_omics.bounds import LARGEST_ERROR, LONGEST_MESSAGE, cut, some
from airflow_omics.compat import AirflowException, AirflowFailException, Context
from airflow_omics.jobs import ReadSetJob

if TYPE_CHECKING:
    from botocore.parsers import ResponseParserError

NAMED_WITH_MESSAGE = 5
"""How many failed read sets of one job an error shows with AWS's message; others are named by id, if there is room."""

_ROOM = LARGEST_ERROR - 5 * LONGEST_MESSAGE
"""Characters for what an error names; with one name that is longer, and what is said around, it keeps its bound."""

_MORE = "more; XCom has all: failed_job, and the ids alone failed_read_set_ids"

WAITED_OUT = "%s Nothing is lost; asking again."
"""How the log says that an error is waited out."""

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
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
_TRANSIENT_CODES = {
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
_TRANSIENT_HTTP = {408, 429}  # and every 5xx
_TRANSIENT_BOTOCORE = (
    BotocoreConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)


class OmicsArgumentError(AirflowFailException, ValueError):
    """An argument that cannot be right; the message names it. Also a ValueError, and never retried by Airflow."""


class OmicsReadSetJobFailedError(AirflowFailException):
    """
    Read set jobs are over and did not succeed. Never retried by Airflow, since they will never end better.

    Its text has at most :data:`airflow_omics.bounds.LARGEST_ERROR` characters, and says how much more there is in XCom.

    :param jobs: The failed ones, as :class:`airflow_omics.jobs.ReadSetJob`; available as ``.jobs``.
    """

    def __init__(self, jobs: Sequence[ReadSetJob]) -> None:
        self.jobs = tuple(jobs)
        super().__init__(
            some([_ending(job, _ROOM // len(self.jobs)) for job in self.jobs], _ROOM, "\n", f"jobs {_MORE}")
        )

    def push(self, context: Context, result: object) -> None:
        """
        Push to XCom what a downstream task with another trigger rule needs to take up the failures.

        :param result: What the task would have returned; goes under ``failed_job``. The ids of the failed read sets
            go under ``failed_read_set_ids``.
        """
        ids = dict.fromkeys(each.read_set_id for job in self.jobs for each in job.failed if each.read_set_id)
        if task_instance := context.get("ti"):
            task_instance.xcom_push(key="failed_job", value=result)
            task_instance.xcom_push(key="failed_read_set_ids", value=list(ids))

    def __reduce__(self) -> tuple[type[OmicsReadSetJobFailedError], tuple[Sequence[ReadSetJob]]]:
        return type(self), (self.jobs,)


class OmicsRequestError(AirflowException):
    """A call to AWS failed. Whether it would succeed later is not known, so Airflow's ``retries`` decide."""


class OmicsTransientError(OmicsRequestError):
    """A call to AWS failed for a reason that passes by itself: throttling, an outage, expired credentials."""


class OmicsThrottledError(OmicsTransientError):
    """AWS was called too often, by whoever shares the account's quotas."""


class OmicsRefusedError(OmicsRequestError, AirflowFailException):
    """AWS refused a call and will refuse it again until somebody changes something. Never retried by Airflow."""


class OmicsNotFoundError(OmicsRefusedError):
    """AWS knows no such job, or no such sequence store."""


class OmicsResponseError(OmicsRequestError):
    """AWS answered something that is not of the form its service model describes."""


class OmicsEventError(AirflowException):
    """A deferred task was woken with an event that its trigger cannot have sent."""


def are_credentials_expired(error: Exception) -> bool:
    """Tell whether ``error`` goes away with credentials taken up anew."""
    return isinstance(error, CredentialRetrievalError) or (isinstance(error, ClientError) and _code(error) in _EXPIRED)


def is_throttling(response: Mapping[str, Any]) -> bool:
    """Tell whether an answer, as botocore parses it, says that there are too many calls."""
    return response.get("Error", {}).get("Code") in _THROTTLING or _http_status(response) == 429


def is_transient(error: Exception) -> bool:
    """
    Tell whether the same call may well succeed later, with nobody changing anything.

    Sources: the service model's ``retryable`` traits and HTTP codes, botocore's own list for its standard retry mode.
    """
    if isinstance(error, ClientError):
        http = _http_status(error.response)
        return _code(error) in _TRANSIENT_CODES or http in _TRANSIENT_HTTP or http >= 500
    if isinstance(error, SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)  # a wrong CA stays wrong; a broken handshake does not
    # Here, since importing it takes long, and triggers import this module on the triggerer's event loop.
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    # The latter: the body was not what the service sends; something between us and AWS answered.
    return isinstance(error, (*_TRANSIENT_BOTOCORE, ResponseParserError))


def explain(
    error: BotoCoreError | ClientError | ResponseParserError, operation: str, subject: str
) -> OmicsRequestError:
    """
    Turn what boto3 raised into this provider's exception, with a message one can act on.

    :param operation: The AWS operation called, such as ``GetReadSetExportJob``.
    :param subject: What it was called for, such as a job, in words.
    """
    if not isinstance(error, ClientError):
        message = f"{operation} for {subject} failed: {type(error).__name__}: {cut(str(error))}"
        if is_transient(error):
            return OmicsTransientError(f"{message} If this goes on, check endpoint_url, region_name and the network.")
        return OmicsRequestError(f"{message} Check the Airflow connection, its region and its credentials.")
    # Signing may have called another service first, such as sts:AssumeRole.
    failed_operation = error.operation_name or operation
    said = cut(str(error.response.get("Error", {}).get("Message") or "no message"))
    message = f"{failed_operation} for {subject} was answered with {_code(error)}: {said}"
    if are_credentials_expired(error):
        return OmicsTransientError(f"{message.rstrip('.')}. The connection is read anew; renew its credentials.")
    if is_transient(error):
        transient = OmicsThrottledError if is_throttling(error.response) else OmicsTransientError
        return transient(f"{message.rstrip('.')}.")
    refusal = OmicsNotFoundError if _code(error) == "ResourceNotFoundException" else OmicsRefusedError
    return refusal(f"{message.rstrip('.')}. {_advice(_code(error), failed_operation)}")


def _advice(code: str, operation: str) -> str:
    if code.startswith("AccessDenied"):
        service = "sts" if operation.startswith("AssumeRole") else "omics"
        return (
            f"The credentials of the Airflow connection need the IAM action {service}:{operation} on this resource; "
            "check the policies of their user or role."
        )
    if code == "ResourceNotFoundException":
        return (
            "Check sequence_store_id and job_id, that the job is of this kind, and that the connection's account and "
            "region are those of the sequence store."
        )
    if code == "ValidationException":
        return "Check sequence_store_id and job_id: both are text of 10 to 36 digits."
    return "Check the Airflow connection: its credentials, account and region."


def _http_status(response: Mapping[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: ClientError) -> str:
    return cut(str(error.response.get("Error", {}).get("Code") or "an error without a code"), 100)


def _ending(job: ReadSetJob, room: int) -> str:
    """Say how a job ended, in the words an on-call person needs, with as many read sets as have room."""
    text = f"{job} ended {job.status}"
    if job.status_message:
        text += f" ({job.status_message})"
    if not job.total:
        return f"{text}; AWS sent no details of its read sets."
    text += f"; {len(job.failed)} of {job.total} read sets failed"
    if job.unfinished:
        text += f", {len(job.unfinished)} were never finished"
    named = [str(each) for each in job.failed[:NAMED_WITH_MESSAGE]]
    named += [str(replace(each, message=None)) for each in job.failed[NAMED_WITH_MESSAGE:]]
    return f"{text}: {some(named, room, more=_MORE)}." if named else f"{text}."
