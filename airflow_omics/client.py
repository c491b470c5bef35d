"""How the hook comes by its client, and makes a call: settings, credentials, pace, and what exceptions may tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError
from botocore.parsers import ResponseParserError

from airflow_omics.arguments import check_connection
from airflow_omics.bounds import cut
from airflow_omics.compat import AirflowException
from airflow_omics.exceptions import OmicsArgumentError, are_credentials_expired
from airflow_omics.masking import mask
from airflow_omics.pace import keep_pace

if TYPE_CHECKING:
    from mypy_boto3_omics import OmicsClient


class OmicsClientHook(AwsGenericHook["OmicsClient"]):
    """The part of :class:`airflow_omics.hooks.OmicsHook` that knows no operation."""

    def __init__(
        self,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Config | dict[str, Any] | None = None,
    ) -> None:
        check_connection(aws_conn_id, region_name, verify, None if isinstance(config, Config) else config)
        if isinstance(config, dict):
            try:
                config = Config(**config)
            except (AttributeError, BotoCoreError, TypeError, ValueError) as error:
                raise OmicsArgumentError(
                    f"botocore_config is not what botocore's Config takes: {cut(str(error))}."
                ) from error
        super().__init__(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, config=config, client_type="omics"
        )
        self._token = ""

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

    def disconnect(self) -> None:
        """Close the client; the next call reads the connection, and takes up its credentials, anew."""
        client = self.__dict__.pop("conn", None)
        for cached in ("conn_config", "_client"):
            self.__dict__.pop(cached, None)
        if client is not None:
            client.close()

    def get_client_type(
        self, region_name: str | None = None, config: Config | None = None, deferrable: bool = False
    ) -> OmicsClient:
        """Create the client, with this provider's defaults under whatever the user configured."""
        try:
            with self._masking():
                client: OmicsClient = super().get_client_type(region_name, self._merged(config), deferrable)
        except (AirflowException, BotoCoreError):
            raise
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise OmicsArgumentError(
                f"Airflow connection {self.aws_conn_id!r} makes no client: {cut(str(error))}. "
                "An endpoint_url begins with http:// or https://; botocore_config, and the connection's config_kwargs, "
                "hold what botocore's Config takes."
            ) from error
        keep_pace(client)
        client.meta.events.register("before-send.omics", self._keep_token)
        return client

    def _merged(self, config: Config | None) -> Config:
        defaults: dict[str, Any] = {}
        if not self._are_retries_configured():
            defaults["retries"] = {"mode": "standard"}
        if self.conn_config.get_service_endpoint_url(service_name="omics"):
            defaults["inject_host_prefix"] = False
        # The Amazon provider takes no notice of the connection's config_kwargs when it is given a config.
        own = self.conn_config.extra_config.get("config_kwargs") or {}
        defaults |= {name: own[name] for name in ("retries", "inject_host_prefix") if name in own}
        return Config(**defaults).merge(config or self.config)  # of two, the argument wins

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
        try:
            with self._masking():
                return _answer(getattr(self.conn, xform_name(operation)), parameters)
        except (ClientError, CredentialRetrievalError) as error:
            if are_credentials_expired(error):
                self.disconnect()
            raise

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

    def _keep_token(self, request: AWSPreparedRequest, **_: Any) -> None:
        """Keep the session token that a request is sent with; it may be of an assumed role."""
        token = request.headers.get("X-Amz-Security-Token") or ""
        self._token = token.decode() if isinstance(token, bytes) else token


def _answer(call: Callable[..., dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
    """Call AWS; what botocore fails on in other ways than with its own errors becomes one of those."""
    try:
        response = call(**parameters)
        response.pop("ResponseMetadata", None)
    except (BotoCoreError, AirflowException):
        raise  # some of them are ValueErrors too
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, RuntimeError) and "credentials" in str(error):  # refreshed, and expired still
            raise CredentialRetrievalError(provider="refresh", error_msg=str(error)) from error
        # The body is no JSON object of the expected form, or has a time in it that is out of range.
        raise ResponseParserError(f"the body cannot be read: {type(error).__name__}: {error}") from error
    return response
