"""What a type checker says of DAGs that pass what tasks return."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
(README_DAG, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
TYPED_DAG = """
from datetime import timedelta

from airflow.sdk import dag, task
from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator as Activate,
    OmicsStartReadSetExportJobOperator as Export,
    OmicsStartReadSetImportJobOperator as Import,
)
from airflow_omics.sensors import OmicsReadSetExportJobSensor as Wait


@task
def store() -> str:
    return "1234567890"


@task
def start() -> list[str]:
    return ["1234567890"]


@task
def files() -> list[dict[str, str]]:
    return []


@dag(schedule=None)
def typed() -> None:
    a, b = (
        Export(
            task_id=name,
            sequence_store_id=store(),
            read_set_ids=start(),
            destination=store(),
            role_arn="{{ params.role }}",
            client_token=store(),
            max_concurrent_jobs=5,
            poll_interval=timedelta(minutes=1),
            timeout=60,
        )
        for name in ("a", "b")
    )
    Wait(task_id="number", sequence_store_id=1234567890, job_id=1234567890)
    Wait(task_id="output", sequence_store_id=store(), job_id=a.output, poke_interval=timedelta(minutes=1))
    Wait(task_id="outputs", sequence_store_id="{{ params.store }}", job_id=[a.output, b.output])
    Wait(task_id="taskflow", sequence_store_id=store(), job_id=start())
    Wait(task_id="lists", sequence_store_id="1234567890", job_id=[start(), ["1234567890", a.output]])
    Wait(task_id="callable", sequence_store_id="1234567890", job_id=lambda context, jinja_env: "1234567890")
    Activate(task_id="activate", sequence_store_id=store(), read_set_ids=[a.output, start(), 1234567890])
    Import(task_id="import", sequence_store_id=store(), sources=files(), role_arn=store())
    Import(task_id="imports", sequence_store_id=store(), sources=[a.output, files(), {"name": "x"}], role_arn=store())
    Import(task_id="source", sequence_store_id=store(), sources={"name": "x"}, role_arn=store())

    Wait(task_id="none", sequence_store_id="1234567890", job_id=None)  # type: ignore[arg-type]
    Wait(task_id="dict", sequence_store_id="1234567890", job_id={"id": "1234567890"})  # type: ignore[arg-type]
    Wait(task_id="store", sequence_store_id=["1234567890"], job_id="1234567890")  # type: ignore[arg-type]
    Activate(task_id="number", sequence_store_id=store(), read_set_ids=1.5)  # type: ignore[arg-type]
    Import(task_id="wrong", sequence_store_id=store(), sources=5, role_arn=store())  # type: ignore[arg-type]


typed()
"""


@pytest.mark.thorough
def test_dags_pass_a_strict_type_checker(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "readme_dag.py").write_text(f"# mypy: allow-untyped-defs, allow-untyped-calls\n{README_DAG}")
    (tmp_path / "typed_dag.py").write_text(TYPED_DAG)
    command = [sys.executable, "-m", "mypy", "--warn-unused-ignores", *map(str, tmp_path.glob("*.py"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 source files" in done.stdout
