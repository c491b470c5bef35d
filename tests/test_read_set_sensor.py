"""How waits for read sets end, in all modes, over HTTP with local HealthOmics."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import ONE_TRY, TaskInstance, World, connection, first_event
from versions import AirflowRescheduleException, AirflowSensorTimeout, AirflowSkipException, TaskDeferred
from waiting import run, threads, until
from ways import End

from airflow_omics._airflow import AirflowException, AirflowFailException
from airflow_omics._service.kinds import READ_SET
from airflow_omics._waiting import trigger_events
from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsCredentialsError,
    OmicsEventError,
    OmicsNotFoundError,
    OmicsRefusedError,
)
from airflow_omics.sensors import OmicsReadSetSensor
from airflow_omics.triggers import OmicsReadSetJobTrigger

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
WAITING = ("ARCHIVED", "ACTIVATING", "PROCESSING_UPLOAD", "A_NEW_STEP")
FAILED = ("UPLOAD_FAILED", "DELETING", "DELETED")
NOWHERE = "9999999999"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def sensor(world: World, read_set_ids: Any, mode: str = "poke", **arguments: Any) -> OmicsReadSetSensor:
    arguments = {"task_id": "wait", "sequence_store_id": world.store, "poke_interval": 0.1, **arguments}
    return OmicsReadSetSensor(read_set_ids=read_set_ids, **MODES[mode], **arguments)


def context(ti: TaskInstance) -> Any:
    return {"ti": ti}


async def event_of(trigger: Any) -> Any:
    return await first_event(trigger)


def nothing() -> None:
    """Happen to no wait."""


def calls(world: World) -> dict[str, int]:
    """Count the calls so far, but for the one that made the store."""
    return {name: count for name, count in world.local.call_counts().items() if name != "CreateSequenceStore"}


def become(world: World, read_set: str, status: str) -> None:
    """Give a read set a status, also one that local HealthOmics does not have."""
    if status == "A_NEW_STEP":
        world.local.add_fault(operation="GetReadSetMetadata", response={"status": status})
    else:
        world.local.clear_faults()
        world.local.set_read_set_status([read_set], status)


def end(task: Any, ti: TaskInstance, midway: Callable[[], object] = nothing) -> End:
    """Look once; if the wait goes on, let ``midway`` happen, and wait to the end as Airflow does."""
    try:
        return End(_end(task, ti, midway))
    except Exception as error:
        return End(error=error)


def _end(task: Any, ti: TaskInstance, midway: Callable[[], object]) -> Any:
    if not (task.reschedule or task.deferrable) and midway is not nothing:
        found = task.poke(context(ti))
        if found:
            return found.xcom_value
        midway()
        return task.execute(context(ti))
    deferred, is_first = None, True
    while True:
        try:
            return _wake(task, deferred, ti) if deferred else task.execute(context(ti))
        except TaskDeferred as left:
            deferred = left
        except AirflowRescheduleException:
            task.__dict__.pop("hook", None)  # a process of its own for every look
            task._polls, task._lost = 0, {}
        if is_first:
            midway()
            is_first = False


def _wake(task: Any, deferred: TaskDeferred, ti: TaskInstance) -> Any:
    path, arguments = json.loads(json.dumps(deferred.trigger.serialize()))
    module, name = path.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**arguments)
    kwargs = json.loads(json.dumps({**(deferred.kwargs or {}), "event": asyncio.run(event_of(trigger))}))
    return task.resume_execution(deferred.method_name, kwargs, context(ti))


def lists(world: World) -> int:
    return calls(world).get("ListReadSets", 0)


@pytest.mark.parametrize("status", WAITING)
def test_a_wait_goes_on_until_the_read_set_is_active(world: World, ti: TaskInstance, mode: str, status: str) -> None:
    (read_set, *_) = world.read_sets
    become(world, read_set, status)
    went_on: list[bool] = []

    def activate() -> None:
        went_on.append(True)
        become(world, read_set, "ACTIVE")

    found = end(sensor(world, read_set, mode), ti, activate)
    assert went_on
    assert found.error is None
    assert found.result["read_set_id"] == read_set


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "midway"])
@pytest.mark.parametrize("status", FAILED)
def test_a_read_set_that_will_not_be_active_fails_at_once(
    world: World, ti: TaskInstance, mode: str, status: str, at_once: bool, many: bool
) -> None:
    others = world.local.add_read_sets(world.store, 12, "ARCHIVED") if many else []
    read_set = world.read_sets[0]
    world.local.archive_read_sets([read_set])

    def fail() -> None:
        world.local.set_read_set_status([read_set], status, "Bad reads.")

    if at_once:
        fail()
    found = end(sensor(world, [read_set, *others] if many else read_set, mode), ti, fail)
    assert isinstance(found.error, AirflowFailException)
    assert str(found.error).startswith(f"read set {read_set} is {status}: Bad reads. So it will not become ACTIVE.")
    assert world.store in str(found.error)
    assert ti.xcoms == {"failed_read_set_ids": [read_set]}
    json.dumps(ti.xcoms)


def test_what_is_returned(world: World, ti: TaskInstance, mode: str) -> None:
    first, second, _ = world.read_sets
    one = end(sensor(world, first, mode), ti).result
    uri = f"s3://123456789012-{world.store}-s3alias/123456789012/sequenceStore/{world.store}/readSet"
    assert one == {
        "read_set_id": first,
        "sequence_store_id": world.store,
        "status": "ACTIVE",
        "name": "sample",
        "status_message": None,
        "file_type": "FASTQ",
        "uris": {"source1": f"{uri}/{first}/sample.fastq"},
    }
    asked = [second, first, second]
    found = end(sensor(world, asked, mode), ti).result
    assert [each["read_set_id"] for each in found] == asked
    assert found[1] == one
    assert ti.xcoms == {}


def test_an_empty_list_succeeds_without_a_call(world: World, ti: TaskInstance, mode: str) -> None:
    task = sensor(world, "{{ nothing }}", mode)
    task.read_set_ids = []
    assert end(task, ti).result == []
    assert calls(world) == {}


@pytest.mark.parametrize("wrong", [[], "12", ["1234567890", None], {"id": "1234567890"}], ids=str)
def test_ids_that_cannot_be_right(world: World, wrong: Any) -> None:
    with pytest.raises(OmicsArgumentError, match="read_set_ids"):
        sensor(world, wrong)


def test_a_list_of_many_is_listed_and_told_in_full_at_the_end(world: World, ti: TaskInstance, mode: str) -> None:
    many = world.local.add_read_sets(world.store, 250, "ARCHIVED")
    wanted = many[::-10]
    counts: list[dict[str, int]] = []

    def activate() -> None:
        counts.append(calls(world))
        world.local.set_read_set_status(wanted, "ACTIVE")

    found = end(sensor(world, wanted, mode), ti, activate).result
    assert counts == [{"ListReadSets": 3}]
    assert [each["read_set_id"] for each in found] == wanted
    assert all(each["uris"] for each in found)
    assert calls(world)["GetReadSetMetadata"] == len(wanted)


def test_a_list_goes_through_no_more_pages_than_there_are_unknown_ids(world: World, ti: TaskInstance) -> None:
    world.local.add_read_sets(world.store, 1300)
    wanted = [*world.read_sets, *world.local.add_read_sets(world.store, 10)]
    assert len(end(sensor(world, wanted), ti).result) == 13
    assert lists(world) == 10
    assert calls(world)["GetReadSetMetadata"] == 13


def test_up_to_ten_are_asked_for_one_by_one(world: World, ti: TaskInstance) -> None:
    assert len(end(sensor(world, world.local.add_read_sets(world.store, 10)), ti).result) == 10
    assert calls(world) == {"GetReadSetMetadata": 10}


def test_without_the_permission_to_list_each_is_asked_for(world: World, ti: TaskInstance, mode: str) -> None:
    many = world.local.add_read_sets(world.store, 12)
    world.local.add_fault(operation="ListReadSets", error="AccessDeniedException", http_status=403)
    assert len(end(sensor(world, many, mode), ti).result) == 12


def test_one_that_is_not_found_fails_after_5_minutes(
    world: World, ti: TaskInstance, mode: str, logs: Callable[[], list[str]]
) -> None:
    task = sensor(world, [world.read_sets[0], NOWHERE], mode)

    def later() -> None:
        world.local.advance(299)
        if mode == "poke":
            assert not task.poke(context(ti))
        world.local.advance(3)
        if mode == "reschedule":  # where Airflow's clock tells how long the wait has been
            ti.__init__(datetime.now(UTC) - timedelta(seconds=301))  # type: ignore[misc]
        if mode == "deferrable":  # the triggerer begins to count with its first round
            world.local.advance(-302)
            timer.start()

    timer = threading.Timer(1.5, world.local.advance, [301])
    found = end(task, ti, later)
    assert isinstance(found.error, OmicsNotFoundError)
    assert str(found.error).startswith("ResourceNotFoundException on GetReadSetMetadata")
    assert NOWHERE in str(found.error)
    assert str(found.error).endswith("It was not found for 5 minutes.")
    assert ti.xcoms["failed_read_set_ids"] == [NOWHERE]
    assert any("It is asked for until it was not found for 5 minutes." in line for line in logs())


def test_one_that_is_found_late_is_waited_for(world: World, ti: TaskInstance, mode: str) -> None:
    coming = str(int(world.read_sets[-1]) + 1)

    def come() -> None:
        assert world.local.add_read_sets(world.store) == [coming]

    assert end(sensor(world, coming, mode), ti, come).result["read_set_id"] == coming


def test_a_rescheduled_wait_for_less_than_5_minutes_goes_on(world: World) -> None:
    with pytest.raises(AirflowRescheduleException):
        sensor(world, NOWHERE, "reschedule").execute(context(TaskInstance(datetime.now(UTC) - timedelta(minutes=4))))


def test_what_is_archived_is_said_at_every_tenth_look(world: World, logs: Callable[[], list[str]]) -> None:
    read_set = world.read_sets[0]
    world.local.archive_read_sets([read_set])
    said = f"read set {read_set} in sequence store {world.store} is ARCHIVED. Unless somebody activates it"

    def count() -> int:
        return sum(said in line for line in logs())

    task = sensor(world, read_set)
    for _ in range(11):
        task.poke(context(TaskInstance()))
    assert count() == 2


@pytest.mark.parametrize(("looks", "says"), [(0, True), (1, False), (9, False), (10, True), (11, False)])
def test_what_is_archived_is_said_at_every_tenth_interval_of_reschedules(
    world: World, logs: Callable[[], list[str]], looks: int, says: bool
) -> None:
    world.local.archive_read_sets()
    first = datetime.now(UTC) - timedelta(seconds=60 * looks + 20)
    with pytest.raises(AirflowRescheduleException):
        sensor(world, world.read_sets, "reschedule", poke_interval=60).execute(context(TaskInstance(first)))
    assert any("is ARCHIVED. Unless" in line for line in logs()) is says


def test_an_unknown_status_is_logged(world: World, ti: TaskInstance, mode: str, logs: Callable[[], list[str]]) -> None:
    read_set = world.read_sets[0]
    become(world, read_set, "A_NEW_STEP")
    end(sensor(world, read_set, mode), ti, lambda: become(world, read_set, "ACTIVE"))
    assert any("has a status unknown to this version: 'A_NEW_STEP'. Waiting on." in line for line in logs())


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("soft_fail", [False, True], ids=["hard", "soft"])
def test_a_timeout_says_what_is_waited_for(world: World, mode: str, soft_fail: bool, many: bool) -> None:
    archived = world.read_sets[0]
    world.local.archive_read_sets([archived])
    task = sensor(world, world.read_sets if many else archived, mode, soft_fail=soft_fail, timeout=0)
    ti = TaskInstance(datetime.now(UTC) - timedelta(seconds=5))
    found = end(task, ti)
    assert isinstance(found.error, AirflowSkipException if soft_fail else AirflowSensorTimeout)
    named = f"{archived} in sequence store {world.store}"
    what = f"1 of 3 read sets are not known to be ACTIVE: {named}" if many else f"read set {named} is ARCHIVED"
    assert str(found.error).startswith(f"Timed out after 0 s: {what} (")


def test_a_timeout_says_what_is_not_found(world: World, mode: str) -> None:
    found = end(sensor(world, NOWHERE, mode, timeout=0), TaskInstance(datetime.now(UTC) - timedelta(seconds=5)))
    assert f"is not known to be ACTIVE; not found: {NOWHERE} (" in str(found.error)


def test_soft_fail_skips_what_will_not_be_active(world: World, ti: TaskInstance, mode: str) -> None:
    world.local.set_read_set_status(world.read_sets, "DELETING")
    found = end(sensor(world, world.read_sets, mode, soft_fail=True), ti)
    assert isinstance(found.error, AirflowSkipException)
    assert "is DELETING" in str(found.error)


@pytest.mark.parametrize("fault", [{"error": "ThrottlingException"}, {"action": "reset"}], ids=str)
def test_what_passes_by_itself_is_waited_out(
    world: World, ti: TaskInstance, mode: str, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    good = connection(world.local, config_kwargs=ONE_TRY)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(good))
    world.local.add_fault(**fault)
    assert len(end(sensor(world, world.read_sets, mode), ti, world.local.clear_faults).result) == 3


@pytest.mark.parametrize(
    ("error", "raised"),
    [("AccessDeniedException", OmicsRefusedError), ("UnrecognizedClientException", OmicsCredentialsError)],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "midway"])
def test_what_aws_refuses_ends_the_wait(
    world: World, ti: TaskInstance, mode: str, error: str, raised: type[Exception], at_once: bool
) -> None:
    world.local.archive_read_sets()

    def refuse() -> None:
        world.local.add_fault(error=error, http_status=403)

    if at_once:
        refuse()
    found = end(sensor(world, world.read_sets, mode), ti, refuse)
    assert type(found.error) is raised
    assert str(found.error).startswith(f"{error} on GetReadSetMetadata")


@pytest.mark.parametrize("event", [None, {}, {"status": "odd"}, [1]], ids=str)
def test_an_event_that_cannot_be_right(world: World, ti: TaskInstance, event: Any) -> None:
    with pytest.raises(OmicsEventError):
        sensor(world, world.read_sets, "deferrable").execute_complete(context(ti), event)


@pytest.mark.parametrize("event", [trigger_events.ended([]), trigger_events.due()], ids=str)
def test_a_woken_task_looks_itself(world: World, ti: TaskInstance, event: Any) -> None:
    found = sensor(world, world.read_sets, "deferrable").execute_complete(context(ti), event)
    assert [each["read_set_id"] for each in found] == world.read_sets


def test_waits_of_a_store_share_one_poll(world: World) -> None:
    many = world.local.add_read_sets(world.store, 30, "ARCHIVED")

    def trigger(read_set: str) -> OmicsReadSetJobTrigger:
        arguments: dict[str, Any] = {"sequence_store_id": world.store, "poll_interval": 0.3}
        return OmicsReadSetJobTrigger(kind="read set", job_ids=[read_set], **arguments)

    async def wait_for_all() -> list[Any]:
        tasks = [asyncio.create_task(event_of(trigger(each))) for each in many]
        await until(lambda: lists(world) >= 2)
        assert len(threads()) == 1
        world.local.set_read_set_status(many, "ACTIVE")
        return await asyncio.gather(*tasks)

    assert run(wait_for_all()) == [{"status": "over", "jobs": None}] * 30
    assert "GetReadSetMetadata" not in calls(world)


def test_a_trigger_tells_of_a_wrong_argument() -> None:
    trigger = OmicsReadSetJobTrigger(kind="read set", sequence_store_id="1", job_ids=["1234567890"])
    event = asyncio.run(event_of(trigger))
    assert (event["status"], event["error"]) == ("error", "OmicsArgumentError")
    with pytest.raises(AirflowException):
        trigger_events.parse(event, READ_SET, "1", [])


# --- many, of which few or one will not be active


def test_the_last_of_many_fails_at_once_also_where_nothing_is_listed(world: World, ti: TaskInstance, mode: str) -> None:
    many = world.local.add_read_sets(world.store, 12, "ARCHIVED")
    world.local.set_read_set_status(many[-1:], "UPLOAD_FAILED", "Torn")
    world.local.add_fault(operation="ListReadSets", error="AccessDeniedException")
    found = end(sensor(world, many, mode), ti)
    assert str(found.error).startswith(f"read set {many[-1]} is UPLOAD_FAILED: Torn. ")


def test_one_of_many_that_is_not_found_is_not_left_to_chance(world: World, ti: TaskInstance) -> None:
    many = world.local.add_read_sets(world.store, 60)
    world.local.archive_read_sets(many[:1])
    world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=many[-1:])
    task = sensor(world, many)
    assert not task.poke(context(ti))
    world.local.advance(301)
    with pytest.raises(OmicsNotFoundError, match=many[-1]):
        task.poke(context(ti))


def test_one_failed_and_one_gone_are_both_told(world: World, ti: TaskInstance) -> None:
    failed = world.read_sets[0]
    task = sensor(world, [NOWHERE, *world.read_sets])
    world.local.archive_read_sets([world.read_sets[1]])
    assert not task.poke(context(ti))
    world.local.set_read_set_status([failed], "UPLOAD_FAILED")
    world.local.advance(301)
    with pytest.raises(AirflowFailException, match=f"read set {failed} is UPLOAD_FAILED"):
        task.poke(context(ti))
    assert ti.xcoms["failed_read_set_ids"] == [failed, NOWHERE]


def test_what_was_active_when_the_trigger_told_is_asked_for_again(world: World, ti: TaskInstance) -> None:
    early, late = world.read_sets[:2]
    world.local.archive_read_sets([late])
    task = sensor(world, [early, late], "deferrable")
    with pytest.raises(TaskDeferred) as left:
        task.execute(context(ti))

    async def be_woken() -> Any:
        waiting = asyncio.create_task(event_of(left.value.trigger))
        await until(lambda: calls(world)["GetReadSetMetadata"] > 3)
        world.local.set_read_set_status([early], "DELETED")
        world.local.set_read_set_status([late], "ACTIVE")
        return await waiting

    event = json.loads(json.dumps(run(be_woken())))
    with pytest.raises(AirflowFailException, match=f"read set {early} is DELETED"):
        task.execute_complete(context(ti), event)


def test_what_is_archived_is_said_in_one_line(world: World, ti: TaskInstance, logs: Callable[[], list[str]]) -> None:
    many = world.local.add_read_sets(world.store, 50, "ARCHIVED")
    assert not sensor(world, many).poke(context(ti))
    assert len([line for line in logs() if "ARCHIVED" in line]) < 15


def test_what_is_active_is_not_logged_one_by_one(world: World, ti: TaskInstance, logs: Callable[[], list[str]]) -> None:
    many = world.local.add_read_sets(world.store, 50)
    world.local.archive_read_sets(many[:1])
    assert not sensor(world, many).poke(context(ti))
    assert not [line for line in logs() if "is ACTIVE" in line or ": ACTIVE" in line]
