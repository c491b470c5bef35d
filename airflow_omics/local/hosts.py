"""Whose requests are answered: those that name a host of local HealthOmics' own, from no other web page."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from werkzeug.wrappers import Request

from airflow_omics.local.wire import ServiceError

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s,:@/\[\]]+)(:\d+)?", re.IGNORECASE)


def is_loopback(name: str) -> bool:
    """Tell whether a host name or address can only mean this machine; ``bucket.localhost`` does (RFC 6761), too."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


class Hosts:
    """
    The hosts that requests may name: loopback's, and those allowed beside, each with all names under it.

    A page in a browser can send requests to loopback, and with a name of its own that resolves there (DNS rebinding)
    even read the answers. Such requests have the page's name in their Host or Origin header. Ports are not compared:
    no page can choose them, and a forwarded port differs.

    :param bind: The address to listen on.
    :param allowed: Further names and addresses, in the form of a Host header without the port.
    :raises ValueError: ``bind`` is not loopback, and nothing is allowed.
    """

    def __init__(self, bind: str, allowed: Sequence[str]) -> None:
        if isinstance(allowed, str):
            raise ValueError(f"allow_hosts is {allowed!r}, expected a list of names")
        self._allowed = [name.strip("[]").lower() for name in allowed]
        if not is_loopback(bind) and not self._allowed:
            raise ValueError(
                f"host is {bind!r}, expected a loopback address: this server lets anybody do everything. If others are "
                "meant to reach it, say also under which name they do: --allow-host NAME, in Python allow_hosts=[...]"
            )
        self.name = bind if is_loopback(bind) else self._allowed[0]
        """The name to give to clients; 0.0.0.0 would be none."""

    def check(self, request: Request) -> None:
        """
        Let a request pass, or not.

        :raises ServiceError: Its Host or its Origin is not one of these.
        """
        found = {"Host": request.headers.get("Host", "")}
        if "Origin" in request.headers:  # only browsers send it
            found["Origin"] = request.headers["Origin"].partition("://")[2]
        for header, value in found.items():
            match = _HOST.fullmatch(value)
            name = match["name"].strip("[]").lower() if match else ""
            if not (is_loopback(name) or any(name == own or name.endswith(f".{own}") for own in self._allowed)):
                raise ServiceError(
                    "HostNotAllowedException",
                    f"The {header} header is {request.headers.get(header)!r}, expected one of "
                    f"{', '.join(['127.0.0.1', '[::1]', 'localhost', *self._allowed])} or a name under these. If local "
                    "HealthOmics is meant to be reached so, start it with --allow-host NAME, in Python "
                    "allow_hosts=[...].",
                    403,
                )
