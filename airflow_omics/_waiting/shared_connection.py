"""One client and one thread for all waits of one connection on an event loop, whatever they wait for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from airflow_omics._waiting.daemon_thread import DaemonThread

if TYPE_CHECKING:
    from airflow_omics.hooks import OmicsHook


@dataclass(frozen=True)
class Connection:
    """By what AWS is asked; what equal ones share."""

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: str = field(repr=False)  # the log shows connections, and proxies may have passwords
    """JSON."""


class SharedConnection:
    """
    What asks AWS for all polls that have the same connection.

    AWS's quotas are an account's, and a client takes megabytes: thousands of waits share one.
    """

    _shared: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Connection, SharedConnection]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.users = 0
        self._hook: OmicsHook | None = None
        self.thread = DaemonThread("airflow-omics-poll")

    @classmethod
    def of(cls, connection: Connection) -> SharedConnection:
        """Return what asks by a connection on the running loop, until :meth:`release`."""
        shared = cls._shared.setdefault(asyncio.get_running_loop(), {})
        found = shared.get(connection) or shared.setdefault(connection, cls(connection))
        found.users += 1
        return found

    def release(self) -> None:
        """Use it no more; when nobody does, the client is closed, and the thread ends."""
        self.users -= 1
        if self.users:
            return
        shared = self._shared[asyncio.get_running_loop()]
        if shared.get(self._connection) is self:
            del shared[self._connection]
        self.thread.submit(self._disconnect)
        self.thread.shutdown(wait=False)

    @property
    def hook(self) -> OmicsHook:
        """The hook; for the thread alone."""
        # Imported here, since importing boto3 takes long, and triggers import this module on the event loop.
        from airflow_omics.hooks import OmicsHook  # noqa: PLC0415

        if self._hook is None:
            by = self._connection
            config: dict[str, Any] = json.loads(by.botocore_config)
            self._hook = OmicsHook(by.aws_conn_id, by.region_name, by.verify, config)
        return self._hook

    def _disconnect(self) -> None:
        if self._hook is not None:
            self._hook.disconnect()
