"""
Break the start operators on purpose, in one way at a time, and see whether tests/_starting/test_model.py finds it.

Each breakage is put into a copy of the package, beside a copy of the tests. The exit code is 0 only if the model finds
nothing wrong with the code as it is, and finds every breakage.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AS_IT_IS = "the code as it is"

BREAKAGES: dict[str, list[tuple[str, str, str]]] = {
    AS_IT_IS: [],
    "the generation left out": [
        ("_airflow", "return min(max(first, 1), int(task_instance.try_number))", "return 1"),
    ],
    "the token trusted": [
        ("_starting/starter", "if is_of_before or is_replayed:", "if False:"),
    ],
    "DELETED ignored": [
        (
            "_starting/goals",
            "if record.id not in known or (made and made.status in made.kind.kept):",
            'if made is None or made.status in (*made.kind.kept, "DELETED"):',
        ),
    ],
    "fewer items taken for finished": [
        (
            "_starting/attempt",
            "        finding = self.goal.find(item, told, known)\n",
            """        finding = self.goal.find(item, told, known)
        for job_id, keys in self.sent.items():
            if item.key in keys and not told and (sent := self.jobs.get(job_id)) and sent.status == "COMPLETED":
                return Finding(State.HOLDS, item.name, job_id)
""",
        ),
    ],
    "a stranger's item told": [
        ("_starting/outcome", "told = job.about(keys)", "told = job"),
    ],
    "a second Start after a kill": [
        ("_starting/attempt", "if self.items and not self.is_first and not self.has_looked_for_jobs:", "if False:"),
        ("_starting/starter", "json.dumps([*self.identity,", "json.dumps([time.time(), *self.identity,"),
    ],
}
"""What is changed, by module: the text, which is there once, and what stands there then."""


def main() -> int:
    """Try the breakages; return the exit code."""
    parser = argparse.ArgumentParser(description="See whether the model finds what is broken on purpose.")
    parser.add_argument("--histories", type=int, default=300, help="how many the model may take for each")
    parser.add_argument("names", nargs="*", metavar="BREAKAGE", help=f"some of {', '.join(BREAKAGES)}; without it all")
    arguments = parser.parse_args()
    rows, is_good = [], True
    for name in arguments.names or BREAKAGES:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="airflow-omics-breakage-") as folder:
            place = prepare(Path(folder), name)
            said = run(place, arguments.histories)
        is_good = is_good and (said is None) == (name == AS_IT_IS)
        found = "not found" if said is None else "found"
        rows.append(f"{name:32}{found:11}{time.monotonic() - began:5.0f} s  {said or ''}")
        print(rows[-1], flush=True)
    print(f"\n{'breakage':32}{'':11}{'time':>7}  what the model said", *rows, sep="\n")
    return not is_good


def prepare(place: Path, name: str) -> Path:
    """Copy what the model needs, and break it; return where."""
    for folder in ("airflow_omics", "scripts", "tests"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    for module, text, instead in BREAKAGES[name]:
        file = place / "airflow_omics" / f"{module}.py"
        source = file.read_text()
        if source.count(text) != 1:
            raise SystemExit(f"{name}: {module}.py has this {source.count(text)} times, expected once: {text}")
        file.write_text(source.replace(text, instead))
    return place


def run(place: Path, histories: int) -> str | None:
    """Run the model; return what it found, or None."""
    # CI: Hypothesis then draws the same histories in each run. What is found is not made shorter.
    own = {"PYTHONPATH": str(place), "TMPDIR": str(place), "CI": "true"}
    env = {**os.environ, **own, "MODEL_HISTORIES": str(histories), "MODEL_BRIEF": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/_starting/test_model.py"]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    said = re.findall(r"^E +(?:AssertionError: )(.{,90})", done.stdout, re.MULTILINE)
    if done.returncode != 1 or not said:
        raise SystemExit(f"The model could not run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return str(said[-1])


if __name__ == "__main__":
    sys.exit(main())
