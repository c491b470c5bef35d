"""The README's DAG and test, taken from it and run in an empty folder as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from versions import IS_AIRFLOW_2

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_readmes_test_of_its_dag_passes(tmp_path: Path) -> None:
    dag, conftest, test = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
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
