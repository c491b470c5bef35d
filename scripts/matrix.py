"""
Run the test suite on every Airflow that this provider supports, and print a row for each. ``make matrix`` runs this.

A row is an environment in .matrix/, made from the pinned constraints of the same name and kept until those change.
The exit code is 0 only if no test failed anywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".matrix"
CONSTRAINTS = ROOT / "constraints" / "matrix"
PYTHONS = ("3.11", "3.12", "3.13")
UV = (str(Path(sys.executable).with_name("uv")), "--quiet", "--system-certs", "--no-config")
SHOWN = ("apache-airflow", "apache-airflow-providers-amazon", "apache-airflow-providers-common-compat", "boto3")


@dataclass(frozen=True)
class Row:
    """
    An environment.

    :param python: What its users run it on; where that is not at hand, another one that this provider supports.
    :param requirements: What it claims to be; checked when it is made, and before every run.
    :param newest: The day before which everything else in it was released.
    """

    python: str
    requirements: tuple[str, ...]
    newest: str | None = None


def _mwaa(airflow: str, amazon: str, common_compat: str, boto3: str, newest: str, *more: str) -> Row:
    """Return one of Amazon MWAA's images."""
    versions = zip(SHOWN, (airflow, amazon, common_compat, boto3), strict=True)
    pins = (f"{name}=={version}" for name, version in versions)
    return Row("3.12", (*pins, f"botocore=={boto3}", *more), newest)


def _newest(python: str, airflow: str, *more: str) -> Row:
    """Return an Airflow with the newest of everything else."""
    return Row(python, (f"apache-airflow=={airflow}", *more))


# What has an upper bound here was released later and breaks that Airflow, although every resolver takes it.
ROWS = {
    "mwaa-2.11.0": _mwaa("2.11.0", "9.8.0", "1.7.0", "1.37.3", "2025-07-02"),
    "mwaa-2.11.2": _mwaa("2.11.2", "9.22.0", "1.14.0", "1.42.61", "2026-03-21"),
    "mwaa-3.0.6": _mwaa("3.0.6", "9.12.0", "1.7.3", "1.39.11", "2025-09-05"),
    "mwaa-3.2.1": _mwaa("3.2.1", "9.25.0", "1.14.3", "1.42.84", "2026-04-29"),
    "mwaa-3.3.1": _mwaa("3.3.1", "9.34.0", "1.18.0", "1.43.56", "2026-08-19"),
    "newest-2.11": _newest("3.11", "2.11.2"),
    "newest-3.0": _newest("3.12", "3.0.6", "fastapi<0.118", "pyjwt<2.11"),
    "newest-3.1": _newest("3.13", "3.1.8"),
    "newest-3.2": _newest("3.13", "3.2.2", "fastapi<0.137", "svcs<26"),
    "newest-3.3": _newest("3.13", "3.3.2"),
}


class MatrixError(Exception):
    """A row cannot be run; the message says why."""


@dataclass
class Result:
    """What a row's suite came to."""

    versions: dict[str, str]
    counts: Counter[str]
    notes: set[str]
    seconds: float
    complaint: str | None = None

    @property
    def is_good(self) -> bool:
        """Tell whether tests ran and none failed."""
        return self.complaint is None and self.counts["passed"] > 0 and not self.counts["failed"]


def make_environment(name: str) -> Path:
    """Return the Python of a row's environment, made anew unless nothing it is made of has changed."""
    home, constraints = ENVIRONMENTS / name, CONSTRAINTS / f"{name}.txt"
    python = home / "bin" / "python"
    inputs = (constraints, ROOT / "pyproject.toml", ROOT / "constraints" / "build.txt")
    made_of = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = home / "made-of"
    if stamp.exists() and stamp.read_text() == made_of:
        return python
    run(*UV, "venv", "--clear", "--python", find_python(ROWS[name].python), str(home))
    run(
        *(*UV, "pip", "install", "--python", str(python), "-c", str(constraints)),
        *("--build-constraints", str(ROOT / "constraints" / "build.txt")),
        *("-e", f"{ROOT}[local]", "--group", f"{ROOT / 'pyproject.toml'}:test"),
    )
    stamp.write_text(made_of)
    return python


def installed_versions(name: str, python: Path) -> dict[str, str]:
    """Return the versions that a row has; raise if they are not those that it claims, or do not fit together."""
    run(*UV, "pip", "check", "--python", str(python))
    listed = json.loads(run(*UV, "pip", "list", "--python", str(python), "--format", "json"))
    installed = {each["name"]: each["version"] for each in listed}
    pins = [each.partition("==") for each in ROWS[name].requirements if "==" in each]
    wrong = [
        f"{package} is {installed.get(package)}, not {pin}" for package, _, pin in pins if installed.get(package) != pin
    ]
    if wrong:
        raise MatrixError(f"not what it claims to be: {'; '.join(wrong)}")
    version = run(str(python), "-c", "import platform; print(platform.python_version())").strip()
    return {"python": version, **{package: installed[package] for package in SHOWN}}


def run_suite(name: str, arguments: list[str]) -> Result:
    """Make a row's environment, and run the suite in it; its output goes to a file beside it."""
    began = time.monotonic()
    report, log = ENVIRONMENTS / f"{name}.xml", ENVIRONMENTS / f"{name}.log"
    try:
        python = make_environment(name)
        versions = installed_versions(name, python)
    except MatrixError as error:
        return Result({}, Counter(), set(), time.monotonic() - began, str(error))
    report.unlink(missing_ok=True)
    with log.open("wb") as file:
        code = subprocess.run(
            # Old versions are warned of by the thousand, and writing that down takes as long as a test.
            [str(python), *f"-m pytest -p no:cacheprovider -p no:warnings --junitxml={report}".split(), *arguments],
            cwd=ROOT,
            stdout=file,
            stderr=file,
            env={**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"},
            check=False,
        ).returncode
    if not report.exists():
        return Result(
            versions, Counter(), set(), time.monotonic() - began, f"pytest ended with {code}; see .matrix/{log.name}"
        )
    counts, notes = Counter[str](), set[str]()
    for case in ET.parse(report).iter("testcase"):
        outcomes = {each.tag: each.get("message", "") for each in case if each.tag in ("error", "failure", "skipped")}
        counts["failed" if outcomes.keys() - {"skipped"} else "skipped" if outcomes else "passed"] += 1
        for outcome, message in outcomes.items():
            test = "" if outcome == "skipped" else f"{case.get('classname')}.{case.get('name')}: "
            notes.add(f"{outcome}: {test}{' '.join(message.split())[:500]}")
    return Result(versions, counts, notes, time.monotonic() - began)


def pin(name: str) -> None:
    """Write a row's constraints anew."""
    row = ROWS[name]
    run(
        *(*UV, "pip", "compile", "--universal", "--python-version", PYTHONS[0]),
        *("--no-header", "--no-annotate", "--no-emit-index-url"),
        *("--extra", "local", "--group", "test", "pyproject.toml", "-", "-o", str(CONSTRAINTS / f"{name}.txt")),
        *(("--exclude-newer", row.newest) if row.newest else ("--upgrade",)),
        given="\n".join(row.requirements),
    )


def find_python(wanted: str) -> str:
    """Return a Python of a version, or of another that this provider supports; uv may download it."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in (wanted, *PYTHONS):
        found = [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"versions/{version}.*/bin/python"))]
        for python in (each for each in found if each):
            if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:  # not a shim
                return python
        if subprocess.run([*UV, "python", "install", version], capture_output=True, check=False).returncode == 0:
            return version
    raise MatrixError(f"found none of Python {', '.join(PYTHONS)}")


def run(*command: str, given: str | None = None) -> str:
    """Run a program, and return what it prints; what it prints on failure is in the error."""
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MatrixError(f"{' '.join(command[:6])} ...: {done.stderr.strip()[-500:]}")
    return done.stdout


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS), metavar="ROW", help="only these")
    parser.add_argument("--except", dest="left_out", nargs="*", choices=ROWS, default=[], metavar="ROW")
    parser.add_argument("--pin", action="store_true", help="write the rows' constraints anew instead")
    options, pytest_arguments = parser.parse_known_args()
    rows = [name for name in options.rows if name not in options.left_out]
    if options.pin:
        for name in rows:
            pin(name)
        return 0
    ENVIRONMENTS.mkdir(exist_ok=True)
    form = "{:12} {:8} {:8} {:8} {:14} {:8} {:>7} {:>7} {:>8} {:>6}"
    print(
        form.format("row", "python", "airflow", "amazon", "common-compat", "boto3", "passed", "failed", "skipped", "s")
    )
    results = {}
    for name in rows:
        results[name] = result = run_suite(name, pytest_arguments)
        versions = (result.versions.get(each, "-") for each in ("python", *SHOWN))
        counts = (result.counts[each] for each in ("passed", "failed", "skipped"))
        print(form.format(name, *versions, *counts, round(result.seconds)), flush=True)
        for line in filter(None, (result.complaint, *sorted(result.notes))):
            print(f"    {line}")
        if result.counts["failed"]:
            print(f"    see .matrix/{name}.log")
    return 0 if all(result.is_good for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
