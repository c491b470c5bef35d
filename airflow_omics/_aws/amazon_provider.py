"""
The private parts of the Amazon provider's hook that this one uses: each has a name here, and nowhere else.

Seen on versions 9.8 to 9.39 of the provider. ``tests/_aws/test_amazon_provider.py`` fails where one of them is gone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_omics import OmicsClient


class AmazonHook(AwsGenericHook["OmicsClient"]):
    """The Amazon provider's hook, with names for what is done to its inside."""

    @property
    def _made_client(self) -> OmicsClient | None:
        """The client, if there is one: ``conn`` is a cached property, and asking for it would make one."""
        client: OmicsClient | None = self.__dict__.get("conn")
        return client

    @property
    def _read_config(self) -> Any:
        """What was read of the connection, if it was: ``conn_config`` is a cached property, too."""
        return self.__dict__.get("conn_config")

    def _forget(self) -> OmicsClient | None:
        """Forget the client and the connection, so that the next call reads it anew; return the client."""
        client = self._made_client
        for cached in ("conn", "conn_config", "_client"):  # AwsGenericHook's cached properties
            self.__dict__.pop(cached, None)
        return client

    def _configure(self, config: Config) -> None:
        """Have all clients made with this configuration, also that of STS, which takes it from the connection."""
        self.conn_config.botocore_config = config

    @property
    def _given_config(self) -> Config | None:
        """The configuration that the hook was made with."""
        config: Config | None = self._config
        return config

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
        """Name no executor, since none uses this hook; for the same reason."""
        return None
