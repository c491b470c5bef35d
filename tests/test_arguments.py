"""What is found when a DAG is parsed, and what when templates are rendered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from conftest import ROLE, SENSORS
from jinja2 import Undefined
from starting import DESTINATION, OPERATORS
from versions import DAG, dag, task, task_group

from airflow_omics._airflow import AirflowFailException
from airflow_omics._arguments import check, parse_ids, parse_seconds, parse_sources, parse_token
from airflow_omics._service.kind import Kind
from airflow_omics.exceptions import OmicsArgumentError
from airflow_omics.jobs import ReadSetJobKind

ID = "1234567890"


def in_words(value: object) -> str:
    """Name a case the same in every process that runs tests."""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))


class Whole:
    """A whole number that is no int, like numpy's."""

    def __repr__(self) -> str:
        return type(self).__name__

    def __index__(self) -> int:
        return int(ID)


class Real:
    """A number that is no float, like numpy's."""

    def __repr__(self) -> str:
        return type(self).__name__

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Lazy(Sequence[Any]):
    """A sequence that is no list, like what a mapped task returned."""

    def __init__(self, elements: list[Any]) -> None:
        self.elements = elements

    def __getitem__(self, index: Any) -> Any:
        return self.elements[index]

    def __len__(self) -> int:
        return len(self.elements)


@pytest.mark.parametrize(
    ("job_id", "named"),
    [
        (None, "job_id is None"),
        (5, "job_id is 5"),
        (True, "job_id is True"),
        (-1234567890, "job_id is -1234567890"),
        (1234567890.0, "job_id is 1234567890.0"),
        ([], "job_id is []"),
        ("", "job_id is ''"),
        ("123456789", "job_id is '123456789'"),
        ("1" * 37, "job_id is '1111"),
        ("job-1234567890", "job_id is 'job-1234567890'"),
        ("1234567890\n", "job_id is '1234567890\\n'"),
        ("١٢٣٤٥٦٧٨٩٠", "job_id is"),
        ([ID, "one"], "job_id[1] is 'one'"),
        ([ID, 5], "job_id[1] is 5"),
        ([ID, [ID, "one"]], "job_id[1][1] is 'one'"),
        (["{{ params.job }}", "one"], "job_id[1] is 'one'"),
        ([[], []], "job_id is [[], []]"),
        ({"id": ID}, "job_id is {"),
        ({ID}, "job_id is {"),
        (b"1234567890", "job_id is b'1234567890'"),
    ],
    ids=str,
)
def test_what_cannot_be_an_id_is_found_at_parse_time(kind: Kind, job_id: Any, named: str) -> None:
    with pytest.raises(OmicsArgumentError) as caught:
        SENSORS[kind](task_id="wait", **{kind.store.argument: ID}, job_id=job_id)
    assert named in str(caught.value)
    assert "10 to 36 digits" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("store", [None, "", "mine", 5, [ID]], ids=str)
def test_a_store_that_cannot_be_one_is_found_at_parse_time(store: Any) -> None:
    with pytest.raises(OmicsArgumentError, match="sequence_store_id is"):
        SENSORS[ReadSetJobKind.EXPORT](task_id="wait", sequence_store_id=store, job_id=ID)


def test_what_is_rendered_later_passes_at_parse_time() -> None:
    with DAG("arguments", schedule=None):

        @task
        def start() -> str:
            return ID

        sensor = SENSORS[ReadSetJobKind.EXPORT]
        sensor(task_id="template", sequence_store_id="{{ params.store }}", job_id="{{ ti.xcom_pull('start') }}")
        sensor(task_id="xcom", sequence_store_id=start(), job_id=start())
        sensor(task_id="lists", sequence_store_id=ID, job_id=[[start()], [ID, "{{ params.job }}"]])
        sensor(task_id="list", sequence_store_id=ID, job_id=["{{ params.job }}", start(), ID])
        sensor.partial(task_id="mapped", sequence_store_id=ID).expand(job_id=[ID, ID])
        sensor(task_id="callable", sequence_store_id=ID, job_id=lambda context, jinja_env: ID)

        @task_group
        def group(job_id: str) -> None:
            sensor(task_id="in_group", sequence_store_id=ID, job_id=job_id)

        group.expand(job_id=[ID, ID])

    @dag(schedule=None)
    def argument_of_a_dag(job_id: str = ID) -> None:
        sensor(task_id="argument", sequence_store_id=ID, job_id=job_id)

    argument_of_a_dag()


@pytest.mark.parametrize(
    ("rendered", "ids"),
    [
        (ID, [ID]),
        (1234567890, [ID]),  # what render_template_as_native_obj makes of it
        (Whole(), [ID]),
        ([Whole()], [ID]),
        (range(1234567890, 1234567892), [ID, "1234567891"]),
        ([[ID], [], [[2345678901], (ID,)]], [ID, "2345678901", ID]),
        (Lazy([ID, Lazy([ID])]), [ID, ID]),
        (iter([ID]), [ID]),
        ([ID, 2345678901], [ID, "2345678901"]),
        ((ID,), [ID]),
        ({ID: 0}.keys(), [ID]),  # like what a mapped task returned: neither list nor tuple
    ],
    ids=in_words,
)
def test_rendered_ids(rendered: Any, ids: list[str]) -> None:
    assert parse_ids("job_id", rendered) == ids


@pytest.mark.parametrize(
    ("rendered", "named"),
    [
        (f"['{ID}']", "list written as text"),
        (None, "job_id is None"),
        (Undefined(name="missing"), "job_id is Undefined"),
        ([Undefined(name="missing")], "job_id[0] is Undefined"),
        ({ID}, "job_id is {'1234567890'}"),
        ([ID, [None]], "job_id[1][0] is None"),
        (True, "job_id is True"),
        (b"1234567890", "job_id is b'1234567890'"),
        ({"id": ID}, "job_id is {"),
        ([], "job_id is []"),
    ],
    ids=str,
)
def test_rendered_nonsense(rendered: Any, named: str) -> None:
    with pytest.raises(OmicsArgumentError) as caught:
        parse_ids("job_id", rendered)
    assert named in str(caught.value)


def test_a_list_that_holds_itself_is_refused(kind: Kind) -> None:
    endless: list[Any] = [ID]
    endless += [endless, endless]
    with pytest.raises(OmicsArgumentError, match=r"job_id(\[1\])+ is .*no list in more than 9 lists"):
        SENSORS[kind](task_id="wait", **{kind.store.argument: ID}, job_id=endless)
    with pytest.raises(OmicsArgumentError, match="no list in more than 9 lists"):
        parse_ids("job_id", endless)
    with pytest.raises(OmicsArgumentError, match="no list in more than 9 lists"):
        check(parse_sources, "sources", endless[1:])


@pytest.mark.parametrize("nested", [False, True])
def test_what_can_be_read_only_once_is_refused_when_the_dag_is_parsed(nested: bool) -> None:
    ids: Any = (each for each in [ID])
    with pytest.raises(OmicsArgumentError, match=r"job_id is .*expected a list"):
        SENSORS[ReadSetJobKind.EXPORT](task_id="wait", sequence_store_id=ID, job_id=[ids] if nested else ids)
    with pytest.raises(OmicsArgumentError, match=r"sources is .*expected a list"):
        check(parse_sources, "sources", [ids] if nested else ids)


@pytest.mark.parametrize("value", [1234567890, Whole(), Lazy([ID]), range(1234567890, 1234567892)], ids=in_words)
def test_what_is_taken_when_the_task_runs_is_taken_when_the_dag_is_parsed(kind: Kind, value: Any) -> None:
    parse_ids("job_id", value)
    SENSORS[kind](task_id="wait", **{kind.store.argument: Whole()}, job_id=value)
    with DAG("mapped", schedule=None):
        mapped = SENSORS[kind].partial(task_id="mapped", **{kind.store.argument: Whole()}).expand(job_id=[value, value])
        assert mapped.unmap({"job_id": value}).job_id is value


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(Real(1.5), 1.5), (Whole(), None), (Decimal("1.5"), 1.5), (timedelta(minutes=1), 60)],
    ids=str,
)
def test_seconds_of_any_library(value: Any, seconds: float | None) -> None:
    if seconds is None:  # that is 39 years
        with pytest.raises(OmicsArgumentError, match="timeout is"):
            parse_seconds("timeout", value)
    else:
        sensor = SENSORS[ReadSetJobKind.EXPORT](
            task_id="wait", sequence_store_id=ID, job_id=ID, mode="poke", poke_interval=value, timeout=value
        )
        assert (sensor.poke_interval, sensor.timeout) == (seconds, seconds)


@pytest.mark.parametrize("value", [True, "5", Real(float("nan")), Real(float("inf")), -1, b"5", None, [5]], ids=str)
def test_what_are_no_seconds(value: Any) -> None:
    with pytest.raises(OmicsArgumentError, match=r"poke_interval is .*expected seconds"):
        SENSORS[ReadSetJobKind.EXPORT](task_id="wait", sequence_store_id=ID, job_id=ID, poke_interval=value)


@pytest.mark.parametrize("value", [True, 0, -1, 1.5, "5", Real(5.0)], ids=str)
def test_what_is_no_number_of_jobs(value: Any) -> None:
    def start(count: Any) -> Any:
        return OPERATORS[ReadSetJobKind.EXPORT](
            task_id="start",
            sequence_store_id=ID,
            read_set_ids=ID,
            destination=DESTINATION,
            role_arn=ROLE,
            max_concurrent_jobs=count,
        )

    with pytest.raises(OmicsArgumentError, match=r"max_concurrent_jobs is .*whole number of at least 1"):
        start(value)
    assert start(Whole()).max_concurrent_jobs == int(ID)
    assert parse_token("client_token", Whole()) == ID
