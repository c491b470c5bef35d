"""Waiting in the triggerer: what a trigger asks, shares, survives and leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import JOB_SECONDS, PATIENCE, TaskInstance, World, first_event, through_triggerer, wake
from versions import AirflowSensorTimeout, TaskDeferred

from airflow_omics import events
from airflow_omics.compat import AirflowException, AirflowFailException
from airflow_omics.exceptions import OmicsEventError, OmicsRefusedError
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.sensors import OmicsReadSetExportJobSensor
from airflow_omics.shared_poll import SharedPoll
from airflow_omics.triggers import OmicsReadSetJobTrigger

EXPORT = ReadSetJobKind.EXPORT
ONE_TRY = {"retries": {"total_max_attempts": 1}}


def trigger(world: World, *job_ids: str, **arguments: Any) -> OmicsReadSetJobTrigger:
    arguments = {"kind": "export", "sequence_store_id": world.store, "poll_interval": 0.3, **arguments}
    return OmicsReadSetJobTrigger(job_ids=list(job_ids), **arguments)


def asked(world: World, verb: str) -> int:
    return sum(call["operation"].startswith(verb) for call in world.local.calls())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run on a loop of its own; see that nothing goes wrong there unseen, and that no poll is left, nor a thread."""

    async def checked() -> Any:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        result = await main
        assert not errors
        assert SharedPoll._polls.get(asyncio.get_running_loop(), {}) == {}
        return result

    result = asyncio.run(checked())
    deadline = time.monotonic() + 5
    while any(thread.name.startswith("airflow-omics-poll") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def ids(event: Any) -> list[str]:
    return [job["job_id"] for job in event["jobs"]]


# --- one trigger


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "COMPLETED_WITH_FAILURES", "CANCELLED"])
def test_a_trigger_tells_how_the_job_ended(world: World, kind: ReadSetJobKind, status: str) -> None:
    job_id = world.job(kind, status)
    (job,) = run(first_event(trigger(world, job_id, kind=kind.value)))["jobs"]
    assert (job["job_id"], job["status"], job["kind"]) == (job_id, status, kind.value)
    assert len(job["finished"] + job["failed"] + job["unfinished"]) == 3


def test_all_or_any_of_several_jobs(world: World) -> None:
    done, running = world.job(EXPORT, "COMPLETED"), world.start(EXPORT)
    assert ids(run(first_event(trigger(world, running, done, until="any")))) == [done]

    async def both() -> Any:
        waiting = asyncio.create_task(first_event(trigger(world, running, done)))
        await until(lambda: asked(world, "Get") >= 4)
        assert not waiting.done()
        world.local.advance(JOB_SECONDS)
        return await waiting

    assert sorted(ids(run(both()))) == sorted([running, done])


def test_no_task_is_woken_while_its_deferring_process_may_still_be_seen(world: World, ti: TaskInstance) -> None:
    early = trigger(world, world.job(EXPORT, "COMPLETED"), fire_after=time.time() + 1)

    async def wait() -> float:
        async for _ in early.run():
            return time.time()
        raise AssertionError

    assert run(wait()) >= early.fire_after
    with pytest.raises(TaskDeferred) as caught:
        world.sensor(EXPORT, world.start(EXPORT), deferrable=True).execute({"ti": ti})
    assert caught.value.trigger.fire_after >= time.time() + 5


def test_a_trigger_wakes_its_task_at_a_time(world: World) -> None:
    running = world.start(EXPORT)
    assert run(first_event(trigger(world, running, wake_at=time.time() + 0.3))) == {"status": "due"}
    assert run(first_event(trigger(world, wake_at=time.time() + 0.3))) == {"status": "due"}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": None}, "kind is None"),
        ({"kind": ["export"]}, "kind is"),
        ({"sequence_store_id": "x"}, "sequence_store_id is 'x'"),
        ({"job_ids": None}, "job_ids is None"),
        ({"job_ids": []}, "job_ids is []"),
        ({"job_ids": ["x"]}, "job_ids[0] is 'x'"),
        ({"until": "some"}, "until is 'some'"),
        ({"poll_interval": "often"}, "often"),
        ({"wake_at": {}}, "dict"),
        ({"fire_after": "soon"}, "soon"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be_right_are_told(world: World, wrong: dict[str, Any], named: str) -> None:
    _, arguments = trigger(world, "1234567890").serialize()
    event = run(first_event(OmicsReadSetJobTrigger(**{**arguments, **wrong})))
    assert (event["status"], event["error"]) == ("error", "OmicsArgumentError")
    assert named in event["message"]
    with pytest.raises(AirflowFailException):
        events.parse(event, EXPORT, world.store, ["1234567890"])


def test_a_trigger_is_made_again_by_another_version(world: World) -> None:
    made = trigger(
        world, world.job(EXPORT, "COMPLETED"), botocore_config=ONE_TRY, region_name="eu-west-2", verify=False
    )
    _, arguments = json.loads(json.dumps(made.serialize()))
    assert OmicsReadSetJobTrigger(**arguments).serialize() == made.serialize()
    essential = {name: arguments[name] for name in ("kind", "sequence_store_id", "job_ids")}
    assert OmicsReadSetJobTrigger(**{**arguments, "fire_after": None}).serialize()
    assert run(first_event(OmicsReadSetJobTrigger(**essential, of_the_next_version=1)))["status"] == "over"
    assert "cannot be right" not in str(OmicsReadSetJobTrigger())


def test_a_trigger_may_run_twice_at_once(world: World) -> None:
    job_id = world.job(EXPORT, "COMPLETED")
    again = trigger(world, job_id)

    async def twice() -> Any:
        return await asyncio.gather(first_event(again), first_event(again))

    first, second = run(twice())
    assert first == second
    assert asked(world, "Get") == 1


# --- the shared poll


def test_waits_share_a_few_calls_a_round_and_each_ending_is_fetched_once(world: World) -> None:
    jobs = [world.start(EXPORT, world.read_sets[:1]) for _ in range(250)]

    async def all_of_them() -> list[Any]:
        waiting = [asyncio.create_task(first_event(trigger(world, job_id, poll_interval=60))) for job_id in jobs]
        await until(lambda: asked(world, "ListReadSetExportJobs") >= 4)
        await asyncio.sleep(0.2)
        assert asked(world, "Get") == 0
        assert asked(world, "ListReadSetExportJobs") == 4  # one for IN_PROGRESS, three pages of SUBMITTED
        world.local.advance(JOB_SECONDS)
        more = asyncio.create_task(first_event(trigger(world, *jobs[:5])))
        return await asyncio.gather(*waiting, more)

    told = run(all_of_them())
    assert [ids(event) for event in told[:-1]] == [[job_id] for job_id in jobs]
    assert asked(world, "Get") <= len(jobs) + 5


def test_what_joins_later_is_asked_for_at_once_and_a_shorter_interval_is_shared(world: World) -> None:
    first, second = world.start(EXPORT), world.start(EXPORT)

    async def staggered() -> None:
        slow = asyncio.create_task(first_event(trigger(world, first, poll_interval=600)))
        await until(lambda: asked(world, "Get") == 1)
        fast = asyncio.create_task(first_event(trigger(world, second, poll_interval=0.3)))
        await until(lambda: asked(world, "Get") >= 2)
        assert world.local.calls()[-1]["parameters"]["id"] == second
        world.end(second, "COMPLETED")
        await fast
        again = asyncio.create_task(first_event(trigger(world, first, poll_interval=0.3)))
        assert ids(await slow) == ids(await again) == [first]

    world.local.calls().clear()
    run(staggered())


def test_what_joins_during_a_round_is_asked_for_after_it(world: World) -> None:
    done, slow = world.job(EXPORT, "COMPLETED"), world.job(EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", delay=0.5, path_contains=slow)

    async def again_and_again() -> Any:
        other = asyncio.create_task(first_event(trigger(world, slow, poll_interval=600)))
        told = [await first_event(trigger(world, done, poll_interval=600)) for _ in range(3)]
        return [*told, await other]

    assert [ids(event) for event in run(again_and_again())] == [[done]] * 3 + [[slow]]


def test_an_answer_that_nobody_waits_for_any_more_does_no_harm(world: World) -> None:
    left, done = world.job(EXPORT, "COMPLETED"), world.job(EXPORT, "COMPLETED")
    world.local.add_fault(operation="GetReadSetExportJob", delay=0.5, path_contains=left)

    async def leave_while_asked() -> Any:
        leaving = asyncio.create_task(first_event(trigger(world, left)))
        await until(lambda: asked(world, "Get"))
        staying = asyncio.create_task(first_event(trigger(world, done)))
        await asyncio.sleep(0)  # it joins
        leaving.cancel()
        return await staying

    assert ids(run(leave_while_asked())) == [done]


def test_leaving_one_by_one_leaves_nothing_behind(world: World) -> None:
    jobs = [world.start(EXPORT) for _ in range(5)]

    async def come_and_go() -> None:
        waiting = [asyncio.create_task(first_event(trigger(world, job_id))) for job_id in jobs]
        await until(lambda: asked(world, "List"))
        for each in waiting:
            each.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)

    run(come_and_go())


def test_jobs_that_are_being_cancelled_are_listed_too(world: World) -> None:
    jobs = [world.start(EXPORT) for _ in range(10)]
    world.local.advance(JOB_SECONDS / 2)
    for job_id in jobs:
        world.local.cancel_job(job_id)

    async def wait() -> Any:
        waiting = asyncio.create_task(first_event(trigger(world, *jobs)))
        await until(lambda: asked(world, "ListReadSetExportJobs") >= 6)
        assert asked(world, "Get") == 10
        world.local.advance(JOB_SECONDS)
        return await waiting

    assert {job["status"] for job in run(wait())["jobs"]} == {"CANCELLED"}


def test_a_list_whose_filter_is_not_applied_keeps_nobody_waiting(world: World) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(5)]
    listed = world.omics.list_read_set_export_jobs(sequenceStoreId=world.store)["exportJobs"]
    wire = [{**each, "creationTime": each["creationTime"].isoformat()} for each in listed]
    wire = [{name: value for name, value in each.items() if name != "completionTime"} for each in wire]
    world.local.add_fault(operation="ListReadSetExportJobs", response={"exportJobs": wire})
    assert sorted(ids(run(first_event(trigger(world, *jobs))))) == sorted(jobs)


# --- errors


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
    world.local.add_fault(operation="ListReadSetExportJobs", error="ThrottlingException", times=3)

    async def both() -> Any:
        waits = (trigger(world, *part, botocore_config=ONE_TRY, poll_interval=0.1) for part in (jobs[:2], jobs[2:]))
        return await asyncio.gather(*(first_event(wait) for wait in waits))

    run(both())
    said = [line for line in logs() if "ThrottlingException" in line and "Nothing is lost" in line]
    assert len(said) == 2  # once an outage


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
        with pytest.raises(OmicsRefusedError, match="GetReadSetExportJob for HealthOmics export job 9999999999"):
            events.parse(event, EXPORT, world.store, [bad, good[1]])


def test_expired_credentials_are_taken_up_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = world.job(EXPORT, "COMPLETED")
    world.local.add_fault(error="ExpiredTokenException", http_status=403, access_key="local-healthomics")

    async def renewed_while_waiting() -> Any:
        waiting = asyncio.create_task(first_event(trigger(world, job_id, poll_interval=0.1)))
        await until(lambda: asked(world, "Get") >= 2)
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(world.local.connection | {"login": "renewed"}))
        return await waiting

    assert ids(run(renewed_while_waiting())) == [job_id]


def test_a_connection_that_makes_no_client_ends_the_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", json.dumps({"conn_type": "aws", "extra": {"endpoint_url": "nowhere"}}))
    event = run(first_event(trigger(world, "1234567890", aws_conn_id="nowhere", region_name="us-east-1")))
    assert "'nowhere' makes no client" in event["message"]
    monkeypatch.setenv("AIRFLOW_CONN_NO_REGION", json.dumps({"conn_type": "aws"}))
    event = run(first_event(trigger(world, "1234567890", aws_conn_id="no_region", poll_interval=0.1)))
    assert "NoRegionError" in event["message"]
    with pytest.raises(AirflowException) as caught:
        events.parse(event, EXPORT, world.store, [])
    assert not isinstance(caught.value, AirflowFailException)  # Airflow's retries decide, as in the other modes


def test_an_outage_of_the_server_is_waited_out(local_healthomics: Any) -> None:
    world = World(local_healthomics)
    job_id = world.job(EXPORT, "COMPLETED")
    world.local.add_fault(action="hang", times=1)
    impatient = ONE_TRY | {"read_timeout": 0.3}
    assert ids(run(first_event(trigger(world, job_id, botocore_config=impatient)))) == [job_id]


# --- what goes to the task, and what it makes of it


def test_too_many_read_sets_for_an_event_are_asked_for_by_the_task(world: World) -> None:
    job_id = world.start(EXPORT)
    sensor = world.sensor(EXPORT, job_id, deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": TaskInstance()})
    world.local.advance(JOB_SECONDS)
    items = [{"id": f"2{number:035}", "status": "FINISHED"} for number in range(2000)]
    world.local.add_fault(operation="GetReadSetExportJob", response={"readSets": items})
    event = run(first_event(caught.value.trigger))
    assert event == {"status": "over", "jobs": None}
    assert len(wake(sensor, caught.value, TaskInstance(), event)["finished"]) == 2000


def good_event(world: World) -> Any:
    return run(first_event(trigger(world, world.job(EXPORT, "COMPLETED"))))


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        [],
        "over",
        {"status": "success"},
        {"status": "over"},
        {"status": "over", "jobs": {}},
        {"status": "over", "jobs": [{}]},
        {"status": "over", "jobs": [None]},
        {"status": ["over"], "jobs": []},
        {"status": "error"},
        {"status": "error", "error": "Unheard", "message": "of"},
        {"status": "error", "error": {}, "message": 5},
    ],
    ids=str,
)
def test_a_missing_or_malformed_event_fails_the_task(world: World, event: Any) -> None:
    fails(world, world.start(EXPORT), event)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "import"},
        {"sequence_store_id": "9999999999"},
        {"job_id": "9999999999"},
        {"status": None},
        {"finished": "all"},
        {"finished": [5]},
        {"failed": [5]},
        {"completion_time": "soon"},
        {"completion_time": "2026-11-22"},
    ],
    ids=str,
)
def test_an_event_with_a_summary_that_is_none_fails_the_task(world: World, changes: Any) -> None:
    event = good_event(world)
    job_id = world.start(EXPORT)
    event["jobs"][0].update({"job_id": job_id, **changes})
    fails(world, job_id, event)


def fails(world: World, job_id: str, event: Any) -> None:
    sensor = world.sensor(EXPORT, job_id, deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": TaskInstance()})
    ti = TaskInstance()
    with pytest.raises(AirflowException) as failed:
        wake(sensor, caught.value, ti, event)
    assert isinstance(failed.value, OmicsEventError) or event["status"] == "error"
    assert ti.xcoms == {}


def test_an_event_about_a_job_that_is_not_over_goes_on_waiting(world: World) -> None:
    event = good_event(world)
    job_id = world.start(EXPORT)
    event["jobs"][0].update(job_id=job_id, status="IN_PROGRESS")
    sensor = world.sensor(EXPORT, job_id, deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": TaskInstance()})
    with pytest.raises(TaskDeferred):
        wake(sensor, caught.value, TaskInstance(), event)


def test_the_timeout_is_handed_over_and_goes_down(world: World) -> None:
    sensor = world.sensor(EXPORT, world.start(EXPORT), deferrable=True, timeout=100)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": TaskInstance()})
    assert 95 < caught.value.timeout.total_seconds() <= 100
    caught.value.kwargs["since"] -= 60
    with pytest.raises(TaskDeferred) as again:
        wake(sensor, caught.value, TaskInstance(), {"status": "due"})
    assert 35 < again.value.timeout.total_seconds() <= 40
    again.value.kwargs["since"] -= 60
    with pytest.raises(AirflowSensorTimeout, match="100"):
        wake(sensor, again.value, TaskInstance(), {"status": "due"})


@pytest.mark.parametrize("said", ["Trigger timeout", "Trigger/execution timeout"])  # Airflow 3, Airflow 2
def test_a_timeout_in_the_triggerer_is_the_sensors(world: World, ti: TaskInstance, said: str) -> None:
    job_id = world.start(EXPORT)
    with pytest.raises(AirflowSensorTimeout):
        world.sensor(EXPORT, job_id, deferrable=True).resume_execution("__fail__", {"error": said}, {"ti": ti})
    world.end(job_id, "COMPLETED")
    sensor = world.sensor(EXPORT, job_id, deferrable=True)
    assert sensor.resume_execution("__fail__", {"error": said}, {"ti": ti})["status"] == "COMPLETED"


def test_a_job_that_is_over_needs_no_trigger(world: World, ti: TaskInstance) -> None:
    sensor = world.sensor(EXPORT, world.job(EXPORT, "COMPLETED"), deferrable=True)
    assert sensor.execute({"ti": ti})["status"] == "COMPLETED"


def test_a_trigger_that_crashed_fails_the_task(world: World, ti: TaskInstance) -> None:
    sensor = world.sensor(EXPORT, world.start(EXPORT), deferrable=True)
    with pytest.raises(Exception, match="Trigger failure") as caught:
        sensor.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["..."]}, {"ti": ti})
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("silent_fail", [False, True])
def test_silent_fail_goes_on_after_an_error_that_may_pass(world: World, ti: TaskInstance, silent_fail: bool) -> None:
    job_id = world.start(EXPORT)
    sensor = world.sensor(EXPORT, job_id, deferrable=True, silent_fail=silent_fail)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": ti})
    world.local.add_fault(operation="GetReadSetExportJob", response={"status": None}, times=1)
    expected = TaskDeferred if silent_fail else AirflowException
    with pytest.raises(expected):
        wake(sensor, caught.value, ti)
    world.end(job_id, "COMPLETED")
    if silent_fail:
        assert through_triggerer(sensor, ti)["status"] == "COMPLETED"


def test_a_user_who_acts_on_a_deferred_task_reads_that_the_job_goes_on(
    world: World, logs: Callable[[], list[str]]
) -> None:
    many = [f"{number}" * 10 for number in range(1, 8)]
    asyncio.run(trigger(world, *many).on_kill())
    (line,) = [line for line in logs() if "cannot cancel" in line]
    assert "export jobs 1111111111" in line
    assert "and 2 more" in line


# --- where it runs


def test_the_triggerer_imports_no_boto3_and_default_deferrable_is_honoured() -> None:
    code = """
import sys, airflow_omics.triggers
print(sorted({"boto3", "botocore.client"} & set(sys.modules)))
from airflow_omics.operators import OmicsStartReadSetActivationJobOperator as Operator
from airflow_omics.sensors import OmicsReadSetImportJobSensor as Sensor
common, ids = {"task_id": "task", "sequence_store_id": "1234567890"}, ["1234567890"]
print(Operator(read_set_ids=ids, **common).deferrable, Sensor(job_id=ids, **common).deferrable)
"""
    env = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    said = [line for line in shown.stdout.splitlines() if not line.startswith("[2")]  # Airflow 3.0 logs here too
    assert said == ["[]", "True True"]


def test_a_deferrable_wait_does_not_warn_of_a_short_interval(recwarn: pytest.WarningsRecorder) -> None:
    OmicsReadSetExportJobSensor(
        task_id="wait", sequence_store_id="1234567890", job_id="1234567890", deferrable=True, poke_interval=5
    )
    assert not [each for each in recwarn if "poke_interval" in str(each.message)]
