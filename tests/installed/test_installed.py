"""The wheel, installed as users of Amazon MWAA install it: beside what their image has, under its constraints."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import matrix
import pytest

ROOT = Path(__file__).parent.parent.parent
MWAA = [name for name in matrix.ROWS if name.startswith("mwaa")]

QUIET = """
import importlib, pkgutil, warnings
for name in ("hooks.base_aws", "operators.base_aws", "sensors.base_aws", "triggers.base"):
    importlib.import_module(f"airflow.providers.amazon.aws.{name}")
import airflow_omics
with warnings.catch_warnings():
    warnings.simplefilter("error")  # what the Amazon provider itself warns of is over by now
    for module in pkgutil.walk_packages(airflow_omics.__path__, "airflow_omics."):
        if not module.name.startswith("airflow_omics.local"):
            importlib.import_module(module.name)
"""

UNTOUCHED = """
import sys
import airflow_omics.operators, airflow_omics.sensors
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec")
exec(code, {"__name__": "first"})  # what Airflow itself imports and looks up but once
touched = []
def watch(event, arguments):
    if event.startswith(("open", "socket.", "subprocess.", "os.system")):
        touched.append((event, *map(str, arguments)))
sys.addaudithook(watch)
exec(code, {"__name__": "second"})
assert not touched, touched
"""


class Image:
    """An environment like that of an MWAA image, without anything of ours."""

    def __init__(self, row: str, folder: Path) -> None:
        self.constraints = matrix.CONSTRAINTS / f"{row}.txt"
        self.bin = folder / "venv" / "bin"
        self.home = folder / "airflow"
        matrix.run(*matrix.UV, "venv", "--python", matrix.find_python(matrix.ROWS[row].python), str(folder / "venv"))
        self.install("pip", *(each for each in matrix.ROWS[row].requirements if "==" in each))

    def install(self, *what: str) -> None:
        python = str(self.bin / "python")
        matrix.run(*matrix.UV, "pip", "install", "--python", python, "-c", str(self.constraints), *what)

    def installed(self) -> dict[str, str]:
        listed = self.run("python", "-m", "pip", "list", "--format", "json", "--disable-pip-version-check")
        return {each["name"]: each["version"] for each in json.loads(listed)}

    def run(self, *command: str) -> str:
        """Run a program of this environment, which may find nothing of ours outside of it."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "PYTHON"))
        }
        env = clean | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        }
        done = subprocess.run(
            [self.bin / command[0], *command[1:]], cwd=self.bin, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = ("build", "--wheel", "--build-constraints", str(ROOT / "constraints" / "build.txt"))
    matrix.run(*matrix.UV, *build, "--out-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.parametrize("row", MWAA)
def test_the_wheel_goes_beside_what_an_image_has(row: str, wheel: Path, tmp_path: Path) -> None:
    image = Image(row, tmp_path)
    before = image.installed()
    image.install(str(wheel))
    after = image.installed()
    assert after == before | {"airflow-omics": after["airflow-omics"]}
    assert "No broken requirements" in image.run("python", "-m", "pip", "check")

    image.run("airflow", "db", "migrate")
    assert "airflow-omics" in image.run("airflow", "providers", "list", "--output", "plain")
    image.run("airflow", "dags", "reserialize")
    errors = image.run("airflow", "dags", "list-import-errors", "--output", "plain")
    assert "No data found" in errors, errors
    assert "read_sets" in image.run("airflow", "dags", "list", "--output", "plain")

    image.run("python", "-c", QUIET)
    image.run("python", "-c", UNTOUCHED, str(ROOT / "example_dags" / "read_sets.py"))
