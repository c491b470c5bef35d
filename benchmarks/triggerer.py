"""
N waits on one event loop: this provider's trigger, and the Amazon provider's own pattern, in one run.

That is AwsBaseWaiterTrigger with botocore's waiter; it needs aiobotocore. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import statistics
import subprocess
import sys
import time
from functools import cache
from importlib.util import find_spec
from typing import Any

from common import Server, forget_the_machine, machine, python, read_line, resident

OURS, OFFICIAL = "ours", "official"
TICK = 0.005  # seconds between two looks at how late the event loop is
ENDINGS = 25
LONG, SHORT, STEP = 2_000_000.0, 1_000_000.0, 10_000.0
"""Seconds that most jobs take, that the first to end takes, and that each after it takes longer."""

TRIGGERER = "airflow.jobs.triggerer_job_runner"
NEEDED = {
    OURS: ("airflow_omics.triggers", "airflow_omics.hooks"),
    OFFICIAL: ("airflow.providers.amazon.aws.triggers.base", "aiobotocore.session"),
}
"""What every triggerer has imported, and what it has when its first trigger of a kind waits."""

ROWS = {
    "first": "every wait asked for once after, s",
    "round": "calls until then",
    "idle": "longest block of an idle loop, ms",
    "block": "longest block of the loop, ms",
    "collection": "longest garbage collection, ms",
    "memory": "memory growth, MB",
    "calls": "calls in a steady minute",
    "cpu": "CPU in a steady minute, ms per wait",
    "median": "delay from end to event, median s",
    "longest": "delay from end to event, longest s",
}


@cache
def trigger_class(way: str) -> Any:
    """Import and return what makes a trigger of a store, a job and an interval."""
    if way == OURS:
        ours = importlib.import_module("airflow_omics.triggers").OmicsReadSetJobTrigger
        return lambda store, job_id, interval: ours(
            kind="export", sequence_store_id=store, job_ids=[job_id], until="all", poll_interval=interval
        )
    hook_class = importlib.import_module("airflow.providers.amazon.aws.hooks.base_aws").AwsGenericHook

    class Official(importlib.import_module("airflow.providers.amazon.aws.triggers.base").AwsBaseWaiterTrigger):  # type: ignore[misc]
        """The pattern of the Amazon provider's triggers, for an export job."""

        def __init__(self, store: str, job_id: str, interval: int) -> None:
            super().__init__(
                serialized_fields={"store": store, "job_id": job_id},
                waiter_name="read_set_export_job_completed",
                waiter_args={"sequenceStoreId": store, "id": job_id},
                failure_message="The job failed",
                status_message="The job's status is",
                status_queries=["status"],
                return_value=job_id,
                waiter_delay=interval,
                waiter_max_attempts=1_000_000,
                botocore_config={"inject_host_prefix": False},
            )

        def hook(self) -> Any:
            """Return the hook; old providers leave it to each trigger."""
            return hook_class(aws_conn_id=self.aws_conn_id, client_type="omics", config=self.botocore_config)

    return Official


class Loop:
    """The event loop of the process that waits, and what is seen of it."""

    def __init__(self) -> None:
        self.block = self.collection = self.memory = self._collecting_since = 0.0
        gc.callbacks.append(self._see_collection)
        self.events: dict[str, tuple[float, str]] = {}
        self.watching = asyncio.Event()
        self.watching.set()
        self.tasks = [asyncio.create_task(self._tick())]

    def _see_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_since = time.perf_counter()
        else:
            self.collection = max(self.collection, time.perf_counter() - self._collecting_since)

    async def _tick(self) -> None:
        while await self.watching.wait():
            start = time.perf_counter()
            await asyncio.sleep(TICK)
            self.block = max(self.block, time.perf_counter() - start - TICK)
            self.memory = max(self.memory, resident())

    async def wait(self, job_id: str, trigger: Any) -> None:
        """Run a trigger as the triggerer does."""
        async for event in trigger.run():
            self.events[job_id] = (time.time(), event.payload["status"])

    def report(self) -> None:
        """Tell the parent how things are, and begin to look for the longest of each anew."""
        for task in self.tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
        self.memory = max(self.memory, resident())
        seen = {name: getattr(self, name) for name in ("block", "collection", "memory", "events")}
        print(json.dumps(seen | {"time": time.time(), "cpu": time.process_time()}), flush=True)
        self.block = self.collection = 0.0


async def child(way: str, store: str, interval: int, cold: bool) -> None:
    """Wait for jobs, until the parent has seen enough."""
    for module in (TRIGGERER, *(() if cold else NEEDED[way])):
        importlib.import_module(module)
    job_ids = json.loads(sys.stdin.readline())
    gc.collect()
    loop = Loop()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await asyncio.sleep(1)
    loop.report()
    for job_id in job_ids:
        loop.tasks.append(asyncio.create_task(loop.wait(job_id, trigger_class(way)(store, job_id, interval))))
        await asyncio.sleep(0)  # as the triggerer does
    while command := await commands.readline():
        # The ticker takes CPU itself, so it rests while that is measured.
        (loop.watching.set if command == b"watch\n" else loop.watching.clear)()
        await asyncio.sleep(2 * TICK)
        loop.report()


class Parent:
    """Measures one way with one number of waits, from outside."""

    def __init__(self, server: Server, way: str, count: int, interval: int) -> None:
        self._server, self._way, self._interval = server, way, interval
        self._jobs, ending = [], {}
        for number in range(ENDINGS):
            order = number * 7 % ENDINGS  # in which they end; any but that in which they are asked for
            (ending[order],) = server.start_jobs(1, SHORT + STEP * order)
            self._jobs += [ending[order], *server.start_jobs(count // ENDINGS - 1, LONG)]
        self._ending = [ending[order] for order in sorted(ending)]
        server.control("advance", seconds=SHORT / 2)

    def measure(self, minute: float, cold: bool) -> dict[str, float]:
        """Return the figures by the keys of ROWS."""
        task = json.dumps([self._way, self._server.store, self._interval, cold])
        with python(__file__, "--child", task, AIRFLOW_CONN_AWS_DEFAULT=self._server.connection) as process:
            print(json.dumps(self._jobs), file=process.stdin)
            before = json.loads(read_line(process))
            asked, calls = self._server.wait_until_asked(self._jobs, process)
            start = self._tell(process, "rest")
            time.sleep(max(minute, self._interval))
            end = self._tell(process, "watch")
            steady = sum(start["time"] <= call["time"] < end["time"] for call in self._server.control("calls"))
            delays, others = self._end_some(process)
        reports = (start, end, *others)
        scale = 60 / (end["time"] - start["time"])
        return {
            "first": asked - before["time"],
            "idle": before["block"] * 1000,
            **{key: max(each[key] for each in reports) * 1000 for key in ("block", "collection")},
            "memory": max(each["memory"] for each in reports) - before["memory"],
            "round": calls,
            "calls": steady * scale,
            "cpu": (end["cpu"] - start["cpu"]) * scale * 1000 / len(self._jobs),
            "median": statistics.median(delays),
            "longest": max(delays),
        }

    def _tell(self, process: subprocess.Popen[str], command: str) -> Any:
        print(command, file=process.stdin)
        return json.loads(read_line(process))

    def _end_some(self, process: subprocess.Popen[str]) -> tuple[list[float], list[dict[str, Any]]]:
        """End some jobs, spread over more than an interval; return how long their events took, and the reports."""
        ended = {}
        for job_id in self._ending:
            time.sleep(1.1 * self._interval / len(self._ending))
            ended[job_id] = time.time()
            self._server.control("advance", seconds=STEP if len(ended) > 1 else SHORT / 2)
        deadline = time.monotonic() + 20 * self._interval
        reports = [self._tell(process, "watch")]
        while len(reports[-1]["events"]) < len(ended) and time.monotonic() < deadline:
            time.sleep(1)
            reports.append(self._tell(process, "watch"))
        events = reports[-1]["events"]
        good = {job_id: when for job_id, (when, status) in events.items() if status in ("success", "over")}
        if good.keys() != ended.keys():
            raise RuntimeError(f"{self._way}: expected events of {sorted(ended)}, found {events}")
        return [good[job_id] - when for job_id, when in ended.items()], reports


def print_table(results: dict[tuple[str, int], dict[str, float]]) -> None:
    """Print a column for each way and number of waits, and the ratios of the two ways."""
    both = [count for way, count in results if way == OURS and (OFFICIAL, count) in results]
    columns = [f"{way} {count}" for way, count in results] + [f"ratio {count}" for count in both]
    print(" " * 38 + "".join(f"{column:>14}" for column in columns))
    for key, name in ROWS.items():
        cells = [f"{result[key]:.3g}" if result[key] < 100 else f"{result[key]:.0f}" for result in results.values()]
        cells += [f"{results[OURS, count][key] / results[OFFICIAL, count][key]:.3f}" for count in both]
        print(f"{name:<38}" + "".join(f"{cell:>14}" for cell in cells))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=int, nargs="*", default=[50, 400, 5000], help="waits; multiples of 25")
    parser.add_argument("--official", type=int, nargs="*", default=[50, 400], help="5000 take gigabytes")
    parser.add_argument("--interval", type=int, default=30, help="seconds between two rounds")
    parser.add_argument("--minute", type=float, default=60, help="seconds that count as a steady minute")
    parser.add_argument("--cold", action="store_true", help="import nothing of AWS's before the first trigger")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return asyncio.run(child(*options.child))
    if options.official and not find_spec("aiobotocore"):
        parser.error(
            "The official pattern needs aiobotocore (see README.md); --official without a number leaves it out"
        )

    forget_the_machine()
    packages = ["apache-airflow", "apache-airflow-providers-amazon", "boto3"] + ["aiobotocore"] * bool(options.official)
    print(
        f"{machine(*packages)}\nan interval of {options.interval} s, {'cold' if options.cold else 'warm'}", flush=True
    )
    results = {}
    for way, count in [(OURS, count) for count in options.ours] + [(OFFICIAL, count) for count in options.official]:
        with Server.running() as server:
            results[way, count] = Parent(server, way, count, options.interval).measure(options.minute, options.cold)
    print_table(results)
    return None


if __name__ == "__main__":
    main()
