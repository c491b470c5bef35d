"""How the hook comes by its client, and makes a call: credentials, rate, and what to make of what Python raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from airflow_omics._airflow import AirflowException
from airflow_omics._aws.connection import MALFORMED, OmicsConnectionHook
from airflow_omics._aws.errors import are_credentials_expired, is_denied, is_key_unknown, is_no_word_of_aws
from airflow_omics._aws.masking import masked
from airflow_omics._aws.rate_limit import limit_rate
from airflow_omics._service.limits import cut, shown
from airflow_omics.exceptions import OmicsArgumentError, OmicsRequestError

if TYPE_CHECKING:
    from mypy_boto3_omics import OmicsClient

LONGEST_BODY = 10_000
"""Bytes of a body that are searched for secrets, before its beginning is shown."""

SHOWN_OF_A_BODY = 100
"""Characters of a body that an error shows, if it is no answer of HealthOmics."""

A_MOMENT = timedelta(seconds=2)
"""How far two clocks may be apart that count as one."""

_WRONG = (ParamValidationError, ProfileNotFound, ValueError)
"""What botocore raises while a client is made if a setting cannot be right; some of its errors are ValueErrors."""


class OmicsClientHook(OmicsConnectionHook):
    """
    The part of :class:`airflow_omics.hooks.OmicsHook` that knows no operation.

    A client is kept until a call fails without an answer of AWS's, or for its credentials. Then the next call reads
    the connection anew: it may have been mended, or its key rotated.
    """

    def __init__(
        self,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Config | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(aws_conn_id, region_name, verify, config)
        self._answer = ""
        self._is_proven = False
        """Whether AWS has answered a call with the present credentials."""
        self._denied: set[tuple[object, ...]] = set()
        """The operations that AWS denied last, each with its store, with the connection just read."""
        self.service_time = datetime.now(UTC)
        """The service's clock at its last answer: the answer's Date, in whole seconds."""
        self.is_behind = timedelta()
        """By how much the service's clock is behind this machine's, if by more than a moment."""

    def disconnect(self) -> None:
        """Close the client; the next call reads the connection, and takes up its credentials, anew."""
        if self._read_config is not None:
            self.where  # noqa: B018 - remembered: asked for later, it would read the connection before the next call does
        self._is_proven = False
        if (client := self._forget()) is not None:
            client.close()

    @cached_property
    def conn(self) -> OmicsClient:
        """The client; a role to assume is assumed, by a call of STS, while it is made."""
        self._where = ""  # the connection is read anew
        with self._masking(), self._translating():
            return self.get_client_type(region_name=self.region_name)

    def get_client_type(
        self, region_name: str | None = None, config: Config | None = None, deferrable: bool = False
    ) -> OmicsClient:
        """Create the client, with this provider's defaults under whatever the user configured."""
        self._check_connection()
        self._configure(self._settings(config))
        client: OmicsClient = super().get_client_type(region_name, None, deferrable)
        self._remember_where(client.meta.region_name)
        limit_rate(client, self.aws_conn_id)
        client.meta.events.register("before-send.omics", self._keep_token)
        client.meta.events.register("before-parse.omics", self._keep_answer)
        return client

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """Make of what Python raises what botocore raises where it passes, and an argument error where it does not."""
        try:
            yield
        except (OmicsArgumentError, OmicsRequestError, ClientError, ResponseParserError):
            raise
        except Exception as error:
            if isinstance(error, BotoCoreError) and not (self._made_client is None and isinstance(error, _WRONG)):
                raise
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        said = f"{type(error).__name__}: {cut(str(error))}"
        if self._is_of_credentials(error):
            return CredentialRetrievalError(provider="the connection", error_msg=said)
        if self._answer:  # a body that is no JSON object of the expected form, or has a time in it that is out of range
            return ResponseParserError(f"the body cannot be read: {said}")
        return OmicsArgumentError(
            f"Airflow connection {self.aws_conn_id!r} makes no client: {cut(str(error))}. "
            "An endpoint_url begins with http:// or https://; botocore_config, and the connection's config_kwargs, "
            "hold what botocore's Config takes."
        )

    def _is_of_credentials(self, error: Exception) -> bool:
        """Tell whether a file, STS or an identity provider, by exceptions of its own, did not give credentials."""
        if isinstance(error, RuntimeError) and not isinstance(error, MALFORMED):
            return not self._answer or "credentials" in str(error)  # refreshed, and expired still
        if isinstance(error, OSError):
            return True
        config = self._read_config  # reading it may be what failed
        method = getattr(config, "assume_role_method", None)
        if method == "assume_role":  # STS's answer has not what it should have
            return isinstance(error, KeyError) or (isinstance(error, AttributeError) and "'NoneType'" in str(error))
        return bool(method) and not isinstance(error, (AirflowException, *MALFORMED))

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """
        Call AWS; if it refuses the credentials, read the connection anew and call once more.

        A key may have been rotated, and with it what it is allowed.
        """
        try:
            return self._call_once(operation, parameters)
        except ClientError as error:
            is_withdrawn = is_denied(error) and self._is_proven and _target(operation, parameters) not in self._denied
            if not (is_key_unknown(error) or is_withdrawn):
                raise
            self.log.info("%s; reading Airflow connection %r anew", cut(str(error)), self.aws_conn_id)
        self.disconnect()
        return self._call_once(operation, parameters)

    def _call_once(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._answer = ""
        try:
            call = getattr(self.conn, xform_name(operation))
            with self._masking(), self._translating():
                response: dict[str, Any] = call(**parameters)
                response.pop("ResponseMetadata", None)
        except (NoCredentialsError, NoRegionError) as error:
            is_undefined = self.aws_conn_id not in (None, "", self.default_conn_name) and not self.conn_config
            self.disconnect()  # a client made without credentials never has any
            missing = "region" if isinstance(error, NoRegionError) else "credentials"
            if is_undefined:
                raise OmicsRequestError(
                    f"Airflow connection {self.aws_conn_id!r} is not defined, and boto3 itself finds no {missing}. "
                    "Define it, or correct aws_conn_id."
                ) from error
            if missing == "region":
                raise
            raise CredentialRetrievalError(provider="boto3's own lookup", error_msg=str(error)) from error
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            if is_no_word_of_aws(error) or are_credentials_expired(error) or self._made_client is None:
                self.disconnect()
            elif isinstance(error, ClientError) and is_denied(error) and not self._is_proven:
                self._denied.add(_target(operation, parameters))
            raise
        self._is_proven = True
        self._denied.discard(_target(operation, parameters))
        return response

    def _keep_token(self, request: AWSPreparedRequest, **_: Any) -> None:
        """Keep the session token that a request is sent with; it may be of an assumed role."""
        token = request.headers.get("X-Amz-Security-Token") or ""
        self._token = token.decode() if isinstance(token, bytes) else token

    def _keep_answer(self, response_dict: dict[str, Any], **_: Any) -> None:
        """Keep the time of the last answer, and how it looked, for messages about one that is not HealthOmics'."""
        try:
            self.service_time = parsedate_to_datetime(response_dict["headers"]["date"]).astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError):  # without it, this machine's time is near enough
            self.service_time = datetime.now(UTC)
        behind = datetime.now(UTC) - self.service_time
        self.is_behind = behind if behind > A_MOMENT else timedelta()
        body = response_dict.get("body")
        text = body[:LONGEST_BODY].decode("utf-8", "replace") if isinstance(body, bytes) else ""
        begins = masked(text, self._secrets())[:SHOWN_OF_A_BODY]  # masked whole, so that no half of a secret stays
        kind = response_dict.get("headers", {}).get("content-type") or "none"
        self._answer = (
            f" It had HTTP status {response_dict.get('status_code')}, content type {cut(kind, 80)}, and began with "
            f"{shown(begins, 2 * SHOWN_OF_A_BODY)}."
        )


def _target(operation: str, parameters: dict[str, Any]) -> tuple[object, ...]:
    """Return what a policy allows or denies: an operation on a store."""
    return operation, *(value for name, value in parameters.items() if name.endswith("StoreId"))
