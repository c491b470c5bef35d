"""S3 on the same port: moto's, and how the jobs of local HealthOmics reach it."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import Client
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.test import TestResponse

SERVICES = ("s3", "sts")
"""The services of moto that the port serves; STS lets "test connection" and assumed roles work."""

_URI = re.compile(r"s3://(?P<bucket>[^/]+)/?(?P<key>.*)", re.DOTALL)
# moto finds the service in the credential scope; it does not check signatures. It finds buckets of all regions.
_SIGNED_FOR_S3 = {"Authorization": "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/s3/aws4_request, Signature=0"}
_ACCOUNT_HEADER = "HTTP_X_MOTO_ACCOUNT_ID"


class WrongRegionError(Exception):
    """A bucket is in another region than the one it is used from; the message names both."""


class S3:
    """
    moto's S3, as an application to serve and as what jobs read and write.

    Its content belongs to the process, not to the instance: moto keeps it so.
    """

    def __init__(self) -> None:
        self._application = DomainDispatcherApplication(create_backend_app)
        self._client = Client(self._application, Response)
        self._lock = threading.Lock()

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse, account: str | None) -> Iterable[bytes]:
        """
        Serve a request from outside.

        :param account: The account whose the request is; None if moto is to find that out.
        """
        if account is not None:
            environ[_ACCOUNT_HEADER] = account
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer

    def read(self, uri: str, region: str) -> bytes:
        """
        Return the bytes of an object in a bucket of this region.

        :raises FileNotFoundError: There is no such object or bucket.
        :raises WrongRegionError: The bucket is in another region.
        """
        response = self._request("GET", uri, region)
        if response.status_code != 200:
            raise FileNotFoundError(uri)
        return response.get_data()

    def write(self, uri: str, content: bytes, region: str) -> None:
        """
        Write an object into a bucket of this region.

        :raises FileNotFoundError: There is no such bucket.
        :raises WrongRegionError: The bucket is in another region.
        """
        if self._request("PUT", uri, region, content).status_code != 200:
            raise FileNotFoundError(uri)

    def reset(self) -> None:
        """Forget all buckets; moto offers this at a path of its own."""
        self._client.post("/moto-api/reset")

    def _request(self, method: str, uri: str, region: str, content: bytes = b"") -> TestResponse:
        match = _URI.fullmatch(uri)
        if match is None:
            raise FileNotFoundError(uri)
        bucket, path = match["bucket"], f"/{match['bucket']}/{quote(match['key'])}"
        with self._lock:
            found = self._client.head(f"/{bucket}", headers=_SIGNED_FOR_S3).headers.get("x-amz-bucket-region", region)
            if found != region:
                raise WrongRegionError(f"bucket {bucket} is in {found}, not in the store's region {region}")
            return self._client.open(path, method=method, data=content, headers=_SIGNED_FOR_S3)
