"""What goes wrong around waits, one thing at a time, under a real scheduler and triggerer."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROLE, World
from real_airflow import COMPONENTS, RealAirflow
from scene import DAG, EXPORT, IN_ALL_MODES, WAITS, Outcome, Scene
from servers import AwaySts, Proxy

from airflow_omics._aws.errors import TRANSIENT_CODES
from airflow_omics.local import LocalHealthOmics
from airflow_omics.local.wire import error_codes

TRANSIENT = ("ThrottlingException", "InternalServerException", "RequestTimeoutException")
REFUSALS = tuple(sorted(set(error_codes()) - TRANSIENT_CODES))


def nothing(scene: Scene) -> None:
    """Strike not at all."""


@dataclass(frozen=True)
class Fault:
    """
    Something that is wrong: ``prepare`` before jobs are started, ``begin`` before the run, ``midway`` in it.

    :param is_felt: Whether it did strike, of those where a mistake in the test could keep it from that.
    :param share: Of the usual number of waits; heavy throttling makes calls rare, and a run long.
    """

    begin: Callable[[Scene], None] = nothing
    midway: Callable[[Scene], None] = nothing
    prepare: Callable[[World], None] = lambda world: None
    refusals: tuple[str, ...] = ()
    share: float = 1.0
    waits: Mapping[str, int] = field(default_factory=lambda: WAITS)
    is_felt: Callable[[Scene], object] = lambda scene: True


def answer(**fault: Any) -> Callable[[Scene], None]:
    """Have some calls, from the beginning, answered in another way."""
    return lambda scene: scene.world.local.add_fault(**fault)


def each_of(errors: tuple[str, ...], rate: float) -> Callable[[Scene], None]:
    def begin(scene: Scene) -> None:
        for error in errors:
            scene.world.local.add_fault(error=error, rate=rate)

    return begin


def outage(scene: Scene) -> None:
    scene.world.local.stop()
    scene.keep_on(120)
    scene.world.local.start()


def expired_credentials(scene: Scene) -> None:
    scene.world.local.add_fault(error="ExpiredTokenException", http_status=403)
    scene.keep_on(20)
    scene.clear_faults()


def not_found_at_first(scene: Scene) -> None:
    scene.world.local.configure(get_lag=3)
    for job_id in scene.endings:
        scene.world.local.add_fault(
            operation=EXPORT.operation("Get"), error="ResourceNotFoundException", path_contains=job_id, times=2
        )


def skewed(scene: Scene) -> None:
    scene.world.local.add_fault(error="RequestTimeTooSkewed", http_status=403, rate=0.2)


OLD_KEY, NEW_KEY = "AKIAOLDOLDOLDOLDOLD1", "AKIANEWNEWNEWNEWNEW1"
UNKNOWN_KEY = "UnrecognizedClientException"


def rotate_key(scene: Scene) -> None:
    """Give the connection a new key, and make the old one inactive."""
    scene.connect(login=NEW_KEY)
    scene.world.local.add_fault(
        error=UNKNOWN_KEY,
        http_status=403,
        message="The security token included in the request is invalid.",
        access_key=OLD_KEY,
    )


def is_answered_with(error: str) -> Callable[[Scene], bool]:
    return lambda scene: any(call["error"] == error for call in scene.world.local.calls())


def assume_role(scene: Scene) -> None:
    """Have the connection assume a role, with an STS that is away."""
    url = scene.stand_between(AwaySts)
    scene.connect(role_arn=ROLE, service_config={"sts": {"endpoint_url": url}})


def sts_away_again(scene: Scene) -> None:
    """Wait until STS is back and credentials are had, and let it go away."""
    sts = scene.server
    scene.keep_on(sts.away_since + sts.away_seconds + 10 - time.monotonic())
    sts.away_since = None


def clock_off(scene: Scene) -> None:
    for said in ("Signature expired: 20261125T000000Z is now earlier", "Signature not yet current: is still later"):
        scene.world.local.add_fault(error="InvalidSignatureException", http_status=403, message=said, rate=0.1)


def behind_proxy(scene: Scene) -> None:
    """Have a host that only a proxy of the connection's config_kwargs knows."""
    url = scene.stand_between(Proxy, target=scene.world.local.endpoint_url)
    config = {**scene.connection["extra"]["config_kwargs"], "proxies": {"http": url}}
    scene.connect(endpoint_url="http://healthomics.invalid", config_kwargs=config)


def kill(*names: str) -> Callable[[Scene], None]:
    def midway(scene: Scene) -> None:
        for _ in range(2):
            scene.airflow.kill_and_restart(*names)
            scene.keep_on(15)

    return midway


def kill_workers(scene: Scene) -> None:
    for _ in range(6):
        for process in psutil.Process(scene.airflow.pid("scheduler")).children(recursive=True):
            process.kill()
        scene.keep_on(4)
    # What a worker had taken from its queue and not yet begun, Airflow's LocalExecutor forgets until it starts anew.
    scene.airflow.kill_and_restart("scheduler")


def full_disk(scene: Scene) -> None:
    """Put a device without room where the logs of half of the tasks will be."""
    for task, number in scene.waits.items():
        for index in range(0, number, 2):
            folder = scene.airflow.log_folder(DAG, scene.airflow.next_run(), task, index)
            folder.mkdir(parents=True)
            (folder / "attempt=1.log").symlink_to("/dev/full")


def database_away(scene: Scene) -> None:
    with closing(sqlite3.connect(scene.airflow.database, timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(10)
        database.execute("ROLLBACK")


FAULTS = {
    "none": Fault(),
    "the service's own quotas": Fault(
        lambda scene: scene.world.local.configure(calls_per_second=5, max_concurrent_jobs={"export": 100})
    ),
    "throttling 10 %": Fault(answer(error="ThrottlingException", rate=0.1)),
    "throttling 50 %": Fault(answer(error="ThrottlingException", rate=0.5), share=0.5),
    "throttling 90 %": Fault(answer(error="ThrottlingException", rate=0.9), share=0.2),
    "errors that pass, 15 % each": Fault(each_of(TRANSIENT, 0.15)),
    "errors that do not pass, 0.2 % each": Fault(each_of(REFUSALS, 0.002), refusals=REFUSALS),
    "connections reset, 30 %": Fault(answer(action="reset", rate=0.3)),
    "connections hung, 10 %": Fault(answer(action="hang", rate=0.1)),
    "answers 2 s late, 30 %": Fault(answer(delay=2, rate=0.3)),
    "bodies that are no JSON, 30 %": Fault(answer(action="garbage", rate=0.3)),
    "an outage of two minutes": Fault(midway=outage),
    "credentials expired for 20 s": Fault(midway=expired_credentials),
    "key rotated": Fault(
        lambda scene: scene.connect(login=OLD_KEY),
        rotate_key,
        waits=IN_ALL_MODES,
        is_felt=is_answered_with(UNKNOWN_KEY),
    ),
    "STS away for a minute, twice": Fault(
        assume_role, sts_away_again, waits=IN_ALL_MODES, is_felt=lambda scene: scene.server.refused
    ),
    "behind a proxy": Fault(behind_proxy, waits=IN_ALL_MODES, is_felt=lambda scene: scene.server.asked),
    "jobs not found at first": Fault(not_found_at_first),
    "Lists out of order": Fault(
        answer(operation=EXPORT.operation("List"), error="InternalServerException"),
        waits=IN_ALL_MODES,
        is_felt=is_answered_with("InternalServerException"),
    ),
    "Lists 10 s behind": Fault(lambda scene: scene.world.local.configure(list_lag=10)),
    "unknown statuses, 30 %": Fault(answer(operation=EXPORT.operation("Get"), response={"status": "PAUSED"}, rate=0.3)),
    "AWS's clock an hour ahead": Fault(skewed, prepare=lambda world: world.local.advance(3600)),
    "AWS's clock an hour behind": Fault(skewed, prepare=lambda world: world.local.advance(-3600)),
    "AWS's clock off, 20 %": Fault(
        clock_off, waits=IN_ALL_MODES, is_felt=is_answered_with("InvalidSignatureException")
    ),
    "workers killed 6 times": Fault(midway=kill_workers),
    "triggerer killed twice": Fault(midway=kill("triggerer")),
    "scheduler killed twice": Fault(midway=kill("scheduler")),
    "everything killed twice": Fault(midway=kill(*COMPONENTS)),
    "no room for the logs of half": Fault(full_disk),
    "database away for 10 s": Fault(midway=database_away),
}


SETTINGS = {
    "core__parallelism": 6,  # two may be held by waits
    # A worker, a triggerer or a scheduler that is gone is noticed in seconds instead of minutes.
    "scheduler__task_instance_heartbeat_timeout": 30,
    "scheduler__task_instance_heartbeat_timeout_detection_interval": 5,
    "scheduler__scheduler_health_check_threshold": 30,
    "scheduler__orphaned_tasks_check_interval": 10,
    "scheduler__task_queued_timeout": 30,
    "scheduler__task_queued_timeout_check_interval": 5,
    "scheduler__num_stuck_in_queued_retries": 10,
    "scheduler__job_heartbeat_sec": 2,
    "scheduler__max_tis_per_query": 64,
    "workers__min_heartbeat_interval": 1,
    "triggerer__job_heartbeat_sec": 2,
    "triggerer__triggerer_health_check_threshold": 20,
    "triggerer__default_capacity": 1000,
}


@pytest.fixture(scope="module")
def local() -> Iterator[LocalHealthOmics]:
    with LocalHealthOmics() as local:
        yield local


@pytest.fixture(scope="module")
def connection(local: LocalHealthOmics) -> dict[str, Any]:
    connection = local.connection
    connection["extra"]["config_kwargs"] = {"read_timeout": 3, "connect_timeout": 3}
    return connection


@pytest.fixture(scope="module")
def airflow(connection: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    home = tmp_path_factory.mktemp("airflow")
    with RealAirflow(home, Path(__file__).parent / "dags", connection, SETTINGS, restart=True) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def report() -> Iterator[Callable[[Outcome], None]]:
    """Print the table, row by row, and its sum."""
    outcomes: list[tuple[int, ...]] = []
    names = [field.name for field in fields(Outcome)]
    form = "{:36}" + " {:>7}" * (len(names) - 1)
    print("\n" + form.format(*names))

    def add(outcome: Outcome) -> None:
        outcomes.append(astuple(outcome)[1:])
        print("\r" + form.format(*astuple(outcome)), flush=True)

    yield add
    print("\r" + form.format("all", *(sum(column) for column in zip(*outcomes, strict=True))))


@pytest.mark.parametrize("name", FAULTS)
def test_every_wait_ends_as_its_job_does(
    name: str,
    airflow: RealAirflow,
    local: LocalHealthOmics,
    connection: dict[str, Any],
    report: Callable[[Outcome], None],
) -> None:
    fault = FAULTS[name]
    began = time.monotonic()
    world = World(local)
    fault.prepare(world)
    waits = {task: int(number * fault.share) for task, number in fault.waits.items()}
    scene = Scene(airflow, world, connection, waits, fault.refusals)
    with scene.stack:
        scene.begin()
        fault.begin(scene)
        scene.go(fault.midway)
    local.clear_faults()
    local.configure(calls_per_second=None)  # the judge asks fast
    outcome = scene.outcome(name)
    outcome.seconds = round(time.monotonic() - began)
    report(outcome)
    assert (outcome.right, outcome.wrong, outcome.lost, outcome.doubled) == (outcome.waits, 0, 0, 0)
    assert fault.is_felt(scene)
