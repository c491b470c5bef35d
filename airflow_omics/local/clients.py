"""What clients have to be told to reach local HealthOmics: in Airflow, in boto3, and in the environment."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

ACCESS_KEY = "local-healthomics"
SECRET_KEY = "not-a-secret"  # noqa: S105
REGION = "us-east-1"


def make_client(endpoint_url: str, service: str, access_key: str, config: dict[str, Any]) -> Any:
    """Return a boto3 client; ``config`` goes to botocore's Config, and may name another region."""
    own: dict[str, Any] = {"inject_host_prefix": False, "proxies": {}}  # not None, which takes the environment's
    return boto3.Session(access_key, SECRET_KEY, region_name=REGION).client(  # type: ignore[call-overload]
        service, endpoint_url=endpoint_url, config=Config(**own | config)
    )


def airflow_connection(endpoint_url: str) -> dict[str, Any]:
    """Return an Airflow connection, as the dictionary whose JSON ``AIRFLOW_CONN_<ID>`` takes."""
    return {
        "conn_type": "aws",
        "login": ACCESS_KEY,
        "password": SECRET_KEY,
        "extra": {
            "region_name": REGION,
            "endpoint_url": endpoint_url,
            "config_kwargs": {"proxies": {}},
        },
    }


def environment(endpoint_url: str) -> dict[str, str]:
    """Return the environment variables that let the AWS CLI and plain boto3 reach this URL."""
    without_proxy = _without_proxy(urlsplit(endpoint_url).netloc.rpartition(":")[0])
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }


def _without_proxy(host: str) -> str:
    """Add a host to those that this process reaches without a proxy; of the two spellings the lower one counts."""
    present = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if present.strip() == "*" or host in present.split(","):  # "*" means all only when it stands alone
        return present
    return f"{present},{host}" if present else host
