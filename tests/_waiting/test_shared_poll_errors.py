"""The poll that waits share, when AWS, the connection or the network gives errors."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ONE_TRY, World, first_event
from waiting import EXPORT, asked, give_up, ids, run, trigger, until

from airflow_omics._airflow import AirflowException, AirflowFailException
from airflow_omics._waiting import trigger_events
from airflow_omics.exceptions import OmicsRefusedError


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "ThrottlingException", "rate": 0.4},
        {"error": "InternalServerException", "times": 3},
        {"action": "reset", "times": 3},
        {"action": "garbage", "times": 3},
        {"error": "ExpiredTokenException", "http_status": 403, "times": 2},
        {"operation": "GetReadSetExportJob", "response": {"status": "PAUSED"}, "times": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 6])
def test_what_passes_by_itself_is_waited_out(world: World, fault: dict[str, Any], count: int) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(count)]
    world.local.add_fault(**fault)
    assert sorted(ids(run(first_event(trigger(world, *jobs, botocore_config=ONE_TRY, poll_interval=0.1))))) == jobs


def test_what_is_waited_out_stands_in_the_log_of_every_wait(world: World, logs: Callable[[], list[str]]) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(5)]
    world.local.add_fault(error="InternalServerException", times=8)  # two rounds, with a List and three Gets each

    async def both() -> Any:
        waits = (trigger(world, *part, botocore_config=ONE_TRY, poll_interval=0.1) for part in (jobs[:2], jobs[2:]))
        return await asyncio.gather(*(first_event(wait) for wait in waits))

    run(both())
    said = [line for line in logs() if "InternalServerException" in line and "Nothing is lost" in line]
    assert 2 <= len(said) < 8  # once an outage and wait, more often for one that joined late, never for each answer


def test_who_joins_in_an_outage_is_told_too(world: World, logs: Callable[[], list[str]]) -> None:
    first, second = world.start(EXPORT), world.start(EXPORT)
    world.local.add_fault(error="InternalServerException")

    async def one_after_the_other() -> None:
        often: dict[str, Any] = {"botocore_config": ONE_TRY, "poll_interval": 0.1}
        waiting = [asyncio.create_task(first_event(trigger(world, first, **often)))]
        await until(lambda: asked(world, "Get") > 2)
        waiting += [
            asyncio.create_task(first_event(trigger(world, second, botocore_config=ONE_TRY, poll_interval=0.1)))
        ]
        seen = asked(world, "Get")
        await until(lambda: asked(world, "Get") > seen + 5)
        await give_up(*waiting)

    run(one_after_the_other())
    assert len([line for line in logs() if "InternalServerException" in line and "Nothing is lost" in line]) >= 2


def test_trouble_of_who_just_joined_is_not_told_to_the_others(world: World, logs: Callable[[], list[str]]) -> None:
    quiet, troubled = world.start(EXPORT), world.start(EXPORT)

    async def one_after_the_other() -> None:
        seldom: dict[str, Any] = {"botocore_config": ONE_TRY, "poll_interval": 600}
        waiting = [asyncio.create_task(first_event(trigger(world, quiet, **seldom)))]
        await until(lambda: asked(world, "Get") == 1)
        world.local.add_fault(error="InternalServerException", path_contains=troubled, times=1)
        waiting += [
            asyncio.create_task(first_event(trigger(world, troubled, botocore_config=ONE_TRY, poll_interval=600)))
        ]
        await until(lambda: asked(world, "Get") == 2)
        await asyncio.sleep(0.5)
        await give_up(*waiting)

    run(one_after_the_other())
    assert len([line for line in logs() if "Nothing is lost" in line]) == 1


def test_without_permission_to_list_each_job_is_asked_for(world: World) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(6)]
    world.local.add_fault(operation="ListReadSetExportJobs", error="AccessDeniedException")
    assert sorted(ids(run(first_event(trigger(world, *jobs))))) == jobs


def test_a_refusal_ends_only_the_waits_concerned(world: World) -> None:
    good, bad = [world.job(EXPORT, "COMPLETED") for _ in range(3)], "9999999999"

    async def all_of_them() -> Any:
        waits = [trigger(world, good[0]), trigger(world, bad), trigger(world, bad, good[1]), trigger(world, good[2])]
        return await asyncio.gather(*(first_event(wait) for wait in waits))

    first, refused, too, last = run(all_of_them())
    assert [ids(first), ids(last)] == [[good[0]], [good[2]]]
    for event in (refused, too):
        with pytest.raises(OmicsRefusedError, match="GetReadSetExportJob for export job 9999999999"):
            trigger_events.parse(event, EXPORT, world.store, [bad, good[1]])


def test_expired_credentials_are_taken_up_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.job(EXPORT, "COMPLETED")
    world.local.add_fault(error="ExpiredTokenException", http_status=403, access_key="local-healthomics")

    async def renewed_while_waiting() -> Any:
        waiting = asyncio.create_task(first_event(trigger(world, job_id, poll_interval=0.1)))
        await until(lambda: asked(world, "Get") >= 2)
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(world.local.connection | {"login": "renewed"}))
        return await waiting

    assert ids(run(renewed_while_waiting())) == [job_id]


def test_a_connection_that_makes_no_client_ends_the_wait(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps({"conn_type": "aws", "extra": {"endpoint_url": "nowhere"}}))
    event = run(first_event(trigger(world, "1234567890", aws_conn_id="nowhere", region_name="us-east-1")))
    assert "'nowhere' makes no client" in event["message"]
    monkeypatch.setenv("AIRFLOW_CONN_NO_REGION", json.dumps({"conn_type": "aws"}))
    event = run(first_event(trigger(world, "1234567890", aws_conn_id="no_region", poll_interval=0.1)))
    assert "NoRegionError" in event["message"]
    lost = [each for each in caplog.records if "next comes" in each.getMessage()]
    assert [bool(each.exc_info) for each in lost] == [True, True]  # and the third round ends the wait
    assert re.fullmatch(
        r"A poll of Source\(.*aws_conn_id='no_region'.*\) failed; the next comes\.", lost[0].getMessage()
    )
    with pytest.raises(AirflowException) as caught:
        trigger_events.parse(event, EXPORT, world.store, [])
    assert not isinstance(caught.value, AirflowFailException)  # Airflow's retries decide, as in the other modes


def test_an_outage_of_the_server_is_waited_out(local_healthomics: Any) -> None:
    world = World(local_healthomics)
    job_id = world.job(EXPORT, "COMPLETED")
    world.local.add_fault(action="hang", times=1)
    impatient = ONE_TRY | {"read_timeout": 0.3}
    assert ids(run(first_event(trigger(world, job_id, botocore_config=impatient)))) == [job_id]
