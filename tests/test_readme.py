"""What the documents say: the README's DAG and its test, run in an empty folder as a reader would; their figures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from versions import IS_AIRFLOW_2

from airflow_omics._service.limits import LONGEST_MESSAGE, LONGEST_TEXT, MOST_READ_SETS
from airflow_omics.jobs import ReadSetJob, ReadSetJobKind

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LOCAL, SENSORS = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("local", "sensors"))


def test_the_readmes_test_of_its_dag_passes(tmp_path: Path) -> None:
    (dag,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    conftest, test = re.findall(r"```python\n(.*?)```", LOCAL, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", LOCAL, re.DOTALL)
    if IS_AIRFLOW_2:
        dag = dag.replace("from airflow.sdk import", "from airflow.decorators import")  # as the README says
    (tmp_path / "dags").mkdir()
    for name, code in (("dags/activate.py", dag), ("conftest.py", conftest), ("test_activate.py", test)):
        (tmp_path / name).write_text(code)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {"PATH": path}
    done = subprocess.run(
        ["sh", "-e", "-c", commands], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("count", "id_", "message", "uri", "documented"),
    [(MOST_READ_SETS, LONGEST_TEXT, LONGEST_MESSAGE, LONGEST_TEXT, 5200), (100, 36, 127, 1093, 1400)],
    ids=["all that is kept", "all that AWS allows"],
)
def test_the_largest_summary_is_as_large_as_the_readme_says(
    count: int, id_: int, message: int, uri: int, documented: int
) -> None:
    item = {"readSetId": "1" * id_, "status": "FAILED", "statusMessage": "m" * message}
    sources = [{**item, "sourceFiles": {"source1": "s" * uri}}] * count
    answer = {"id": "2" * 36, "status": "FAILED", "statusMessage": "m" * message, "sources": sources}
    job = ReadSetJob.from_response(ReadSetJobKind.IMPORT, answer, sequence_store_id="1" * 36)
    size = len(json.dumps(job.summary()))
    assert documented * 0.9 < size / count < documented
    assert f"{documented:,} characters a read set" in SENSORS or f"no more than {documented:,}" in SENSORS
