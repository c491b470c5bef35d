"""One port for HealthOmics, S3 and the controls: finds out who is called, and lets faults and limits strike first."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.model import OperationModel
from werkzeug.wrappers import Request, Response

from airflow_omics._service.kinds import KINDS
from airflow_omics.local.faults import Fault, Faults
from airflow_omics.local.hosts import Hosts
from airflow_omics.local.places import Place, Scope, account_of, credential_scope
from airflow_omics.local.s3 import S3, SERVICES
from airflow_omics.local.service import Service
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import State
from airflow_omics.local.wire import (
    ServiceError,
    find_operation,
    read_parameters,
    write_error,
    write_response,
    write_xml_error,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CONTROL_PATH = "/_local/"
LONGEST_HANG = 3600.0


class Application:
    """The WSGI application."""

    def __init__(self, controls: Callable[[str, dict[str, Any]], Any], hosts: Hosts) -> None:
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.settings = Settings()
        self.s3 = S3()
        self._controls = controls
        self._hosts = hosts
        self._request_ids = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        """Forget everything but the settings; S3, which all instances of this process share, becomes empty."""
        self.s3.reset()
        self.state = State(self.s3)
        self._services: dict[Place, Service] = {}
        self.faults = Faults()
        self.calls: list[dict[str, Any]] = []
        self._recent: dict[tuple[Place, str], deque[float]] = defaultdict(deque)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        request = Request(environ)
        scope = credential_scope(request)
        is_control = scope is None and request.path.startswith(CONTROL_PATH)
        is_moto = not is_control and (scope is None or scope.service in SERVICES)
        try:
            self._hosts.check(request)
        except ServiceError as error:
            response = write_xml_error(error) if is_moto else write_error(error, "0")
            return response(environ, start_response)
        if is_moto:
            with self.lock:
                self.state.move_on()  # an export that is over by now has to be seen
            account = self.settings.accounts.get(scope.access_key) if scope else None
            return self.s3.answer(environ, start_response, account)
        if scope is None:
            response = self._answer_control(request)
        elif scope.service == "omics":
            response = self._answer_omics(request, scope)
        else:
            message = f"This port serves omics, {' and '.join(SERVICES)}, not {scope.service}"
            response = write_error(ServiceError("UnknownOperationException", message, 404), "0")
        return response(environ, start_response)

    def now(self) -> datetime:
        """Return the time by the service's own clock, in UTC."""
        return self.state.clock.now()

    def service(self, place: Place) -> Service:
        """Return the service in a place."""
        if place not in self._services:
            self._services[place] = Service(self.state, self.settings, place)
        return self._services[place]

    def _answer_control(self, request: Request) -> Response:
        name = request.path.removeprefix(CONTROL_PATH)
        try:
            arguments = json.loads(request.get_data() or b"{}")
            if request.method != "POST" or not isinstance(arguments, dict):
                raise ValueError("Controls are called with POST and a JSON object of keyword arguments")
            return _json_response(self._controls(name, arguments), 200)
        except (TypeError, ValueError, LookupError) as error:
            return _json_response({"message": str(error)}, 400)

    def _answer_omics(self, request: Request, scope: Scope) -> Response:
        request_id = f"local-{next(self._request_ids)}"
        call = {"time": time.time(), "operation": "unknown", "error": None, "parameters": {}}
        self.calls.append(call)
        try:
            path = urlsplit(request.environ["RAW_URI"]).path  # request.path is decoded
            operation, call["parameters"] = find_operation(request.method, path)
            call["operation"] = operation.name
            with self.lock:
                fault = self.faults.take(operation.name, scope.access_key, request.path)
            if fault is not None:
                call["error"] = fault.error or fault.action
            response = self._strike(fault, request) if fault is not None else None
            if response is None:
                response = self._perform(operation, request, scope, call, fault.response if fault else None)
        except ServiceError as error:
            call["error"] = error.code
            response = write_error(error, request_id)
        response.headers["x-amzn-RequestId"] = request_id
        return response

    def _strike(self, fault: Fault, request: Request) -> Response | None:
        """Do what a fault says; None if the call is answered for all that."""
        if fault.error is not None:
            raise ServiceError(fault.error, fault.message, fault.http_status or 400)
        if fault.action == "garbage":
            return Response(fault.body.encode("latin-1"), status=fault.http_status or 200, mimetype="text/html")
        if fault.action is not None:
            self.stopping.wait(LONGEST_HANG if fault.action == "hang" else 0)
            _reset_connection(request)
        self.stopping.wait(fault.delay or 0)
        return None

    def _perform(
        self,
        operation: OperationModel,
        request: Request,
        scope: Scope,
        call: dict[str, Any],
        patch: dict[str, Any] | None,
    ) -> Response:
        with self.lock:
            place = Place(account_of(scope.access_key, self.settings.accounts), scope.region)
            service = self.service(place)
            handler = service.operations.get(operation.name)
            if handler is None:
                served = ", ".join(service.operations)
                raise ServiceError(
                    "NotSupportedOperationException",
                    f"Local HealthOmics does not serve {operation.name}; it serves {served}",
                )
            if operation.name in service.limited_operations:
                self._limit_rate(operation.name, place)
            maxima = {
                f"{KINDS[kind].operation('Start')}RequestSourcesList": most
                for kind, most in self.settings.max_read_sets.items()
            }
            call["parameters"] = read_parameters(operation, request, call["parameters"], maxima)
            self.state.move_on()
            return write_response(operation, handler(call["parameters"]), patch)

    def _limit_rate(self, operation: str, place: Place) -> None:
        limit = self.settings.calls_per_second
        if limit is None:
            return
        now, recent = time.monotonic(), self._recent[place, operation]
        while recent and recent[0] <= now - 1:
            recent.popleft()
        if len(recent) >= limit:
            raise ServiceError("ThrottlingException", f"More than {limit} {operation} calls within a second")
        recent.append(now)


def _json_response(value: Any, status: int) -> Response:
    return Response(json.dumps(value, default=str), status=status, mimetype="application/json")


def _reset_connection(request: Request) -> None:
    """Close the connection so that the client sees a reset, not an end of file."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    raise ConnectionResetError("A fault asked for")  # werkzeug's server takes it as a connection that was dropped
