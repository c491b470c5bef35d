"""What Airflow sees of the distribution, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points, requires
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from packaging.requirements import Requirement

import airflow_omics
from airflow_omics.get_provider_info import get_provider_info

ROOT = Path(__file__).parent.parent


def python(code: str) -> str:
    """Run code in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_provider_info_is_valid_against_airflows_own_schema() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_lists_the_provider() -> None:
    airflow = Path(sys.executable).with_name("airflow")
    done = subprocess.run(
        [airflow, "providers", "list", "--output", "json"], capture_output=True, text=True, check=True
    )
    listed = {each["package_name"]: each for each in json.loads(done.stdout[done.stdout.index("[{") :])}
    assert listed["airflow-omics"]["version"] == airflow_omics.__version__


def test_the_entry_point_leads_to_the_provider_info() -> None:
    (entry,) = [
        each for each in entry_points(group="apache_airflow_provider") if each.value.startswith("airflow_omics")
    ]
    assert entry.load() is get_provider_info


def test_there_are_three_runtime_dependencies() -> None:
    needed = [Requirement(each) for each in requires("airflow-omics") or []]
    assert {each.name for each in needed if each.marker is None} == {
        "apache-airflow",
        "apache-airflow-providers-amazon",
        "boto3",
    }


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("airflow_omics.get_provider_info", "airflow boto3 botocore"),
        ("airflow_omics.jobs", "airflow boto3 botocore"),
    ],
)
def test_a_module_imports_no_more_than_it_may(module: str, unwanted: str) -> None:
    python(f"import sys, {module}; found = set(sys.modules) & set('{unwanted}'.split()); assert not found, found")


def test_parsing_the_example_dag_reaches_for_no_network_and_imports_no_more_than_it_may() -> None:
    python(
        "import socket, runpy, sys\n"
        "def refuse(*_): raise AssertionError('network at parse time')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        f"runpy.run_path({str(ROOT / 'example_dags' / 'read_sets.py')!r})\n"
        "assert 'airflow_omics.sensors' in sys.modules\n"
        "assert not {'airflow_omics.local', 'moto', 'aiobotocore'} & set(sys.modules)"
    )
