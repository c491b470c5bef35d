"""What is found when a DAG is parsed, and what when templates are rendered."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import SENSORS
from versions import DAG, dag, task, task_group

from airflow_omics.arguments import parse_ids
from airflow_omics.compat import AirflowFailException
from airflow_omics.exceptions import OmicsArgumentError
from airflow_omics.jobs import ReadSetJobKind

ID = "1234567890"


@pytest.mark.parametrize(
    ("job_id", "named"),
    [
        (None, "job_id is None"),
        (1234567890, "job_id is 1234567890"),
        ([], "job_id is []"),
        ("", "job_id is ''"),
        ("123456789", "job_id is '123456789'"),
        ("1" * 37, "job_id is '1111"),
        ("job-1234567890", "job_id is 'job-1234567890'"),
        ("1234567890\n", "job_id is '1234567890\\n'"),
        ("١٢٣٤٥٦٧٨٩٠", "job_id is"),
        ([ID, "one"], "job_id[1] is 'one'"),
        ([ID, 5], "job_id[1] is 5"),
        ({"id": ID}, "job_id is {"),
    ],
    ids=str,
)
def test_what_cannot_be_an_id_is_found_at_parse_time(kind: ReadSetJobKind, job_id: Any, named: str) -> None:
    with pytest.raises(OmicsArgumentError) as caught:
        SENSORS[kind](task_id="wait", sequence_store_id=ID, job_id=job_id)
    assert named in str(caught.value)
    assert "10 to 36 digits" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("store", [None, "", "mine", 1234567890, [ID]], ids=str)
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
        sensor(task_id="xcom", sequence_store_id=ID, job_id=start())
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
        ([ID, 2345678901], [ID, "2345678901"]),
        ((ID,), [ID]),
        ({ID: 0}.keys(), [ID]),  # like what a mapped task returned: neither list nor tuple
    ],
    ids=str,
)
def test_rendered_ids(rendered: Any, ids: list[str]) -> None:
    assert parse_ids("job_id", rendered) == ids


@pytest.mark.parametrize(
    ("rendered", "named"),
    [
        (f"['{ID}']", "list written as text"),
        (None, "may have pushed no XCom"),
        (True, "job_id is True"),
        (b"1234567890", "job_id is b'1234567890'"),
        ({"id": ID}, "job_id is {"),
        ([[ID]], r"job_id[0] is ['1234567890']"),
        ([], "job_id is []"),
    ],
    ids=str,
)
def test_rendered_nonsense(rendered: Any, named: str) -> None:
    with pytest.raises(OmicsArgumentError) as caught:
        parse_ids("job_id", rendered)
    assert named in str(caught.value)
