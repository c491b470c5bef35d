"""What sensors and operators make of the values that templates and XComs bring: one or many, nested, none, wrong."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import ONE_TRY, SENSORS, TaskInstance, World, through_triggerer
from starting import OPERATORS, operator, processed
from test_arguments import ID, Lazy
from versions import DAG, task

from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import OmicsArgumentError
from airflow_omics.jobs import ReadSetJobKind

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
EMPTY: dict[str, Any] = {"list": [], "lists": [[], [[]]], "tuple": (), "lazy": Lazy([]), "generator": iter([])}


class Number(int):
    """A whole number of another library."""

    def __repr__(self) -> str:
        return type(self).__name__


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("empty", EMPTY)
def test_an_empty_list_of_jobs_is_nothing_to_wait_for(
    world: World, ti: TaskInstance, kind: Kind, mode: str, empty: str
) -> None:
    sensor = world.sensor(kind, "{{ params.jobs }}", **MODES[mode])
    before = len(world.local.calls())
    sensor.job_id = EMPTY[empty]
    assert sensor.execute({"ti": ti}) == []
    assert len(world.local.calls()) == before


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("try_number", [1, 2])
def test_an_empty_list_of_read_sets_is_nothing_to_start(
    world: World, ti: TaskInstance, kind: Kind, wait: bool, deferrable: bool, try_number: int
) -> None:
    ti.try_number = try_number
    start = operator(world, kind, "{{ params.items }}", wait_for_completion=wait, deferrable=deferrable)
    before = len(world.local.calls())
    setattr(start, "sources" if kind.makes_items else "read_set_ids", [[], []])
    assert start.execute({"ti": ti}) == []
    assert len(world.local.calls()) == before


def test_an_empty_list_is_taken_in_a_mapped_task_and_refused_in_a_dag(world: World, ti: TaskInstance) -> None:
    export = ReadSetJobKind.EXPORT
    with DAG("mapped", schedule=None):
        waits = SENSORS[export].partial(task_id="wait", sequence_store_id=ID).expand(job_id=[[]])
        starts = OPERATORS[ReadSetJobKind.IMPORT].partial(
            task_id="start", sequence_store_id=ID, role_arn="arn:aws:iam::123456789012:role/HealthOmics"
        )
        activations = OPERATORS[ReadSetJobKind.ACTIVATION].partial(task_id="active", sequence_store_id=ID)
        for mapped, name in (
            (waits, "job_id"),
            (starts.expand(sources=[[]]), "sources"),
            (activations.expand(read_set_ids=[[]]), "read_set_ids"),
        ):
            assert mapped.unmap({name: []}).execute({"ti": ti}) == []
    for kind, items in ((export, []), (ReadSetJobKind.IMPORT, [[]]), (ReadSetJobKind.ACTIVATION, ())):
        with pytest.raises(OmicsArgumentError, match="at least one"):
            operator(world, kind, items)


def test_no_xcom_is_no_empty_list(world: World, ti: TaskInstance, kind: Kind) -> None:
    sensor: Any = world.sensor(kind, "{{ x }}")
    start = operator(world, kind, "{{ x }}")
    name = "sources" if kind.makes_items else "read_set_ids"
    sensor.job_id = None
    setattr(start, name, None)
    with pytest.raises(OmicsArgumentError, match="job_id is None"):
        sensor.execute({"ti": ti})
    with pytest.raises(OmicsArgumentError, match=f"{name} is None"):
        start.execute({"ti": ti})


@pytest.mark.parametrize("mode", MODES)
def test_jobs_of_several_tasks(world: World, ti: TaskInstance, mode: str) -> None:
    first, second, third = (world.job(ReadSetJobKind.EXPORT, "COMPLETED") for _ in range(3))
    sensor = world.sensor(ReadSetJobKind.EXPORT, "{{ params.jobs }}", **MODES[mode])
    sensor.job_id = [third, Lazy([Number(first)]), [[second], []]]
    assert [job["job_id"] for job in through_triggerer(sensor, ti)] == [third, first, second]
    sensor.job_id = Number(first)
    assert through_triggerer(sensor, ti)["job_id"] == first


def test_a_generator_is_read_once(world: World, ti: TaskInstance) -> None:
    job_id = world.start(ReadSetJobKind.EXPORT)
    sensor: Any = world.sensor(ReadSetJobKind.EXPORT, "{{ params.jobs | map('string') }}", mode="poke")
    sensor.job_id = (each for each in [job_id])
    assert not sensor.poke({"ti": ti})
    assert not sensor.poke({"ti": ti})
    start: Any = operator(
        world, ReadSetJobKind.ACTIVATION, "{{ x }}", wait_for_completion=False, botocore_config=ONE_TRY
    )
    start.read_set_ids = (each for each in world.read_sets)
    world.local.archive_read_sets()
    world.local.add_fault(operation="GetReadSetMetadata", error="InternalServerException", times=1)
    assert len(start.execute({"ti": ti})) == 1
    assert world.local.call_counts()["GetReadSetMetadata"] == 4


def test_a_wrong_job_is_named_by_its_place(world: World, ti: TaskInstance) -> None:
    sensor: Any = world.sensor(ReadSetJobKind.EXPORT, "{{ params.jobs }}")
    sensor.job_id = [ID, [None, ID]]
    with pytest.raises(OmicsArgumentError, match=r"^job_id\[1\]\[0\] is None"):
        sensor.execute({"ti": ti})


def test_read_sets_alone_as_numbers_and_of_several_tasks(fast: World, ti: TaskInstance) -> None:
    alone, *others = fast.read_sets
    export = ReadSetJobKind.EXPORT
    for items in (alone, Number(alone)):
        operator(fast, export, items, client_token=str(type(items))).execute({"ti": ti})
    assert processed(fast, export) == {alone: 2}
    operator(fast, export, [[alone], Lazy([Number(others[0])]), others], client_token="3").execute({"ti": ti})
    assert processed(fast, export) == {alone: 3, others[0]: 1, others[1]: 1}


def test_sources_alone_and_of_several_tasks(fast: World, ti: TaskInstance) -> None:
    alone, *others = fast.sources
    operator(fast, ReadSetJobKind.IMPORT, alone).execute({"ti": ti})
    (job,) = operator(fast, ReadSetJobKind.IMPORT, [[others[0]], Lazy([others[1]])]).execute({"ti": ti})
    assert len(job["finished"]) == 2
    for sources, place in (
        ({**alone, "sampleId": 5}, r"sources\['sampleId'\]"),
        ([[alone], [5]], r"sources\[1\]\[0\]"),
    ):
        with pytest.raises(OmicsArgumentError, match=f"^{place} is 5"):
            operator(fast, ReadSetJobKind.IMPORT, sources)


@pytest.mark.parametrize(
    ("count", "named"), [(1, "start_0."), (3, "start_0, start_1, start_2."), (5, "_2 and 2 more.")]
)
@pytest.mark.parametrize("missing", [None, "None"])
def test_a_missing_xcom_is_told_with_the_upstream_tasks(
    world: World, ti: TaskInstance, count: int, named: str, missing: Any
) -> None:
    with DAG("upstream", schedule=None):
        sensor: Any = world.sensor(ReadSetJobKind.EXPORT, "{{ x }}")
        start: Any = operator(world, ReadSetJobKind.EXPORT, "{{ x }}")
        for number in range(count):

            @task(task_id=f"start_{number}")
            def upstream() -> None: ...

            upstream() >> [sensor, start]
    sensor.job_id = start.destination = missing
    for each in (sensor, start):
        with pytest.raises(OmicsArgumentError, match="An upstream task may have pushed no XCom: start_0") as caught:
            each.execute({"ti": ti})
        assert str(caught.value).endswith(named)
    start.destination, start.read_set_ids = "s3://bucket/", [missing]
    with pytest.raises(OmicsArgumentError, match=r"read_set_ids\[0\] is .*pushed no XCom"):
        start.execute({"ti": ti})
    sensor.job_id = "5"
    with pytest.raises(OmicsArgumentError, match="job_id is '5'") as caught:
        sensor.execute({"ti": ti})
    assert "XCom" not in str(caught.value)


def test_no_xcom_is_told_of_where_there_is_no_upstream_task(world: World, ti: TaskInstance) -> None:
    sensor: Any = world.sensor(ReadSetJobKind.EXPORT, "{{ x }}")
    start: Any = operator(world, ReadSetJobKind.EXPORT, "{{ x }}")
    sensor.job_id = start.read_set_ids = None
    tries: list[Any] = [
        lambda: sensor.execute({"ti": ti}),
        lambda: start.execute({"ti": ti}),
        lambda: world.sensor(ReadSetJobKind.EXPORT, None),
        lambda: operator(world, ReadSetJobKind.EXPORT, None),
    ]
    for each in tries:
        with pytest.raises(OmicsArgumentError, match="is None") as caught:
            each()
        assert "XCom" not in str(caught.value)
