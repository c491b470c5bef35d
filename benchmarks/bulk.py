"""
The operators that start jobs, against local HealthOmics with the service's real quotas; see README.md beside this file.

Every row is a process and a server of its own, and all rows of a table run at the same time. The bound is the least
time in which the quotas let the jobs be over: each starts as soon as one of the places for jobs that run at once is
free (export 5, activation 25, import 5) and fewer than 5 jobs were started within the last second, and then takes
``--job-seconds``. Looking what holds, before and after, and noticing that a job is over are not in it. ``busiest`` is
the most calls of one operation within any second; what throttles is the server, at more than 5.

``triggerer`` runs the operator until it defers, its trigger on an event loop until it fires, and so on; what a
scheduler adds between them is left out.

The exit code is 1 if a row of the package that is installed breaks what is said under its table.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from types import SimpleNamespace
from typing import Any

from common import forget_the_machine, machine, python, read_line

from airflow_omics._service.kinds import READ_SET_JOB_KINDS
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics

LONGEST, CALLS_A_SECOND, CALLS_BEFORE_START = 1.10, 5, 4
"""What must hold: seconds / bound, calls of one operation in any second, calls before the first Start."""

OURS = ("worker", "triggerer")
BY_HAND = ("mapped tasks", "a loop")
BUCKET, ROLE = "benchmark", "arn:aws:iam::123456789012:role/HealthOmics"
COLUMNS = ("read sets", "done", "twice", "jobs", "seconds", "bound", "ratio", "calls", "busiest", "throttled")


# --- in a row's own process


def make_operator(kind: str, way: str, store: str, items: list[Any], interval: float) -> Any:
    """Return the operator of a kind."""
    arguments: dict[str, Any] = {"sources" if kind == "import" else "read_set_ids": items}
    if kind != "activation":
        arguments["role_arn"] = ROLE
    if kind == "export":
        arguments["destination"] = f"s3://{BUCKET}/out/"
    operators = importlib.import_module("airflow_omics.operators")
    return getattr(operators, f"OmicsStartReadSet{kind.capitalize()}JobOperator")(
        task_id="start", sequence_store_id=store, poll_interval=interval, deferrable=way == "triggerer", **arguments
    )


async def first_event(trigger: Any) -> Any:
    """Run a trigger as the triggerer does, until it fires."""
    async for event in trigger.run():
        return event.payload
    raise RuntimeError("The trigger ended without an event")


def run_operator(operator: Any) -> int:
    """Execute an operator, and go on with it as often as it defers; return how many tasks failed: none."""
    deferred_class = importlib.import_module("airflow.exceptions").TaskDeferred
    identity = {"dag_id": "dag", "run_id": "run", "task_id": "start", "map_index": -1, "try_number": 1, "max_tries": 0}
    context = {"ti": SimpleNamespace(**identity, xcom_push=lambda **_: None)}
    deferred = None
    while True:
        try:
            if deferred is None:
                operator.execute(context)
                return 0
            path, arguments = json.loads(json.dumps(deferred.trigger.serialize()))
            module, _, name = path.rpartition(".")
            trigger = getattr(importlib.import_module(module), name)(**{**arguments, "fire_after": 0})
            event = asyncio.run(first_event(trigger))
            kwargs = json.loads(json.dumps({**(deferred.kwargs or {}), "event": event}))
            operator.resume_execution(deferred.method_name, kwargs, context)
        except deferred_class as left:
            deferred = left
        else:
            return 0


def run_by_hand(way: str, store: str, read_sets: list[str], seconds: float) -> int:
    """Activate as people write it today; a loop is given up after ``seconds``; return how many tasks failed."""
    session = importlib.import_module("boto3.session").Session
    size = ReadSetJobKind.ACTIVATION.max_items
    chunks = [read_sets[start : start + size] for start in range(0, len(read_sets), size)]

    def task(client: Any, chunk: list[str]) -> None:
        sources = [{"readSetId": each} for each in chunk]
        job = client.start_read_set_activation_job(sequenceStoreId=store, sources=sources)
        client.get_waiter("read_set_activation_job_completed").wait(sequenceStoreId=store, id=job["id"])

    def mapped(chunk: list[str]) -> int:
        try:
            task(session().client("omics"), chunk)
        except Exception:
            return 1
        return 0

    if way == "mapped tasks":
        with ThreadPoolExecutor(len(chunks)) as pool:
            return sum(pool.map(mapped, chunks))
    client, deadline = session().client("omics"), time.monotonic() + seconds
    for chunk in chunks:
        if time.monotonic() > deadline:
            break
        task(client, chunk)
    return 0


def child() -> None:
    """Get ready, wait for the word, run, and say how long that took; nothing else may come out."""
    told, devnull = os.fdopen(os.dup(1), "w", buffering=1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    task = json.loads(sys.stdin.readline())
    if task["way"] in OURS:
        operator = make_operator(**{name: task[name] for name in ("kind", "way", "store", "items", "interval")})
        print(importlib.import_module("airflow_omics").__file__, file=told)
    else:
        print(importlib.import_module("boto3").__file__, file=told)
    sys.stdin.readline()
    began = time.time()
    if task["way"] in OURS:
        failed = run_operator(operator)
    else:
        failed = run_by_hand(task["way"], task["store"], task["items"], task["limit"])
    print(json.dumps({"began": began, "seconds": time.time() - began, "failed": failed}), file=told)


# --- in the process that measures


def least_seconds(kind: ReadSetJobKind, count: int, job_seconds: float) -> float:
    """Return the bound."""
    starts: list[float] = []
    for number in range(-(-count // kind.max_items)):
        place = starts[number - kind.max_concurrent_jobs] + job_seconds if number >= kind.max_concurrent_jobs else 0
        turn = starts[number - CALLS_A_SECOND] + 1 if number >= CALLS_A_SECOND else 0
        starts.append(max(place, turn))
    return max(starts) + job_seconds


def short(operation: str, kind: ReadSetJobKind) -> str:
    """Name an operation without its kind."""
    return operation.replace(f"ReadSet{kind.word.capitalize()}", "")


def busiest(calls: list[dict[str, Any]]) -> int:
    """Return the most calls of one operation within any second."""
    most = 0
    for operation in {call["operation"] for call in calls}:
        times = sorted(call["time"] for call in calls if call["operation"] == operation)
        first = 0
        for last, moment in enumerate(times):
            while times[first] <= moment - 1:
                first += 1
            most = max(most, last - first + 1)
    return most


@dataclass
class Row:
    """One way to get one kind of job done for many read sets."""

    kind: ReadSetJobKind
    way: str
    count: int
    bound: float
    seconds: float = 0.0
    jobs: int = 0
    failed: int = 0
    done: Counter[str] = field(default_factory=Counter)
    calls: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What stands before the row."""
        return f"{self.kind.word}, {self.way}"

    @property
    def by_operation(self) -> str:
        """How often each operation was called."""
        counts = Counter(short(call["operation"], self.kind) for call in self.calls)
        return ", ".join(f"{name} {counts[name]}" for name in sorted(counts))

    @property
    def cells(self) -> list[str]:
        """What stands in the columns."""
        twice = sum(number > 1 for number in self.done.values())
        ratio, throttled = self.seconds / self.bound, sum(call["error"] == "ThrottlingException" for call in self.calls)
        measured = f"{self.seconds:.1f}", f"{self.bound:.1f}", f"{ratio:.3f}"
        cells = self.count, len(self.done), twice, self.jobs, *measured, len(self.calls), busiest(self.calls), throttled
        return [str(cell) for cell in cells]

    def broken(self) -> list[str]:
        """Say what does not hold that must."""
        errors = Counter(str(call["error"]) for call in self.calls if call["error"])
        wrong = {
            f"more than {LONGEST:.2f} of the bound": self.seconds > LONGEST * self.bound,
            f"more than {CALLS_A_SECOND} calls of an operation in a second": busiest(self.calls) > CALLS_A_SECOND,
            f"calls that the service refused: {dict(errors)}": bool(errors),
            "not each read set done once": sum(self.done.values()) != self.count or len(self.done) != self.count,
        }
        return [f"{self.name}: {text}" for text, is_so in wrong.items() if is_so]


class Place:
    """A server of its own with a store and what a row has to do there."""

    def __init__(self, local: LocalHealthOmics, kind: ReadSetJobKind, count: int, others: int = 0) -> None:
        self.local, self._kind = local, kind
        self.client = local.client()
        self.store: str = self.client.create_sequence_store(name="benchmark")["id"]
        local.add_read_sets(self.store, others)
        self.items: list[Any] = sources(count)
        if kind is not ReadSetJobKind.IMPORT:
            status = "ARCHIVED" if kind is ReadSetJobKind.ACTIVATION else "ACTIVE"
            self.items = local.add_read_sets(self.store, count, status)

    @contextmanager
    def child(self, way: str, package: str | None, home: str, **task: Any) -> Iterator[Any]:
        """Run a process that does the work, when it is told to."""
        # Each has a home of its own, since Airflow writes there when it is imported.
        environment = {"AIRFLOW_HOME": os.path.join(os.environ["AIRFLOW_HOME"], home)}
        environment |= {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(self.local.connection)}
        environment |= {"PYTHONPATH": package} if package else {}
        environment |= {} if way in OURS else self.local.environment
        with python(__file__, "--child", **environment) as process:
            task = {"kind": self._kind.word, "way": way, "store": self.store, "items": self.items, **task}
            process.stdin.write(json.dumps(task) + "\n")  # type: ignore[union-attr]
            yield process

    def collect(self, row: Row, told: dict[str, Any]) -> None:
        """Note what a process said, and what the server saw."""
        row.seconds, row.failed = told["seconds"], told["failed"]
        row.calls = [call for call in self.local.calls() if call["time"] >= told["began"]]
        self.local.configure(calls_per_second=None)
        name = self._kind.word
        pages = self.client.get_paginator(f"list_read_set_{name}_jobs").paginate(sequenceStoreId=self.store)
        jobs = [job["id"] for page in pages for job in page[f"{name}Jobs"]]
        row.jobs = len(jobs)
        for job_id in jobs:
            job = getattr(self.client, f"get_read_set_{name}_job")(sequenceStoreId=self.store, id=job_id)
            for item in job[self._kind.items_key]:
                if item["status"] == "FINISHED":
                    row.done[item.get("sourceFiles", {}).get("source1") or item[self._kind.item_id_key]] += 1


def sources(count: int) -> list[dict[str, Any]]:
    """Return what an import takes."""
    return [
        {
            "sourceFiles": {"source1": f"s3://{BUCKET}/in/{number}.fastq"},
            "sourceFileType": "FASTQ",
            "subjectId": "subject",
            "sampleId": f"sample-{number}",
            "name": f"sample-{number}",
        }
        for number in range(count)
    ]


def put_files(local: LocalHealthOmics, count: int) -> None:
    """Put the files into S3 that imports read, into the bucket that exports go to."""
    s3 = local.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for number in range(count):
        s3.put_object(Bucket=BUCKET, Key=f"in/{number}.fastq", Body=b"@read\nA\n+\nI\n")


def measure(rows: list[Row], package: str | None, job_seconds: float, interval: float) -> None:
    """Fill these rows, all at the same time."""
    with ExitStack() as stack:
        servers = [stack.enter_context(LocalHealthOmics(job_seconds=job_seconds)) for _ in rows]
        put_files(servers[0], max(row.count for row in rows))  # all share their S3, and each empties it at first
        places = [Place(server, row.kind, row.count) for server, row in zip(servers, rows, strict=True)]
        task = {"interval": interval, "limit": 3 * job_seconds}
        children = [
            place.child(row.way, package, str(number), **task)
            for number, (place, row) in enumerate(zip(places, rows, strict=True))
        ]
        processes = [stack.enter_context(each) for each in children]
        ready = [read_line(process) for process in processes]
        for process, path in zip(processes, ready, strict=True):
            if package and not path.startswith(os.path.abspath(package)):
                raise RuntimeError(f"{path} was imported, which is not in {package}")
            process.stdin.write("go\n")
        for row, place, process in zip(rows, places, processes, strict=True):
            place.collect(row, json.loads(read_line(process)))


def print_table(rows: list[Row]) -> None:
    """Print these rows, and under them what was called."""
    width = max(len(row.name) for row in rows)
    print(" " * width + "".join(f"{column:>11}" for column in COLUMNS))
    for row in rows:
        print(f"{row.name:<{width}}" + "".join(f"{cell:>11}" for cell in row.cells))
    print("\ncalls")
    for row in rows:
        failed = f"; tasks that failed: {row.failed}" if row.failed else ""
        print(f"{row.name:<{width}}  {row.by_operation}{failed}", flush=True)


def calls_before_start(others: int, package: str | None, patience: float) -> tuple[Counter[str], bool]:
    """
    Activate one read set in a store with so many others.

    Returns the calls before the first Start, and whether it came before the row was given up.
    """
    kind = ReadSetJobKind.ACTIVATION
    with LocalHealthOmics(job_seconds=1) as local:
        place = Place(local, kind, 1, others)
        with place.child("worker", package, "store", interval=1) as process:
            seen = len(local.calls())
            read_line(process)
            process.stdin.write("go\n")
            deadline = time.monotonic() + patience
            before: Counter[str] = Counter()
            while time.monotonic() < deadline:
                time.sleep(0.2)
                operations = [call["operation"] for call in local.calls()[seen:]]
                start = next((number for number, name in enumerate(operations) if name.startswith("Start")), None)
                before = Counter(short(name, kind) for name in operations[:start])
                if start is not None:
                    return before, True
            return before, False


def print_calls_before_start(others: int, package: str | None, patience: float) -> list[str]:
    """Print that; return what does not hold that must."""
    before, is_started = calls_before_start(others, package, patience)
    given_up = "" if is_started else f"; no Start within {patience:.0f} s, given up"
    print(f"\n1 of {others + 1:,} read sets: calls before the first Start: {before.total()} {dict(before)}{given_up}")
    if is_started and before.total() <= CALLS_BEFORE_START:
        return []
    return [f"1 of {others + 1:,} read sets: more than {CALLS_BEFORE_START} calls before the first Start"]


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job-seconds", type=float, default=60, help="how long a job takes")
    parser.add_argument("--interval", type=float, default=1, help="the operators' poll_interval")
    parser.add_argument("--read-sets", type=int, default=1000)
    parser.add_argument("--store", type=int, default=100_000, help="read sets beside the one that is to be activated")
    parser.add_argument("--patience", type=float, default=60, help="seconds after which the first Start is given up")
    parser.add_argument("--package", metavar="DIR", help="compare with another version of the package, in this folder")
    parser.add_argument("--by-hand", action="store_true", help="compare with what people write today (activation)")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child()
        return 0

    forget_the_machine()
    count, job_seconds = options.read_sets, options.job_seconds

    def row(kind: ReadSetJobKind, way: str) -> Row:
        return Row(kind, way, count, least_seconds(kind, count, job_seconds))

    print(machine("apache-airflow", "boto3"))
    print(f"jobs of {job_seconds:g} s, a poll_interval of {options.interval:g} s\n", flush=True)
    rows = [row(kind, way) for kind, way in product(READ_SET_JOB_KINDS, OURS)]
    measure(rows, None, job_seconds, options.interval)
    print_table(rows)
    broken = [text for each in rows for text in each.broken()]
    broken += print_calls_before_start(options.store, None, options.patience)
    print(
        f"\nMust be: ratio at most {LONGEST:.2f}, busiest at most {CALLS_A_SECOND}, none throttled or refused, each "
        f"read set done once, at most {CALLS_BEFORE_START} calls before the first Start.",
        "\n".join(broken) or "So it is.",
        flush=True,
        sep="\n",
    )
    if options.package:
        print(f"\n{options.package}")
        rows = [row(kind, way) for kind, way in product(READ_SET_JOB_KINDS, OURS)]
        measure(rows, options.package, job_seconds, options.interval)
        print_table(rows)
        print_calls_before_start(options.store, options.package, options.patience)
    if options.by_hand:
        print(f"\nby hand; a loop is given up after {3 * job_seconds:g} s")
        rows = [row(ReadSetJobKind.ACTIVATION, way) for way in BY_HAND]
        measure(rows, None, job_seconds, options.interval)
        print_table(rows)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
