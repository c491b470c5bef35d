"""
Change the code in small ways, one at a time, and see whether a test fails. ``make mutation`` runs this.

mutmut makes the mutants and runs tests on each, in .mutation/NAME/, a copy of what it needs. Each module has tests of
its own, so that the run takes minutes. mutmut changes what is in functions, but in no property.

A mutant that no test fails on has survived. The exit code is 0 only if the tests kill the wanted share of each module's
mutants, and tests/mutation/SURVIVORS.md shows, in a block of ``diff``, each one that survives.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SURVIVORS = ROOT / "tests" / "mutation" / "SURVIVORS.md"
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
WANTED = 0.9
KILLED = {1, 3, -signal.SIGXCPU, -signal.SIGKILL}
"""pytest's exit codes for a failure, also of its own, and how what took too long ended."""

TESTS = {
    "_service/jobs": ["_service/test_parsing.py"],
    "exceptions": ["test_exceptions.py"],
    "_aws/errors": ["_aws/test_aws_errors.py"],
    "_waiting/shared_poll": [
        "_waiting/test_shared_poll.py",
        "_waiting/test_shared_poll_calls.py",
        "_waiting/test_shared_poll_errors.py",
    ],
    "_starting/goals": ["_starting/test_goals.py"],
    "_starting/memory": ["_starting/test_memory.py"],
    "_starting/outcome": ["_starting/test_outcome.py"],
    "_starting/starter": ["_starting/test_starting.py"],
    "_starting/attempt": [f"_starting/test_attempt{each}.py" for each in ("", "_jobs", "_judging")],
}
"""The tests of a module's own, in tests/."""

SETTINGS = """[mutmut]
source_paths = airflow_omics
only_mutate = airflow_omics/{name}.py
also_copy = scripts
process_isolation = forkserver
timeout_constant = 10
timeout_multiplier = 2
pytest_add_cli_args_test_selection =
{tests}
"""


def main() -> int:
    """Run the mutants of modules; return the exit code."""
    parser = argparse.ArgumentParser(description="See which changes to the code the tests notice.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"some of {', '.join(TESTS)}; without it all")
    names = parser.parse_args().modules or list(TESTS)
    documented = set(map(change, re.findall(r"```diff\n(.*?)```", SURVIVORS.read_text(), re.DOTALL)))
    rows, problems = [], []
    for name in names:
        place = prepare(name)
        run(place, "run", "--max-children", str(2 * (os.cpu_count() or 1)))  # most of them wait for something
        results = json.loads((place / "mutants" / "airflow_omics" / f"{name}.py.meta").read_text())["exit_code_by_key"]
        alive = [mutant for mutant, code in results.items() if code not in KILLED]
        killed = len(results) - len(alive)
        rows.append((name, len(results), killed, len(alive), f"{killed / len(results):.1%}"))
        if killed < WANTED * len(results):
            problems.append(f"{name}: less than {WANTED:.0%} are killed")
        for mutant in alive:
            shown = run(place, "show", mutant)
            if change(shown) not in documented:
                problems.append(f"Not in {SURVIVORS.relative_to(ROOT)}:\n{shown}")
    print(*problems, sep="\n")
    for row in [("module", "mutants", "killed", "survived", ""), *rows]:
        print("{:22}{:>9}{:>9}{:>9}{:>9}".format(*row))
    return bool(problems)


def prepare(name: str) -> Path:
    """Copy what mutmut needs to run the mutants of a module; return where."""
    place = ROOT / ".mutation" / name.replace("/", "-")
    shutil.rmtree(place, ignore_errors=True)
    (place / "tmp").mkdir(parents=True)
    for folder in ("airflow_omics", "scripts", "tests"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    tests = "\n".join(f"    tests/{each}" for each in TESTS[name])
    (place / "setup.cfg").write_text(SETTINGS.format(name=name, tests=tests))
    return place


def run(place: Path, *command: str) -> str:
    """Run a command of mutmut's; return what it says, but show what takes long."""
    # TMPDIR: mutants that are killed leave their files. CI: Hypothesis then draws the same examples in each run.
    env = {**os.environ, "TMPDIR": str(place / "tmp"), "CI": "true", "TESTS_PATIENCE": "30"}
    output = None if command[0] == "run" else subprocess.PIPE
    return subprocess.run([MUTMUT, *command], cwd=place, env=env, stdout=output, text=True, check=True).stdout or ""


def change(diff: str) -> str:
    """Return what a diff takes away and adds, in whatever function and line."""
    lines = [line for line in diff.splitlines() if re.match(r"[-+](?!--|\+\+)", line)]
    return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
