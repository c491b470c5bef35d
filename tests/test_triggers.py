"""The trigger, on a loop of its own, and the deferrable tasks around it; the shared poll is in test_shared_poll.py."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import JOB_SECONDS, ONE_TRY, PATIENCE, TaskInstance, World, first_event, through_triggerer, wake
from versions import AirflowSensorTimeout, TaskDeferred
from waiting import EXPORT, asked, ids, run, trigger, until

from airflow_omics._airflow import AirflowException, AirflowFailException
from airflow_omics._service.kind import Kind
from airflow_omics._waiting import trigger_events
from airflow_omics._waiting.shared_poll import Wait
from airflow_omics.exceptions import OmicsEventError
from airflow_omics.hooks import OmicsHook
from airflow_omics.sensors import OmicsReadSetExportJobSensor
from airflow_omics.triggers import OmicsReadSetJobTrigger

# --- one trigger


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "COMPLETED_WITH_FAILURES", "CANCELLED"])
def test_a_trigger_tells_how_the_job_ended(world: World, kind: Kind, status: str) -> None:
    job_id = world.job(kind, status)
    (job,) = run(first_event(trigger(world, job_id, kind=kind.word)))["jobs"]
    assert (job["job_id"], job["status"], job["kind"]) == (job_id, status, kind.word)
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
        trigger_events.parse(event, EXPORT, world.store, ["1234567890"])


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


@pytest.mark.thorough
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


def test_a_task_that_leaves_says_who_has_to_be_running(world: World, logs: Callable[[], list[str]]) -> None:
    with pytest.raises(TaskDeferred):
        world.sensor(EXPORT, world.start(EXPORT), deferrable=True, timeout=90).execute({"ti": TaskInstance()})
    (line,) = [line for line in logs() if "`airflow triggerer` has to be running" in line]
    assert "Time left: 90" in line or "Time left: 89" in line


def test_a_trigger_lingers_once_however_many_jobs_end(world: World) -> None:
    jobs = [world.job(EXPORT, "COMPLETED") for _ in range(10)]
    ended = [OmicsHook().get_work(EXPORT, world.store, job_id) for job_id in jobs]

    async def one_after_the_other() -> Any:
        wait = Wait(jobs, 4)
        lingering = asyncio.create_task(trigger(world, *jobs, until="any", poll_interval=4)._wait(wait))
        for job in ended:
            wait.tell(job)
            await asyncio.sleep(0.4)
        return await lingering

    assert len(run(one_after_the_other())["jobs"]) < len(jobs)


# --- where it runs


def test_a_call_that_hangs_does_not_keep_the_process_up(world: World) -> None:
    world.local.add_fault(action="hang")
    code = f"""
import asyncio, sys
from airflow_omics.triggers import OmicsReadSetJobTrigger
async def main():
    trigger = OmicsReadSetJobTrigger(kind="export", sequence_store_id="{world.store}", job_ids=["1234567890"],
        botocore_config={{"read_timeout": 600, "retries": {{"total_max_attempts": 1}}}})
    waiting = asyncio.create_task(anext(trigger.run()))
    await asyncio.to_thread(sys.stdin.readline)
    waiting.cancel()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        run(until(lambda: asked(world, "Get")))
        try:
            process.communicate(b"\n", timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0


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
