"""
Let a steady stream of waits through one real triggerer, and see whether anything grows. ``make soak`` runs this.

One wait is deferred by a real task; the others are copies of it in Airflow's database, each for a job of its own, since
no small machine runs thousands of tasks in minutes. What the triggerer makes of them is real. A trigger beside them
counts, on the same event loop, what is there. The exit code is 0 only if every wait was told how its own job ended, and
the last minute had no more of anything than the second; but waits under way, which come and go with the machine's load.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import mean
from typing import Any
from uuid import uuid4

from real_airflow import COMPONENTS, RealAirflow

from airflow_omics.local import LocalHealthOmics

DAGS = Path(__file__).resolve().parent.parent / "tests" / "faults" / "dags"
WAITS_A_SECOND = 9
JOB_SECONDS = 20
BURST = 600
"""Waits to begin with at once; for as much memory as the most waits under way ever took stays with the process."""
NOISE = {"waits": math.inf, "memory (MB)": 3, "open files": 3, "threads": 1, "other tasks": 3}
"""How much more of each the last minute may have on average. Other tasks are those that are no wait's."""

CENSUS = """
import asyncio, json, os, resource, threading, time
from airflow.triggers.base import BaseTrigger

class Census(BaseTrigger):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def serialize(self):
        return "census.Census", {"path": self.path}

    async def run(self):
        # The loop's pool makes its threads as they are needed; have them all from the beginning.
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.1) for _ in range(50)))
        while True:
            pages = int(open("/proc/self/statm").read().split()[1])
            tasks = asyncio.all_tasks()
            waits = sum("(ID " in task.get_name() for task in tasks)  # as Airflow names what runs a trigger
            counted = (waits, pages * resource.getpagesize() / 1e6, len(os.listdir("/proc/self/fd")),
                       threading.active_count(), len(tasks) - waits)
            with open(self.path, "a") as file:
                file.write(json.dumps(counted) + "\\n")
            await asyncio.sleep(1)
        yield
"""


class Stream:
    """Waits that are deferred one after the other, copied from the only one of a run that is deferred."""

    def __init__(self, airflow: RealAirflow, local: LocalHealthOmics) -> None:
        self._local = local
        self._omics = local.client("omics", max_pool_connections=1)
        local.client("s3").create_bucket(Bucket="soak")
        self._store = self._omics.create_sequence_store(name="soak")["id"]
        self._read_sets = local.add_read_sets(self._store, 2)
        local.fail_read_sets(self._read_sets[1:], "Torn")
        self._airflow = airflow
        self.jobs: list[tuple[str, str]] = []
        """The id of every job, and how it ends."""

    def begin(self) -> None:
        """Have a real task defer, and stop what would run tasks."""
        self._local.configure(job_seconds=1e6)
        conf = {"store": self._store, "deferred": [self._start(0)], "rescheduled": [], "exported": []}
        run = self._airflow.trigger("waits", conf)
        while self._airflow.task_states("waits", run).get("deferred[0]") != "deferred":
            time.sleep(0.5)
        self._airflow.kill(*set(COMPONENTS) - {"triggerer"})
        self._local.configure(job_seconds=JOB_SECONDS)
        with closing(sqlite3.connect(self._airflow.database)) as database:
            database.row_factory = sqlite3.Row
            self._task = dict(database.execute("SELECT * FROM task_instance WHERE state = 'deferred'").fetchone())
            self._trigger = dict(database.execute("SELECT * FROM trigger").fetchone())
        self.jobs.clear()

    def add(self, number: int) -> None:
        """Start jobs, and defer a wait for each."""
        self.jobs += [
            (self._start(index % 10 == 0), "FAILED" if index % 10 == 0 else "COMPLETED") for index in range(number)
        ]
        first = len(self.jobs) - number
        self._copy(
            (first + index + 1, self._trigger["classpath"], json.loads(self._trigger["kwargs"]) | {"job_ids": [job_id]})
            for index, (job_id, _) in enumerate(self.jobs[first:])
        )

    def add_census(self, path: Path) -> None:
        """Have what is there counted, and written to a file: a line of JSON a second."""
        self._copy([(1_000_000, "census.Census", {"path": str(path)})])

    def told(self) -> dict[str, list[tuple[str, str]]]:
        """Return, for each job of a wait that was woken, what its trigger told: ids and statuses."""
        woken = self._airflow.query(
            "SELECT map_index, next_kwargs FROM task_instance WHERE trigger_id IS NULL AND map_index > 0"
        )
        told = {}
        for index, kwargs in woken:
            event = json.loads(kwargs)["event"]
            told[self.jobs[index - 1][0]] = [(job["job_id"], job["status"]) for job in event.get("jobs") or []]
        return told

    def _start(self, is_failing: float) -> str:
        sources = [{"readSetId": self._read_sets[bool(is_failing)]}]
        arguments = {"sequenceStoreId": self._store, "roleArn": "arn:aws:iam::123456789012:role/x", "sources": sources}
        return str(self._omics.start_read_set_export_job(destination="s3://soak/", **arguments)["id"])

    def _copy(self, triggers: Any) -> None:
        with closing(sqlite3.connect(self._airflow.database, timeout=60)) as database, database:
            for index, classpath, kwargs in triggers:
                row = self._trigger | {"id": None, "triggerer_id": None, "classpath": classpath}
                trigger_id = _insert(database, "trigger", row | {"kwargs": json.dumps(kwargs)})
                _insert(
                    database,
                    "task_instance",
                    self._task | {"id": uuid4().hex, "map_index": index, "trigger_id": trigger_id},
                )


def _insert(database: sqlite3.Connection, table: str, row: dict[str, Any]) -> int | None:
    marks = ", ".join("?" * len(row))
    return database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values())).lastrowid


def soak(minutes: float, home: Path) -> bool:
    """Do it, and print a line for each minute; return whether all is well."""
    (home / "triggerer").mkdir()  # where it looks for modules
    (home / "triggerer" / "census.py").write_text(CENSUS)
    census = home / "census"
    settings = {"omics__calls_per_second": 4 * WAITS_A_SECOND, "triggerer__default_capacity": 2000}
    with (
        LocalHealthOmics(calls_per_second=None, max_concurrent_jobs=None) as local,
        RealAirflow(home, DAGS, local.connection, settings) as airflow,
    ):
        stream = Stream(airflow, local)
        stream.begin()
        stream.add_census(census)
        stream.add(BURST)
        form = "{:>7} {:>7} {:>7}" + " {:>12}" * len(NOISE)
        print(form.format("minute", "started", "ended", *NOISE), flush=True)
        began = time.monotonic()
        by_minute: list[list[float]] = []
        lines_before = 0
        while (passed := time.monotonic() - began) < minutes * 60:
            stream.add(BURST + int(passed * WAITS_A_SECOND) - len(stream.jobs))
            if passed > 60 * (len(by_minute) + 1):
                counted = [json.loads(line) for line in census.read_text().splitlines()]
                by_minute.append([round(mean(column), 1) for column in zip(*counted[lines_before:], strict=True)])
                lines_before = len(counted)
                print(form.format(len(by_minute), len(stream.jobs), len(stream.told()), *by_minute[-1]), flush=True)
            time.sleep(0.5)
        deadline = time.monotonic() + 120
        while len(stream.told()) < len(stream.jobs) and time.monotonic() < deadline:
            time.sleep(1)
        told = stream.told()
    right = sum(told.get(job_id) == [(job_id, ending)] for job_id, ending in stream.jobs)
    print(
        f"{len(stream.jobs)} waits, {right} told right, {len(told) - right} wrong, {len(stream.jobs) - len(told)} lost"
    )
    growth = {name: round(by_minute[-1][at] - by_minute[1][at], 1) for at, name in enumerate(NOISE)}
    print(f"Last minute compared with the second: {growth}")
    return right == len(stream.jobs) and all(growth[name] <= noise for name, noise in NOISE.items())


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="at least 3 (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airflow-omics-soak-") as home:
        return 0 if soak(max(options.minutes, 3), Path(home)) else 1


if __name__ == "__main__":
    sys.exit(main())
