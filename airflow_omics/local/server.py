"""Local HealthOmics as a server in this process, and its handle."""

from __future__ import annotations

import inspect
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

try:
    from moto.moto_server.werkzeug_app import MotoRequestHandler
except ImportError:  # can go when moto 5.2.5 is the oldest; those before lose S3 metadata with an underscore
    MotoRequestHandler = WSGIRequestHandler  # type: ignore[assignment,misc]

from airflow_omics._service.kinds import READ_SET
from airflow_omics.local.app import Application
from airflow_omics.local.clients import ACCESS_KEY, airflow_connection, environment, make_client
from airflow_omics.local.faults import Fault
from airflow_omics.local.hosts import Hosts
from airflow_omics.local.sequence_stores import add_read_sets, check_status, find_read_sets

CONTROLS = (
    "add_fault",
    "add_read_sets",
    "advance",
    "archive_read_sets",
    "call_counts",
    "calls",
    "cancel_job",
    "clear_faults",
    "configure",
    "fail_read_sets",
    "reset",
    "set_read_set_status",
)
"""The methods of the handle that are also served over HTTP, as ``POST /_local/<method>`` with JSON arguments."""


class LocalHealthOmics:
    """
    HealthOmics storage and S3 on a loopback port; a context manager that starts and stops it.

    ::

        with LocalHealthOmics(job_seconds=2) as local:
            local.client("omics").create_sequence_store(name="mine")

    :param host: The address to listen on: a loopback address, or any other if ``allow_hosts`` says so as well.
    :param port: 0 for a free one.
    :param allow_hosts: Names and addresses, beside loopback's, that requests may give as their host; the first is the
        one for clients if ``host`` is not loopback. Whoever reaches the server may do everything.
    :param settings: See :class:`airflow_omics.local.settings.Settings`.
    :raises ValueError: ``host`` is not loopback and ``allow_hosts`` is empty, or a setting is unknown.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, allow_hosts: Sequence[str] = (), **settings: Any
    ) -> None:
        self._host = host
        self._port = port
        self._hosts = Hosts(host, allow_hosts)
        self._app = Application(self._control, self._hosts)
        self._app.settings.update(**settings)
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """
        Listen, and serve from threads of their own.

        :raises OSError: The port is in use.
        """
        self._app.stopping.clear()
        try:
            self._server = make_server(self._host, self._port, self._app, threaded=True, request_handler=_Handler)
        except SystemExit:  # what werkzeug makes of it
            raise OSError(f"Port {self._port} of {self._host} is in use") from None
        self._port = self._server.port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="local-healthomics", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving; requests that hang are reset."""
        self._app.stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        """What boto3 takes as ``endpoint_url``."""
        name = self._hosts.name
        return f"http://{f'[{name}]' if ':' in name else name}:{self._port}"

    @property
    def connection(self) -> dict[str, Any]:
        """
        An Airflow connection to this server, as the dictionary whose JSON ``AIRFLOW_CONN_<ID>`` takes.

        Its clients take no notice of proxies in the environment.
        """
        return airflow_connection(self.endpoint_url)

    @property
    def environment(self) -> dict[str, str]:
        """
        The environment variables with which the AWS CLI and plain boto3 reach this server.

        NO_PROXY is what it is in this process, and this server's host.
        """
        return environment(self.endpoint_url)

    def client(self, service: str = "omics", *, access_key: Any = ACCESS_KEY, **config: Any) -> Any:
        """
        Return a boto3 client of this server, which takes no notice of proxies in the environment.

        :param access_key: An access key id; which account it belongs to, the setting ``accounts`` says.
        :param config: Goes to botocore's Config; its ``region_name`` is the client's region (``us-east-1``).
        """
        return make_client(self.endpoint_url, service, access_key, config)

    def configure(self, **settings: Any) -> None:
        """Change settings; see :class:`airflow_omics.local.settings.Settings`."""
        with self._app.lock:
            self._app.settings.update(**settings)

    def add_fault(self, **fault: Any) -> None:
        """Put a fault in force; see :class:`airflow_omics.local.faults.Fault`."""
        with self._app.lock:
            self._app.faults.add(Fault(**fault))

    def clear_faults(self) -> None:
        """Take all faults away, also those of :meth:`fail_read_sets`."""
        with self._app.lock:
            self._app.state.move_on()
            self._app.faults.clear()
            self._app.state.failing.clear()

    def fail_read_sets(self, names: Iterable[str], message: str | None = "The read set failed.") -> None:
        """
        Make the jobs that process these read sets fail on them.

        ``names`` are ids; for imports, of references as well, S3 URIs of source files.

        :param message: The items' message; None lets them succeed again.
        """
        with self._app.lock:
            self._app.state.move_on()
            for name in _listed("names", names):
                self._app.state.failing.pop(name, None)
                if message is not None:
                    self._app.state.failing[name] = message

    def cancel_job(self, job_id: str) -> None:
        """
        Cancel a job of any kind, as only AWS itself can.

        :raises LookupError: There is no such job.
        :raises ValueError: It is over.
        """
        with self._app.lock:
            self._app.state.move_on()
            job = self._app.state.find_job(job_id)
            if job is None:
                raise LookupError(f"There is no job {job_id}")
            if job.is_over:
                raise ValueError(f"Job {job_id} is over: {job.status}")
            self._app.service(job.store.place).cancel(job)

    def add_read_sets(self, sequence_store_id: str, count: int = 1, status: str = "ACTIVE") -> list[str]:
        """
        Put small FASTQ read sets into a sequence store without an import, and return their ids.

        :param status: One of a read set's statuses.
        :raises LookupError: There is no such store.
        :raises ValueError: There is no such status.
        """
        with self._app.lock:
            return add_read_sets(self._app.state, sequence_store_id, count, status)

    def archive_read_sets(self, ids: Iterable[str] | None = None) -> list[str]:
        """
        Archive these read sets now, or all that are ACTIVE, and return the ids; AWS does it after 30 days.

        :raises LookupError: There is no such read set.
        """
        with self._app.lock:
            self._app.state.move_on()
            if ids is None:
                ids = [each.id for each in self._app.state.all_of(READ_SET) if each.status == "ACTIVE"]
            chosen = _listed("ids", ids)
            for read_set in find_read_sets(self._app.state, chosen):
                read_set.status = "ARCHIVED"
            return chosen

    def set_read_set_status(self, ids: Iterable[str], status: str, message: str | None = None) -> None:
        """
        Give read sets one of a read set's statuses, until a job gives them another.

        :param message: Their ``statusMessage``.
        :raises LookupError: There is no such read set.
        :raises ValueError: There is no such status.
        """
        check_status(status)
        with self._app.lock:
            self._app.state.move_on()
            for read_set in find_read_sets(self._app.state, _listed("ids", ids)):
                read_set.status, read_set.status_message = status, message

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward, so that jobs get on without anybody waiting; before any job also back."""
        with self._app.lock:
            self._app.state.clock.advance(seconds)
            self._app.state.move_on()

    def calls(self) -> list[dict[str, Any]]:
        """Return the HealthOmics calls so far: time (seconds since 1970), operation, error or None, parameters."""
        return list(self._app.calls)

    def call_counts(self) -> Mapping[str, int]:
        """Return how often each operation was called so far."""
        return dict(Counter(call["operation"] for call in self.calls()))

    def reset(self) -> None:
        """Forget everything but the settings; S3, which all instances of this process share, becomes empty."""
        with self._app.lock:
            self._app.reset()

    def _control(self, name: str, arguments: dict[str, Any]) -> Any:
        if name not in CONTROLS:
            raise LookupError(f"There is no control {name!r}; there are {', '.join(CONTROLS)}")
        method = getattr(self, name)
        try:
            inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise ValueError(f"{name}: {error}; it takes {inspect.signature(method)}") from None
        return method(**arguments)


class _Handler(MotoRequestHandler):
    """moto's handler, without a line printed for each request."""

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """End the connection that a fault has closed, instead of waiting for its next request."""
        self.close_connection = True

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return what the Date header of every answer says: the time by the service's own clock."""
        application: Application = self.server.app  # type: ignore[assignment]
        return super().date_time_string(application.now().timestamp() if timestamp is None else timestamp)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


def _listed(argument: str, names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"{argument} is text, expected a list of texts")
    return list(names)
