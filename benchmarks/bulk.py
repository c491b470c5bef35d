"""
Activate 1,000 archived read sets against local HealthOmics with the real quotas, in three ways, in one run.

The bound is waves x job length: 50 jobs, 25 at a time, so twice the length of a job. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from common import forget_the_machine, machine

forget_the_machine()

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics
from airflow_omics.operators import OmicsStartReadSetActivationJobOperator

KIND = ReadSetJobKind.ACTIVATION


def ours(_: LocalHealthOmics, store: str, read_sets: list[str]) -> int:
    """Run this provider's operator; return how many tasks failed."""
    operator = OmicsStartReadSetActivationJobOperator(
        task_id="activate", sequence_store_id=store, read_set_ids=read_sets, poll_interval=1
    )
    identity = {"dag_id": "dag", "run_id": "run", "task_id": "activate", "map_index": -1, "try_number": 1}
    operator.execute({"ti": SimpleNamespace(**identity, xcom_push=lambda **_: None)})  # type: ignore[typeddict-item]
    return 0


def chunks(read_sets: list[str]) -> list[list[str]]:
    """Cut read sets into what one job takes."""
    size = KIND.max_read_sets
    return [read_sets[start : start + size] for start in range(0, len(read_sets), size)]


def start_and_wait(client: Any, store: str, chunk: list[str]) -> None:
    """Do what people write today."""
    sources = [{"readSetId": each} for each in chunk]
    job = client.start_read_set_activation_job(sequenceStoreId=store, sources=sources)
    client.get_waiter("read_set_activation_job_completed").wait(sequenceStoreId=store, id=job["id"])


def loop(local: LocalHealthOmics, store: str, read_sets: list[str], seconds: float) -> int:
    """Start a job, wait with botocore's waiter, start the next; given up after ``seconds``."""
    client, deadline = local.client(), time.monotonic() + seconds
    for chunk in chunks(read_sets):
        if time.monotonic() > deadline:
            break
        start_and_wait(client, store, chunk)
    return 0


def mapped(local: LocalHealthOmics, store: str, read_sets: list[str]) -> int:
    """Run a mapped task per chunk, all at once; return how many failed."""

    def task(chunk: list[str]) -> int:
        try:
            start_and_wait(local.client(), store, chunk)
        except Exception:
            return 1
        return 0

    with ThreadPoolExecutor(len(chunks(read_sets))) as pool:
        return sum(pool.map(task, chunks(read_sets)))


def measure(name: str, way: Callable[..., int], count: int, job_seconds: float, **arguments: Any) -> None:
    """Run one way, and print its row."""
    with LocalHealthOmics(job_seconds=job_seconds) as local:
        os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(local.connection)
        client = local.client()
        store = client.create_sequence_store(name="benchmark")["id"]
        read_sets = local.add_read_sets(store, count, "ARCHIVED")
        began = time.time()
        failed = way(local, store, read_sets, **arguments)
        took = time.time() - began
        calls = [call for call in local.calls() if call["time"] >= began]
        local.configure(calls_per_second=None)
        pages = client.get_paginator("list_read_set_activation_jobs").paginate(sequenceStoreId=store)
        jobs = [job["id"] for page in pages for job in page["activationJobs"]]
        done: Counter[str] = Counter()
        for job in jobs:
            sources = client.get_read_set_activation_job(sequenceStoreId=store, id=job)["sources"]
            done.update(each["readSetId"] for each in sources if each["status"] == "FINISHED")
    waves = -(-len(chunks(read_sets)) // KIND.max_concurrent_jobs)
    looks = sorted(call["time"] for call in calls if call["operation"].startswith(("Get", "List")))
    busiest = max((sum(t <= each < t + 1 for each in looks) for t in looks), default=0)
    twice = sum(number > 1 for number in done.values())
    forgotten = len(read_sets) - len(done)
    by_operation = dict(Counter(call["operation"].replace("ReadSetActivation", "") for call in calls))
    throttled = sum(call["error"] == "ThrottlingException" for call in calls)
    full = sum(call["error"] == "ServiceQuotaExceededException" for call in calls)
    print(f"{name}")
    print(f"  makespan {took:.1f} s = {took / (waves * job_seconds):.2f} x the bound; tasks failed: {failed}")
    print(f"  read sets: {len(done)} of {len(read_sets)} done, {twice} done twice, {forgotten} not done")
    print(f"  jobs started: {len(jobs)}")
    print(f"  calls: {by_operation}; throttled {throttled}, quota full {full}")
    print(f"  Get and List together, busiest second: {busiest}; mean {len(looks) / took:.2f} a second", flush=True)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job-seconds", type=float, default=60)
    parser.add_argument("--read-sets", type=int, default=1000)
    options = parser.parse_args()
    count, seconds = options.read_sets, options.job_seconds
    print(machine("apache-airflow", "boto3"))
    print(f"{count} read sets, jobs of {seconds:.0f} s\n")
    measure("airflow-omics: one task", ours, count, seconds)
    measure("a mapped task per chunk, no pool", mapped, count, seconds)
    limit = 3 * seconds
    measure(f"a loop of start and botocore's waiter, given up after {limit:.0f} s", loop, count, seconds, seconds=limit)


if __name__ == "__main__":
    main()
