"""How the hook comes by its client, and makes a call: settings, credentials, pace, and what exceptions may tell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore import UNSIGNED, xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError
from botocore.parsers import ResponseParserError

from airflow_omics.aws_errors import are_credentials_expired, is_denied, is_key_unknown
from airflow_omics.bounds import cut, shown
from airflow_omics.client_settings import check_config, check_connection, check_verify
from airflow_omics.compat import AirflowException, AirflowNotFoundException, connection_trouble
from airflow_omics.exceptions import OmicsArgumentError, OmicsRefusedError, OmicsRequestError, OmicsTransientError
from airflow_omics.masking import MASK, mask, masked
from airflow_omics.pace import keep_pace

if TYPE_CHECKING:
    from mypy_boto3_omics import OmicsClient

SHOWN_OF_A_BODY = 100
"""Characters of a body that an error shows, if it is no answer of HealthOmics."""

_MALFORMED = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What Python raises where something is not of the form that it should have."""


class OmicsClientHook(AwsGenericHook["OmicsClient"]):
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
        check_connection(aws_conn_id, region_name, verify, None if isinstance(config, Config) else config)
        if isinstance(config, dict):
            config = _config("botocore_config", config)
        super().__init__(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, config=config, client_type="omics"
        )
        self._token = ""
        self._answer = ""
        self._where = ""
        self._is_proven = False
        """Whether AWS has answered a call with the present credentials."""
        self._denied: set[str] = set()
        """The operations that AWS denied last, with the connection just read."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Read the connection.

        Where a secrets backend cannot be asked now, Airflow says that the connection is not defined. The Amazon
        provider would go on with whatever credentials the machine has.

        :raises airflow_omics.exceptions.OmicsTransientError: A secrets backend cannot be asked now.
        :raises airflow_omics.exceptions.OmicsRefusedError: Airflow does not let this task read the connection.
        :raises airflow_omics.exceptions.OmicsArgumentError: What is stored is no connection.
        """
        name = f"Airflow connection {conn_id!r}"
        try:
            return super().get_connection(conn_id)
        except AirflowNotFoundException:
            trouble = connection_trouble(conn_id)
            if trouble is None:
                raise
        except ImportError:  # the Amazon provider knows what to do
            raise
        except Exception as error:
            trouble = error
        if isinstance(trouble, PermissionError):
            raise OmicsRefusedError(f"{name} must not be read by this task: {cut(str(trouble))}") from trouble
        if isinstance(trouble, _MALFORMED):
            # Without its text and traceback: they may show what was read, passwords and all.
            raise OmicsArgumentError(
                f"{name} cannot be read ({type(trouble).__name__}): what is stored is neither JSON nor a URI."
            ) from None
        raise OmicsTransientError(
            f"{name} cannot be had now: {type(trouble).__name__}: {cut(str(trouble))}. "
            "If this goes on, check Airflow's secrets backend and database."
        ) from trouble

    @property
    def where(self) -> str:
        """By which connection, and in which region or at which endpoint, this hook calls; for messages."""
        if not self._where:
            with suppress(Exception):  # a message is wanted because something else went wrong
                self._remember_where(self.region_name)
        return self._where or f"connection {self.aws_conn_id!r}"

    def disconnect(self) -> None:
        """Close the client; the next call reads the connection, and takes up its credentials, anew."""
        if "conn_config" in self.__dict__:
            self.where  # noqa: B018 - remembered: asked for later, it would read the connection before the next call does
        client = self.__dict__.pop("conn", None)
        for cached in ("conn_config", "_client"):
            self.__dict__.pop(cached, None)
        self._is_proven = False
        if client is not None:
            client.close()

    def get_client_type(
        self, region_name: str | None = None, config: Config | None = None, deferrable: bool = False
    ) -> OmicsClient:
        """Create the client, with this provider's defaults under whatever the user configured."""
        with self._masking(), self._making_a_client():
            self._check_connection()
            self.conn_config.botocore_config = self._settings(config)  # the client of STS takes it from there
            client: OmicsClient = super().get_client_type(region_name, None, deferrable)
        self._remember_where(client.meta.region_name)
        keep_pace(client)
        client.meta.events.register("before-send.omics", self._keep_token)
        client.meta.events.register("before-parse.omics", self._keep_answer)
        return client

    def _check_connection(self) -> None:
        """Refuse what botocore would take, and fail on at every call as if the network were bad."""
        name = f"of Airflow connection {self.aws_conn_id!r}"
        check_verify("verify" if self._verify is not None else f"verify {name}", self.verify)
        _check_sendable(f"login {name}", self.conn_config.aws_access_key_id)
        _check_sendable(f"aws_session_token {name}", self.conn_config.aws_session_token)

    @contextmanager
    def _making_a_client(self) -> Iterator[None]:
        """Tell what is wrong in the connection from what passes: a role is assumed while a client is made."""
        try:
            yield
        except (OmicsArgumentError, OmicsRequestError):
            raise
        except (AirflowException, *_MALFORMED) as error:
            if isinstance(error, AttributeError | LookupError) and self.conn_config.assume_role_method == "assume_role":
                raise CredentialRetrievalError(provider="STS", error_msg=f"an answer without {error}") from error
            raise OmicsArgumentError(
                f"Airflow connection {self.aws_conn_id!r} makes no client: {cut(str(error))}. "
                "An endpoint_url begins with http:// or https://; botocore_config, and the connection's config_kwargs, "
                "hold what botocore's Config takes."
            ) from error
        except (OSError, RuntimeError) as error:  # of an identity provider, mostly
            raise CredentialRetrievalError(provider=type(error).__name__, error_msg=str(error)) from error

    def _settings(self, config: Config | None) -> Config:
        """
        Return the client's configuration: the argument's, else the connection's, else this provider's.

        The Amazon provider takes no notice of the connection's config_kwargs, proxies and all, when given a config.
        """
        defaults: dict[str, Any] = {}
        if not self._are_retries_configured():
            defaults["retries"] = {"mode": "standard"}
        if self.conn_config.get_service_endpoint_url(service_name="omics"):
            defaults["inject_host_prefix"] = False
        own = dict(self.conn_config.extra_config.get("config_kwargs") or {})
        name = f"config_kwargs of Airflow connection {self.aws_conn_id!r}"
        check_config(name, own)
        if own.get("signature_version") == "unsigned":
            own["signature_version"] = UNSIGNED
        return Config(**defaults).merge(_config(name, own)).merge(config or self._config or Config())

    def _are_retries_configured(self) -> bool:
        """Tell whether the environment or the AWS profile set retries; a Config given to botocore would hide that."""
        if {"AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"} & os.environ.keys():
            return True
        if not Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser().is_file():
            return False
        # Not self.get_session(): with a role to assume that would call AWS.
        profile = botocore.session.Session(profile=self.conn_config.profile_name).get_scoped_config()
        return bool({"retry_mode", "max_attempts"} & profile.keys())

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """
        Call AWS; if it refuses the credentials, read the connection anew and call once more.

        A key may have been rotated, and with it what it is allowed.
        """
        try:
            return self._call_once(operation, parameters)
        except ClientError as error:
            is_withdrawn = is_denied(error) and self._is_proven and operation not in self._denied
            if not (is_key_unknown(error) or is_withdrawn):
                raise
            self.log.info("%s; reading Airflow connection %r anew", cut(str(error)), self.aws_conn_id)
        self.disconnect()
        return self._call_once(operation, parameters)

    def _call_once(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._answer = ""
        try:
            with self._masking():
                response = _call_client(getattr(self.conn, xform_name(operation)), parameters)
        except NoCredentialsError as error:
            is_undefined = self.aws_conn_id not in (None, "", self.default_conn_name) and not self.conn_config
            self.disconnect()  # a client made without credentials never has any
            if is_undefined:
                raise OmicsRequestError(
                    f"Airflow connection {self.aws_conn_id!r} is not defined, and boto3 itself finds no credentials. "
                    "Define it, or correct aws_conn_id."
                ) from error
            raise CredentialRetrievalError(provider="boto3's own lookup", error_msg=str(error)) from error
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            if not isinstance(error, ClientError) or are_credentials_expired(error):
                self.disconnect()
            elif is_denied(error) and not self._is_proven:
                self._denied.add(operation)
            raise
        self._is_proven = True
        self._denied.discard(operation)
        return response

    @contextmanager
    def _masking(self) -> Iterator[None]:
        """Let no exception tell the connection's secrets, or the session token of the last request."""
        try:
            yield
        except Exception as error:
            config = self.__dict__.get("conn_config")  # reading it may be what failed
            own = (getattr(config, name, None) for name in ("aws_secret_access_key", "aws_session_token"))
            mask(error, filter(None, (self._token, *own)))
            raise

    def _remember_where(self, region_name: str | None) -> None:
        endpoint = self.conn_config.get_service_endpoint_url(service_name="omics")
        place = f"region {region_name or 'of boto3 itself'}"
        if endpoint:  # without a password, in whatever form
            place = f"endpoint {masked(re.sub('//.*@', f'//{MASK}@', cut(str(endpoint), 200)))}"
        defined = "" if self.conn_config or not self.aws_conn_id else " (not defined)"
        self._where = f"connection {self.aws_conn_id!r}{defined}, {place}"

    def _keep_token(self, request: AWSPreparedRequest, **_: Any) -> None:
        """Keep the session token that a request is sent with; it may be of an assumed role."""
        token = request.headers.get("X-Amz-Security-Token") or ""
        self._token = token.decode() if isinstance(token, bytes) else token

    def _keep_answer(self, response_dict: dict[str, Any], **_: Any) -> None:
        """Keep how the last answer looked, for messages about one that is not HealthOmics'."""
        body = response_dict.get("body")
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else ""
        kind = response_dict.get("headers", {}).get("content-type") or "none"
        self._answer = (
            f" It had HTTP status {response_dict.get('status_code')}, content type {cut(kind, 80)}, and began with "
            f"{masked(shown(text[:SHOWN_OF_A_BODY], 2 * SHOWN_OF_A_BODY))}."
        )

    @staticmethod
    def _find_operator_class_name(target_function_name: str) -> str | None:
        """
        Name the class that calls, for the user agent.

        The Amazon provider's own reads the source of every frame for it, a large part of what a poke would cost.
        """
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_name != target_function_name:
            frame = frame.f_back  # type: ignore[assignment]
        return type(frame.f_locals.get("self")).__name__ if frame is not None else None

    @staticmethod
    def _find_executor_class_name() -> str | None:
        """Name no executor, since none uses this hook."""
        return None


def _check_sendable(argument: str, value: str | None) -> None:
    """Refuse a line break at the end of a key: every call would fail as if the network were bad."""
    if value and not (value.isascii() and value.isprintable() and " " not in value):
        raise OmicsArgumentError(f"{argument} has a character that no header takes, such as a line break at its end.")


def _config(argument: str, options: dict[str, Any]) -> Config:
    try:
        return Config(**options)
    except (AttributeError, BotoCoreError, TypeError, ValueError) as error:
        raise OmicsArgumentError(f"{argument} is not what botocore's Config takes: {cut(str(error))}.") from error


def _call_client(call: Callable[..., dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
    """Call AWS; what botocore fails on in other ways than with its own errors becomes one of those."""
    try:
        response = call(**parameters)
        response.pop("ResponseMetadata", None)
    except (BotoCoreError, AirflowException):
        raise  # some of them are ValueErrors too
    except OSError as error:  # what credentials are refreshed from: a file, an identity provider
        raise CredentialRetrievalError(provider=type(error).__name__, error_msg=str(error)) from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, RuntimeError) and "credentials" in str(error):  # refreshed, and expired still
            raise CredentialRetrievalError(provider="refresh", error_msg=str(error)) from error
        # The body is no JSON object of the expected form, or has a time in it that is out of range.
        raise ResponseParserError(f"the body cannot be read: {type(error).__name__}: {error}") from error
    return response
