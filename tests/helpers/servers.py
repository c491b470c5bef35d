"""What stands between Airflow and AWS, for tests: STS, a machine's role, a proxy; each may fail a number of times."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from secret_search import SECRET

_NEVER = "2999-01-01T00:00:00Z"
_STS = (
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>AKIAASSUMED</AccessKeyId>"
    f"<SecretAccessKey>{SECRET}-assumed</SecretAccessKey><SessionToken>{SECRET}-assumed-token</SessionToken>"
    f"<Expiration>{_NEVER}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
)


class Flaky(BaseHTTPRequestHandler):
    """Answers ``bad`` as often as ``times`` says; then what it should."""

    bad: ClassVar[tuple[int, str]]
    times: ClassVar[int]
    asked: ClassVar[int]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).asked += 1
        status, text = self.bad if self.asked <= self.times else self.good(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_PUT = do_GET

    def good(self, body: bytes) -> tuple[int, str]:
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        pass


class Sts(Flaky):
    """Gives credentials for any role."""

    def good(self, body: bytes) -> tuple[int, str]:
        (action,) = parse_qs(body.decode())["Action"]
        return 200, _STS.replace("AssumeRole", action)


class AwaySts(Sts):
    """
    Away for a minute from the first time it is asked: at first it is broken, then it has too much to do.

    Its credentials expire so soon that botocore renews them for every call.
    """

    away_seconds: ClassVar[float] = 60
    away_since: ClassVar[float | None] = None
    """When that minute began (``time.monotonic()``); set to None, it begins anew when STS is asked next."""
    refused: ClassVar[int] = 0

    def good(self, body: bytes) -> tuple[int, str]:
        sts, now = type(self), time.monotonic()
        if sts.away_since is None:
            sts.away_since = now
        if now < sts.away_since + self.away_seconds:
            sts.refused += 1
            is_broken = now < sts.away_since + self.away_seconds / 2
            return sts_error(500, "InternalFailure") if is_broken else sts_error(400, "Throttling", "Rate exceeded")
        soon = datetime.now(UTC) + timedelta(minutes=5)
        return 200, _STS.replace(_NEVER, f"{soon:%Y-%m-%dT%H:%M:%SZ}")


class Machine(Flaky):
    """A machine's metadata service, with credentials of its role."""

    def good(self, body: bytes) -> tuple[int, str]:
        if "api/token" in self.path:
            return 200, "token"
        if self.path.endswith("security-credentials/"):
            return 200, "role"
        return 200, json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": "AKIAMACHINE",
                "SecretAccessKey": f"{SECRET}-machine",
                "Token": f"{SECRET}-machine-token",
                "LastUpdated": "2026-01-01T00:00:00Z",
                "Expiration": _NEVER,
            }
        )


class Proxy(Flaky):
    """Passes requests for any host on to ``target``."""

    target: ClassVar[str]

    def good(self, body: bytes) -> tuple[int, str]:
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")
        }
        url = f"{self.target}{urlsplit(self.path).path}?{urlsplit(self.path).query}"
        request = Request(url, body or None, headers, method=self.command)
        try:
            response = build_opener(ProxyHandler({})).open(request)
        except HTTPError as error:
            response = error  # an answer too
        with response:
            return response.status, response.read().decode()


@contextmanager
def serve(
    kind: type[Flaky], bad: tuple[int, str] = (500, ""), times: int = 0, **more: Any
) -> Iterator[tuple[str, Any]]:
    """Yield a server's URL, and its class, whose ``asked`` counts."""
    handler = type(kind.__name__, (kind,), {"bad": bad, "times": times, "asked": 0, **more})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def sts_error(status: int, code: str, message: str = "Oops") -> tuple[int, str]:
    """Return an error in STS's form."""
    return status, f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
