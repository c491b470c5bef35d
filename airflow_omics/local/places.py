"""Where a request goes, and whose it is: the region and the account, read from its signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from moto.iam.models import get_account_id_from
from moto.utilities.utils import get_partition
from werkzeug.wrappers import Request

_SCOPE = re.compile(
    r"Credential=(?P<access_key>[^/]+)/[^/]+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request",
)


@dataclass(frozen=True)
class Scope:
    """The credential scope of a request: the access key id, the region and the service that it was signed for."""

    access_key: str
    region: str
    service: str


@dataclass(frozen=True)
class Place:
    """A region of an account. What is in one place is not found in another."""

    account: str
    region: str

    def arn(self, resource: str) -> str:
        """Return the ARN of a HealthOmics resource here, such as ``sequenceStore/1234567890``."""
        return f"arn:{get_partition(self.region)}:omics:{self.region}:{self.account}:{resource}"


def credential_scope(request: Request) -> Scope | None:
    """Return what a request says of its signature, which is not checked; None if it has none of version 4."""
    match = _SCOPE.search(request.headers.get("Authorization", ""))
    return Scope(**match.groupdict()) if match else None


def account_of(access_key: str, accounts: Mapping[str, str]) -> str:
    """
    Return the account (12 digits) that an access key belongs to.

    A key that neither ``accounts`` nor moto's STS has given to an account belongs to moto's default one, 123456789012.
    """
    account: str = accounts.get(access_key) or get_account_id_from(access_key)
    return account
