"""One run of the DAG of waits while something is wrong, and what became of them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from conftest import JOB_SECONDS, World
from real_airflow import RealAirflow
from servers import Flaky, serve

from airflow_omics.jobs import ReadSetJobKind

DAG = "waits"
EXPORT = ReadSetJobKind.EXPORT
RUN_SECONDS = 900
WAITS = {"deferred": 60, "rescheduled": 20, "exported": 10}
"""How many waits there are, by task."""
IN_ALL_MODES = {"deferred": 30, "rescheduled": 12, "exported": 6, "poked": 1, "held": 1}
"""Fewer, but in all modes: the last two hold a worker each."""
SENSORS, OPERATORS = ("deferred", "rescheduled", "poked"), ("exported", "held")
ENDINGS = ("COMPLETED",) * 6 + ("COMPLETED_WITH_FAILURES",) * 2 + ("FAILED", "CANCELLED")
"""How jobs end, in turn."""
WAITING = ("deferred", "up_for_reschedule")
REFUSED = "{} on "


@dataclass
class Outcome:
    """What became of the waits under one fault: a row of the table."""

    fault: str
    waits: int = 0
    right: int = 0
    wrong: int = 0
    lost: int = 0
    doubled: int = 0
    calls: int = 0
    seconds: int = 0


@dataclass
class Scene:
    """
    One run, begun and over; between, when most waits have looked once, comes what strikes midway.

    :param connection: The connection that is right; :meth:`connect` changes it.
    :param waits: How many waits there are, by task.
    :param refusals: Errors that may end a wait, since they do not pass by themselves; its log must name one.
    """

    airflow: RealAirflow
    world: World
    connection: Mapping[str, Any]
    waits: Mapping[str, int]
    refusals: tuple[str, ...] = ()
    stack: ExitStack = field(default_factory=ExitStack)
    """What is undone at the end."""
    server: Any = None
    """What stands between Airflow and AWS, if anything does; of tests/helpers/servers.py."""
    jobs: dict[str, list[str]] = field(default_factory=dict)
    """Ids of the jobs that the sensors wait for, by task."""
    endings: dict[str, str] = field(default_factory=dict)
    """How each of these jobs ends."""
    to_export: dict[str, list[list[str]]] = field(default_factory=dict)
    """What each operator exports, by task: in every fifth the first of two read sets fails until a retry."""
    run: str = ""
    failing: list[str] = field(default_factory=list)
    """The read sets that jobs fail on."""

    def begin(self) -> None:
        """Start the jobs, and put together what operators will start."""
        for task, number in self.waits.items():
            if task in SENSORS:
                self.jobs[task] = [self._start(ENDINGS[index % len(ENDINGS)]) for index in range(number)]
            else:
                self.to_export[task] = [self._read_sets(index % 5 == 0) for index in range(number)]

    def connect(self, *, login: str | None = None, **extra: Any) -> None:
        """Change the connection, until the scene is over: its access key id, and members of its extra."""
        good = self.connection
        changed = {**good, "login": login or good["login"], "extra": {**good["extra"], **extra}}
        self.airflow.set_connection(changed)
        self.stack.callback(self.airflow.set_connection, good)

    def stand_between(self, kind: type[Flaky], **more: Any) -> str:
        """Put a server between Airflow and AWS, and return its URL."""
        url, self.server = self.stack.enter_context(serve(kind, **more))
        return str(url)

    def go(self, midway: Callable[[Scene], None]) -> None:
        """Run the DAG to its end."""
        conf = {"store": self.world.store, **self.jobs, **self.to_export}
        self.run = self.airflow.trigger(DAG, conf)
        states: dict[str, str] = {}
        is_midway = False
        for task, state in self.airflow.watch(DAG, self.run, RUN_SECONDS):
            states[task] = state
            if state == "up_for_retry":
                self._heal(task)
            seen = sum(state in WAITING for task, state in states.items() if "[" in task)
            if not is_midway and seen >= 0.6 * sum(self.waits.values()):
                is_midway = True
                midway(self)
                for job_id, ending in self.endings.items():
                    if ending == "CANCELLED":
                        self.world.local.cancel_job(job_id)
                self._let_time_pass()

    def _let_time_pass(self) -> None:
        """Bring jobs to their ends from now on, also those that retries start, until the scene has ended."""
        has_ended = threading.Event()

        def advance() -> None:
            while not has_ended.wait(3):
                self.world.local.advance(JOB_SECONDS)

        thread = threading.Thread(target=advance, daemon=True)
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(has_ended.set)

    def keep_on(self, seconds: float) -> None:
        """Let time pass; what ends is started anew, as those do who run Airflow."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.airflow.check_processes()
            time.sleep(0.5)

    def clear_faults(self) -> None:
        """Take all faults away, but that jobs fail on some read sets."""
        self.world.local.clear_faults()
        self.world.local.fail_read_sets(self.failing, "Torn")

    def outcome(self, fault: str) -> Outcome:
        """Compare what became of every wait with what really happened."""
        states = self.airflow.task_states(DAG, self.run)
        told: dict[tuple[str, int], dict[str, Any]] = {}
        for task, index, key, value in self.airflow.query(
            "SELECT task_id, map_index, key, value FROM xcom WHERE dag_id = ? AND run_id = ?", DAG, self.run
        ):
            if key in ("return_value", "failed_job"):
                told.setdefault((task, index), {})[key] = json.loads(value)
        counts = Counter[str]()
        for task, number in self.waits.items():
            for index in range(number):
                state = states.get(f"{task}[{index}]", "missing")
                counts[self._judge(task, index, state, told.get((task, index), {}))] += 1
        return Outcome(
            fault,
            waits=sum(self.waits.values()),
            right=counts["right"],
            wrong=counts["wrong"],
            lost=counts["lost"],
            doubled=self._doubled(),
            calls=len(self.world.local.calls()),
        )

    def _judge(self, task: str, index: int, state: str, told: dict[str, Any]) -> str:
        if state not in ("success", "failed"):
            return "lost"
        key = "return_value" if state == "success" else "failed_job"
        found = told.get(key)
        if found is None:
            folder = self.airflow.log_folder(DAG, self.run, task, index)
            log = "".join(each.read_text() for each in folder.glob("*.log*"))
            was_refused = state == "failed" and any(REFUSED.format(error) in log for error in self.refusals)
            return "right" if was_refused else "wrong"
        if task in OPERATORS:
            to_export = self.to_export[task][index]
            done = [each for job in found for each in job["finished"]]
            return "right" if state == "success" and sorted(done) == sorted(to_export) else "wrong"
        job_id = self.jobs[task][index]
        is_good = self.endings[job_id] == "COMPLETED"
        is_right = (found["job_id"], found["status"]) == (job_id, self.endings[job_id])
        return "right" if is_right and is_good == (state == "success") else "wrong"

    def _heal(self, task: str) -> None:
        """Let what an operator failed on succeed when it is tried again."""
        name, _, index = task.rstrip("]").partition("[")
        if name in OPERATORS and index:
            healed = set(self.to_export[name][int(index)]) & set(self.failing)
            self.failing = [each for each in self.failing if each not in healed]
            self.world.local.fail_read_sets(healed, None)

    def _doubled(self) -> int:
        """Count the read sets that operators exported more than once; a retry tries again what failed."""
        paginator = self.world.omics.get_paginator("list_read_set_export_jobs")
        pages = paginator.paginate(sequenceStoreId=self.world.store)
        finished = Counter[str]()
        for job_id in (job["id"] for page in pages for job in page["exportJobs"] if job["id"] not in self.endings):
            job = self.world.omics.get_read_set_export_job(sequenceStoreId=self.world.store, id=job_id)
            finished.update(each["id"] for each in job["readSets"] if each["status"] != "FAILED")
        return sum(times - 1 for times in finished.values())

    def _start(self, ending: str) -> str:
        failing = {"FAILED": 2, "COMPLETED_WITH_FAILURES": 1}.get(ending, 0)
        read_sets = self.world.local.add_read_sets(self.world.store, 2)
        self._fail(read_sets[:failing])
        job_id = self.world.start(EXPORT, read_sets)
        self.endings[job_id] = ending
        return job_id

    def _read_sets(self, is_failing: bool) -> list[str]:
        read_sets = self.world.local.add_read_sets(self.world.store, 2)
        self._fail(read_sets[:is_failing])
        return read_sets

    def _fail(self, read_sets: list[str]) -> None:
        self.failing += read_sets
        self.world.local.fail_read_sets(read_sets, "Torn")
