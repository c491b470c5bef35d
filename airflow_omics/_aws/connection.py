"""What the hook takes from its Airflow connection: settings, checked once, and what messages may tell of it."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from airflow_omics._airflow import AirflowNotFoundException, connection_trouble
from airflow_omics._aws.amazon_provider import AmazonHook
from airflow_omics._aws.masking import MASK, mask, masked
from airflow_omics._aws.settings import check_config, check_connection, check_verify
from airflow_omics._service.limits import cut
from airflow_omics.exceptions import OmicsArgumentError, OmicsRefusedError, OmicsTransientError

MALFORMED = (
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


class OmicsConnectionHook(AmazonHook):
    """The part of :class:`airflow_omics.hooks.OmicsHook` that knows its connection, and makes no call."""

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
        self._where = ""

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
        if type(trouble).__name__ == "AirflowSecretsBackendAccessDenied":  # Airflow 3.2 and newer
            raise OmicsRefusedError(f"{name} must not be read by this task: {cut(str(trouble))}") from trouble
        if isinstance(trouble, MALFORMED):
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

    def _check_connection(self) -> None:
        """Refuse what botocore would take, and fail on at every call as if the network were bad."""
        name = f"of Airflow connection {self.aws_conn_id!r}"
        check_verify("verify" if self._verify is not None else f"verify {name}", self.verify)
        _check_sendable(f"login {name}", self.conn_config.aws_access_key_id)
        _check_sendable(f"aws_session_token {name}", self.conn_config.aws_session_token)
        has_half = any((self.conn_config.login, self.conn_config.password, self.conn_config.aws_session_token))
        if has_half and not (self.conn_config.aws_access_key_id and self.conn_config.aws_secret_access_key):
            raise OmicsArgumentError(f"Half a key {name}: a login needs a password, and a session token needs both.")

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
        return Config(**defaults).merge(_config(name, own)).merge(config or self._given_config or Config())

    def _are_retries_configured(self) -> bool:
        """Tell whether the environment or the AWS profile set retries; a Config given to botocore would hide that."""
        if {"AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"} & os.environ.keys():
            return True
        if not Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser().is_file():
            return False
        # Not self.get_session(): with a role to assume that would call AWS.
        profile = botocore.session.Session(profile=self.conn_config.profile_name).get_scoped_config()
        return bool({"retry_mode", "max_attempts"} & profile.keys())

    @contextmanager
    def _masking(self) -> Iterator[None]:
        """Let no exception tell the connection's secrets, or the session token of the last request."""
        try:
            yield
        except Exception as error:
            mask(error, self._secrets())
            raise

    def _secrets(self) -> tuple[Any, ...]:
        config = self._read_config  # reading it may be what failed
        names = ("aws_secret_access_key", "aws_session_token")
        return (self._token, *(getattr(config, name, None) for name in names))

    def _remember_where(self, region_name: str | None) -> None:
        endpoint = self.conn_config.get_service_endpoint_url(service_name="omics")
        place = f"region {region_name or 'of boto3 itself'}"
        if endpoint:  # without a password, in whatever form
            place = f"endpoint {masked(re.sub('//.*@', f'//{MASK}@', cut(str(endpoint), 200)))}"
        defined = "" if self.conn_config or not self.aws_conn_id else " (not defined)"
        self._where = f"connection {self.aws_conn_id!r}{defined}, {place}"


def _check_sendable(argument: str, value: object) -> None:
    """Refuse a line break at the end of a key: every call would fail as if the network were bad."""
    if value and not (isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value):
        raise OmicsArgumentError(f"{argument} has a character that no header takes, such as a line break at its end.")


def _config(argument: str, options: dict[str, Any]) -> Config:
    held = copy.deepcopy(options)
    for where, name in ((held, "client_cert"), (held.get("proxies_config") or {}, "proxy_client_cert")):
        if isinstance(where.get(name), list):  # JSON makes a list of a tuple, and botocore takes no notice of one
            where[name] = tuple(where[name])
    try:
        return Config(**held)
    except (AttributeError, BotoCoreError, TypeError, ValueError) as error:
        raise OmicsArgumentError(f"{argument} is not what botocore's Config takes: {cut(str(error))}.") from error
