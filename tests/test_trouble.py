"""One table: what goes wrong around a wait, and how the wait ends, in every way to wait."""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flaky_secrets
import pytest
from conftest import FAULTS_THAT_PASS, JOB_SECONDS, ONE_TRY, ROLE, World, connection
from secret_search import SECRET
from servers import Machine, Proxy, Sts, serve, sts_error
from versions import IS_AIRFLOW_2
from ways import EXPORT, WAYS, calls, end_of, task_of, until, wait

from airflow_omics._airflow import AirflowException, AirflowFailException, AirflowSensorTimeout
from airflow_omics.exceptions import OmicsArgumentError, OmicsRefusedError, OmicsRequestError


def first_of(cases: Sequence[Any]) -> list[Any]:
    """Leave all cases but the first out where only what hangs on versions is tested."""
    return [cases[0], *(pytest.param(case, marks=pytest.mark.thorough) for case in cases[1:])]


OLD, NEW = "AKIAOLDOLDOLDOLDOLD1", "AKIANEWNEWNEWNEWNEW1"
Midway = Callable[[], None]
Setting = Callable[[dict[str, Any]], None]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def connect(world: World, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Set the connection aws_default: what is given, over a good one."""

    def set_connection(changes: dict[str, Any]) -> None:
        good = connection(world.local)
        good["extra"] |= {"config_kwargs": {**ONE_TRY, **good["extra"].get("config_kwargs", {})}}
        extra = good["extra"] | changes.pop("extra", {})
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**good, **changes, "extra": extra}))

    set_connection({})
    return set_connection


def ends_well(
    world: World, way: str, trouble: Midway = lambda: None, *, looks: int = 3, many: bool = False, **arguments: Any
) -> None:
    """Wait, with trouble midway; after that and more looks at AWS the job ends, and so the wait."""
    job_ids = [] if "operator" in way else [world.start(EXPORT) for _ in range(5 if many else 1)]

    def midway() -> None:
        trouble()
        seen = calls(world)
        until(lambda: calls(world) >= seen + looks)
        world.local.advance(JOB_SECONDS)

    end = wait(world, way, job_ids if many else "".join(job_ids), midway, **arguments)
    assert end.kind == "success", end.error
    told = end.result if isinstance(end.result, list) else [end.result]
    assert [job["status"] for job in told] == ["COMPLETED"] * max(len(job_ids), 1)
    assert sum(call["operation"].startswith("Start") and not call["error"] for call in world.local.calls()) == len(told)


# --- what passes


@pytest.mark.parametrize(
    "code",
    first_of(
        ["UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "AccessDeniedException"]
    ),
)
def test_a_key_is_rotated(world: World, way: str, connect: Setting, code: str) -> None:
    """The connection gets a new key; then the old one is made inactive, or loses what it was allowed."""
    connect({"login": OLD})

    def rotate() -> None:
        connect({"login": NEW})
        world.local.add_fault(error=code, http_status=403, message="The security token is invalid.", access_key=OLD)

    ends_well(world, way, rotate)


PASSING = [
    {"error": "InvalidSignatureException", "message": "Signature expired: 20261125T000000Z is now earlier than ..."},
    {"error": "InvalidSignatureException", "message": "Signature not yet current: 20261125T000000Z is still later ..."},
    {"error": "ExpiredTokenException", "message": "The security token included in the request is expired"},
    {"error": "RequestTimeTooSkewed", "message": "The difference is too large."},
]


@pytest.mark.parametrize("fault", first_of(PASSING), ids=lambda fault: f"{fault['error']} {fault['message'][:21]}")
def test_a_clock_is_off_or_a_token_expired(world: World, way: str, connect: Setting, fault: dict[str, Any]) -> None:
    ends_well(world, way, lambda: world.local.add_fault(http_status=403, times=3, **fault), looks=4)


@pytest.mark.parametrize(
    "bad",
    first_of(
        [
            sts_error(500, "InternalFailure"),
            sts_error(400, "Throttling"),
            sts_error(403, "ExpiredToken"),
            sts_error(400, "IDPCommunicationError"),
            sts_error(400, "InvalidIdentityToken", "Couldn't retrieve verification key from your identity provider"),
            (200, "<AssumeRoleResponse/>"),
            (502, "<html>Bad gateway</html>"),
            (200, "{"),
        ]
    ),
    ids=lambda bad: f"{bad[0]} {bad[1][:60]}",
)
def test_sts_is_away_while_the_client_is_made(world: World, way: str, connect: Setting, bad: tuple[int, str]) -> None:
    with serve(Sts, bad, times=4) as (url, sts):
        connect({"extra": {"role_arn": ROLE, "service_config": {"sts": {"endpoint_url": url}}}})
        ends_well(world, way, looks=1)
        assert sts.asked > sts.times


def test_a_machines_role_is_not_there_yet(
    world: World, way: str, connect: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Machine, times=6) as (url, machine):
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        connect({"login": None, "password": None, "extra": {"aws_session_token": None}})
        ends_well(world, way, looks=1)
        assert machine.asked > machine.times


def test_a_secrets_backend_is_away(world: World, way: str, connect: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow says then that the connection is not defined."""
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "flaky_secrets.FlakySecrets")
    monkeypatch.setitem(flaky_secrets.connections, "aws_default", os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    monkeypatch.setattr(flaky_secrets, "away", 5)
    ends_well(world, way, looks=1)
    assert flaky_secrets.away == 0


def test_a_machines_token_is_not_there_yet(
    world: World, way: str, connect: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file of a web identity, which Kubernetes mounts and renews."""
    with serve(Sts) as (url, _):
        token = tmp_path / "token"
        connect(
            {
                "extra": {
                    "role_arn": ROLE,
                    "assume_role_method": "assume_role_with_web_identity",
                    "assume_role_with_web_identity_federation": "file",
                    "assume_role_with_web_identity_token_file": str(token),
                }
            }
        )
        # The Amazon provider asks for it with a client of its own, which in older versions knows no service_config.
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        (mounted := tmp_path / "mounted").write_text("token")
        mounting = threading.Timer(0.5, mounted.rename, [token])  # at once, as Kubernetes does it
        mounting.start()
        ends_well(world, way, looks=1)
        mounting.join()


def test_lists_are_out_of_order(world: World, way: str, connect: Setting) -> None:
    world.local.add_fault(operation=EXPORT.operation("List"), error="InternalServerException")
    ends_well(world, way, many=True)


@pytest.mark.parametrize("fault", first_of(FAULTS_THAT_PASS), ids=str)
def test_an_error_passes_by_itself(world: World, way: str, connect: Setting, fault: dict[str, Any]) -> None:
    ends_well(world, way, lambda: world.local.add_fault(times=3, **fault), looks=4)


def test_aws_is_behind_the_connections_proxy(world: World, way: str, connect: Setting) -> None:
    """The host can be reached through it only; botocore_config says something else, and takes nothing away."""
    with serve(Proxy, target=world.local.endpoint_url) as (url, proxy):
        connect({"extra": {"endpoint_url": "http://healthomics.invalid", "config_kwargs": {"proxies": {"http": url}}}})
        ends_well(world, way, botocore_config={"read_timeout": 9})
        assert proxy.asked


@pytest.mark.thorough
def test_a_key_is_rotated_during_an_outage(world: World, way: str, connect: Setting) -> None:
    """What the old one was allowed is gone when AWS answers again."""
    connect({"login": OLD})

    def rotate() -> None:
        world.local.add_fault(error="ServiceUnavailable", http_status=503)
        seen = calls(world)
        until(lambda: calls(world) > seen + 1)
        connect({"login": NEW})
        world.local.add_fault(error="AccessDeniedException", access_key=OLD)
        seen = calls(world)
        until(lambda: calls(world) > seen + 4)
        world.local.clear_faults()
        world.local.add_fault(error="AccessDeniedException", access_key=OLD)

    ends_well(world, way, rotate)


@pytest.mark.thorough
@pytest.mark.parametrize("wrong", ["endpoint_url", "STS"])
def test_a_connection_is_mended(world: World, way: str, connect: Setting, wrong: str) -> None:
    """Something answers 503 where the connection points at; then somebody corrects it."""
    with serve(Sts, (503, "<html>Maintenance</html>"), times=10**6) as (url, nowhere):
        if wrong == "STS":
            connect({"extra": {"role_arn": ROLE, "service_config": {"sts": {"endpoint_url": url}}}})
        else:
            connect({"extra": {"endpoint_url": url}})

        def mend() -> None:
            until(lambda: nowhere.asked > 2)
            connect({})

        mending = threading.Thread(target=mend)
        mending.start()
        ends_well(world, way, looks=1)
        mending.join()


# --- what does not pass


def fails(world: World, way: str, **arguments: Any) -> Exception:
    """Wait for a job, or start one; return what the task fails with, be it when the DAG is parsed."""
    try:
        task = task_of(world, way, "1234567890", **arguments)
    except AirflowException as error:
        return error
    end = end_of(task)
    assert end.error is not None, end.result
    return end.error


@pytest.mark.parametrize("code", first_of(["UnrecognizedClientException", "InvalidClientTokenId"]))
def test_a_key_is_unknown_for_good(world: World, way: str, connect: Setting, code: str) -> None:
    world.local.add_fault(error=code, http_status=403, message="The security token is invalid.")
    error = fails(world, way)
    assert type(error).__name__ == "OmicsCredentialsError"
    assert isinstance(error, AirflowFailException)
    assert code in str(error)[:40]
    assert calls(world) == 2  # asked once, and once more


@pytest.mark.thorough
def test_airflow_does_not_let_the_task_read_the_connection(
    world: World, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "flaky_secrets.FlakySecrets")
    monkeypatch.setattr(flaky_secrets, "away", 99)
    monkeypatch.setattr(flaky_secrets, "error", flaky_secrets.AirflowSecretsBackendAccessDenied("no"))
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    error = fails(world, way)
    assert type(error) is OmicsRefusedError
    assert "connection 'aws_default' must not be read by this task" in str(error)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            sts_error(403, "AccessDenied", "User: u is not authorized to perform: sts:AssumeRole on resource: r"),
            "AssumeRole",
        ),
        (sts_error(403, "InvalidClientTokenId"), "InvalidClientTokenId on AssumeRole"),
        (sts_error(400, "InvalidIdentityToken", "No OpenIDConnect provider found"), "InvalidIdentityToken"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_sts_refuses(world: World, way: str, connect: Setting, bad: tuple[int, str], said: str) -> None:
    with serve(Sts, bad, times=99) as (url, _):
        connect({"extra": {"role_arn": ROLE, "service_config": {"sts": {"endpoint_url": url}}}})
        error = fails(world, way)
    assert isinstance(error, OmicsRefusedError)
    assert said in str(error)


WRONG: dict[str, dict[str, Any]] = {
    "Half a key of Airflow connection 'aws_default'": {"password": None},
    "'list' object has no attribute": {"extra": {"role_arn": ROLE, "service_config": {"sts": ["x"]}}},
    "config_kwargs": {"extra": {"config_kwargs": ["x"]}},
    "assume_role_method": {"extra": {"role_arn": ROLE, "assume_role_method": "assume_nothing"}},
    "Unknown parameter": {"extra": {"role_arn": ROLE, "assume_role_kwargs": {"Foo": 1}}},
    "aws_session_token of Airflow connection": {"extra": {"aws_session_token": 123}},
    "could not be found": {"extra": {"profile_name": "nope"}},
    "['proxies']['http']": {"extra": {"config_kwargs": {"proxies": {"http": "socks5://proxy:1"}}}},
    "verify of Airflow connection 'aws_default'": {"extra": {"verify": "False"}},
    "config_kwargs of Airflow connection 'aws_default'['read_timeout']": {
        "extra": {"config_kwargs": {"read_timeout": "60"}}
    },
    "login of Airflow connection 'aws_default'": {"login": "AKIA\n"},
    "Invalid endpoint": {"extra": {"endpoint_url": "nowhere"}},
    "region_name": {"extra": {"region_name": "us east"}},
}


@pytest.mark.parametrize("named", first_of(list(WRONG)))
def test_a_connection_cannot_be_right(world: World, way: str, connect: Setting, named: str) -> None:
    connect(copy.deepcopy(WRONG[named]))
    error = fails(world, way, soft_fail=True) if "operator" not in way else fails(world, way)
    assert type(error) is OmicsArgumentError
    assert named in str(error)


@pytest.mark.parametrize(
    "argument", [{"verify": "{{ 'False' }}"}, {"botocore_config": {"use_fips_endpoint": "no"}}], ids=str
)
def test_an_argument_cannot_be_right(world: World, way: str, connect: Setting, argument: dict[str, Any]) -> None:
    error = fails(world, way, **argument)
    assert type(error) is OmicsArgumentError
    assert next(iter(argument)) in str(error)


def test_a_connection_is_stored_that_is_none(world: World, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", f'{{"password": "{SECRET}')
    error = fails(world, way)
    assert type(error) is OmicsArgumentError
    assert "connection 'aws_default' cannot be read" in str(error)


@pytest.mark.parametrize(
    ("region_name", "missing"), [("us-east-1", "credentials"), pytest.param(None, "region", marks=pytest.mark.thorough)]
)
@pytest.mark.skipif(IS_AIRFLOW_2, reason="without its database, Airflow 2 does not know what is not defined")
def test_a_connection_is_not_defined_and_nothing_else_gives_credentials(
    world: World, way: str, region_name: str | None, missing: str
) -> None:
    """Airflow's retries decide: somebody may define it."""
    error = fails(world, way, aws_conn_id="aws_defautl", region_name=region_name)
    assert type(error) is OmicsRequestError
    assert f"connection 'aws_defautl' is not defined, and boto3 itself finds no {missing}" in str(error)


@pytest.mark.parametrize("way", ["poke", "reschedule", "deferrable"])
def test_a_timeout_says_what_was_waited_for_and_what_was_in_the_way(world: World, way: str, connect: Setting) -> None:
    job_id = world.start(EXPORT)
    world.local.add_fault(error="ThrottlingException", message="Rate exceeded")
    error = end_of(task_of(world, way, job_id, timeout=0)).error
    assert type(error) is AirflowSensorTimeout
    for part in ("Timed out after 0 s", "ThrottlingException", job_id, world.store, "aws_default"):
        assert part in str(error)
