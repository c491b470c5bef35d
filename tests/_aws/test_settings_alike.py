"""The same settings hold in a worker and in the triggerer, whatever of the connection they come from."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from conftest import ROLE, World, connection, first_event
from servers import Sts, serve
from waiting import EXPORT, give_up, run, the_poll, trigger, until

from airflow_omics._aws.client import OmicsClientHook
from airflow_omics.hooks import OmicsHook

CA = pytest.importorskip("certifi").where()
CONFIG_KWARGS: dict[str, Any] = {
    "client_cert": ["/cert.pem", "/key.pem"],
    "connect_timeout": 7,
    "inject_host_prefix": False,
    "max_pool_connections": 3,
    "parameter_validation": False,
    "proxies": {"https": "http://127.0.0.1:1"},
    "proxies_config": {"proxy_use_forwarding_for_https": True},
    "read_timeout": 8,
    "retries": {"mode": "adaptive", "total_max_attempts": 2},
    "tcp_keepalive": True,
    "use_dualstack_endpoint": False,
    "use_fips_endpoint": False,
    "user_agent_extra": "mine",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    **{f"config_kwargs {name}": {"extra": {"config_kwargs": {name: value}}} for name, value in CONFIG_KWARGS.items()},
    "login": {"login": "AKIAOTHER"},
    "region_name": {"extra": {"region_name": "eu-west-1"}},
    "verify": {"extra": {"verify": False}},
    "verify, a path": {"extra": {"verify": CA}},
    "service_config": {"extra": {"service_config": {"omics": {"endpoint_url": "http://localhost:PORT"}}}},
    "session token": {"extra": {"aws_session_token": "other"}},
    "keys in extra": {
        "login": None,
        "password": None,
        "extra": {"aws_access_key_id": "A", "aws_secret_access_key": "B"},
    },
    "role_arn": {"extra": {"role_arn": ROLE, "assume_role_kwargs": {"DurationSeconds": 900}, "sts": True}},
}
"""What the Amazon provider's connection knows; profiles and web identities are files beside it."""


def settings(hook: OmicsClientHook) -> dict[str, Any]:
    """Return what a client was made with, as far as it can be seen, and what signs its requests."""
    client: Any = hook.conn
    config = dict(vars(client.meta.config))
    config["user_agent_extra"] = config["user_agent_extra"].rpartition(" ")[2]  # the rest says who calls
    http = client._endpoint.http_session
    keys = client._request_signer._credentials.get_frozen_credentials()
    return {
        "config": {
            name: value for name, value in config.items() if name not in ("user_agent", "_user_provided_options")
        },
        "endpoint": client.meta.endpoint_url,
        "region": client.meta.region_name,
        "http": (http._verify, http._proxy_config._proxies, http._timeout.connect_timeout, http._max_pool_connections),
        "certificate": (http._cert_file, http._key_file),
        "keys": tuple(keys),
        "where": hook.where,
    }


@pytest.mark.thorough
@pytest.mark.parametrize("named", SETTINGS)
def test_a_connection_means_the_same_everywhere(world: World, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("AIRFLOW__OMICS__NOT_FOUND_SECONDS", "3")  # in another region the store is not found
    with serve(Sts) as (sts, _):
        text = json.dumps(SETTINGS[named]).replace("PORT", world.local.endpoint_url.rpartition(":")[2])
        changes = json.loads(text)
        if changes.get("extra", {}).pop("sts", False):
            changes["extra"]["service_config"] = {"sts": {"endpoint_url": sts}}
        good = connection(world.local)
        extra = good["extra"] | changes.pop("extra", {})
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**good, **changes, "extra": extra}))
        job_id = world.start(EXPORT)
        seen: list[dict[str, Any]] = []

        async def in_the_triggerer() -> None:
            waiting = asyncio.create_task(first_event(trigger(world, job_id)))
            poll = await the_poll()
            await until(lambda: poll._poll is not None and "conn" in vars(poll._poll.hook))
            seen.append(settings(poll._poll.hook))  # type: ignore[union-attr]
            await give_up(waiting)

        run(in_the_triggerer())
        assert settings(world.sensor(EXPORT, job_id).hook) == seen[0]
    for name, value in json.loads(text).get("extra", {}).get("config_kwargs", {}).items():
        if name == "client_cert":
            assert seen[0]["certificate"] == tuple(value)
        elif value and name != "retries":  # what is False, or rewritten, does not show in a client
            assert seen[0]["config"][name] == value


def test_a_pair_of_certificates_reaches_the_triggerer(world: World) -> None:
    """It is a tuple in a DAG, and a list after JSON."""
    hook = world.sensor(EXPORT, "1234567890", botocore_config={"client_cert": ("/cert.pem", "/key.pem")}).hook
    again = OmicsHook(config={"client_cert": ["/cert.pem", "/key.pem"]})
    assert settings(hook)["certificate"] == settings(again)["certificate"] == ("/cert.pem", "/key.pem")
