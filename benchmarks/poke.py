"""
What a reschedule poke costs: ours, EmrServerlessJobSensor's and an empty PythonSensor's, each in fresh processes.

Also what it costs to import each module. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

from common import Server, forget_the_machine, machine, python, read_line

JOB_SECONDS = 1_000_000
EMR_JOB = {
    "applicationId": "00f1abcdefgh0000",
    "jobRunId": "00f1abcdefgh0001",
    "arn": "arn:aws:emr-serverless:us-east-1:123456789012:/applications/00f1abcdefgh0000/jobruns/00f1abcdefgh0001",
    "createdBy": "arn:aws:iam::123456789012:user/benchmark",
    "createdAt": 1790000000.0,
    "updatedAt": 1790000100.0,
    "executionRole": "arn:aws:iam::123456789012:role/EMR",
    "state": "RUNNING",
    "stateDetails": "",
    "releaseLabel": "emr-7.9.0",
    "jobDriver": {"sparkSubmit": {"entryPoint": "s3://benchmark/main.py"}},
}
SENSORS = {
    "ours": ("airflow_omics.sensors", "OmicsReadSetExportJobSensor"),
    "EMR": ("airflow.providers.amazon.aws.sensors.emr", "EmrServerlessJobSensor"),
    "empty": ("airflow.providers.standard.sensors.python", "PythonSensor"),
}
MODULES = ("airflow_omics.hooks", "airflow_omics.operators", "airflow_omics.triggers")
Seconds = tuple[float, float]
"""CPU and wall time."""


class EmrServerless(BaseHTTPRequestHandler):
    """The one answer that EMR Serverless has to give here."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet, or the client waits for a delayed acknowledgement

    def do_GET(self) -> None:
        """Answer GetJobRun: the job is running."""
        body = json.dumps({"jobRun": EMR_JOB}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def serve_emr() -> None:
    """Serve EMR Serverless on a free port, and print which."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), EmrServerless)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def emr_connection() -> Iterator[str]:
    """Serve EMR Serverless in a process of its own; yield the Airflow connection to it."""
    with python(__file__, "--serve-emr") as process:
        extra = {"region_name": "us-east-1", "endpoint_url": f"http://127.0.0.1:{read_line(process)}"}
        yield json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": extra})


def now() -> Seconds:
    """Return what this process has used of both times so far."""
    return time.process_time(), time.perf_counter()


def since(start: Seconds) -> Seconds:
    """Return both times since ``start``."""
    return now()[0] - start[0], now()[1] - start[1]


def child(module_name: str, sensor_name: str | None, arguments: dict[str, Any]) -> dict[str, Seconds]:
    """Import a module and, if there is a sensor, execute it as a worker does, until it is rescheduled."""
    start = now()
    module = importlib.import_module(module_name)
    measured = {"import": since(start)}
    if sensor_name:
        with suppress(ImportError):  # what a worker of Airflow 3 has always imported
            importlib.import_module("airflow.sdk.execution_time.supervisor")
        if sensor_name == "PythonSensor":
            arguments = {"python_callable": lambda: False}
        start = now()
        sensor = getattr(module, sensor_name)(task_id="wait", mode="reschedule", poke_interval=60, **arguments)
        task_instance = SimpleNamespace(get_first_reschedule_date=lambda _: None, xcom_push=None)
        try:
            sensor.execute({"ti": task_instance})
        except Exception as ending:
            if type(ending).__name__ != "AirflowRescheduleException":
                raise
        measured["poke"] = since(start)
    measured["process"] = (time.process_time(), 0.0)
    return measured


def run(connection: str | None, *task: Any) -> dict[str, Seconds]:
    """Measure in a fresh process."""
    environment = {"AIRFLOW_CONN_AWS_DEFAULT": connection} if connection else {}
    start = time.perf_counter()
    with python(__file__, "--child", json.dumps(task), **environment) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{task} failed")
    measured: dict[str, Seconds] = json.loads(output.splitlines()[-1])  # before it there may be the sensor's log
    measured["process"] = (measured["process"][0], time.perf_counter() - start)
    return measured


def print_table(title: str, columns: list[str], rows: dict[str, list[Seconds]], yardstick: str) -> None:
    """Print medians in milliseconds, and the ratio to the yardstick's row."""
    print(f"\n{title}, CPU / wall ms; ratio to {yardstick}'s")
    width = max(map(len, rows))
    print(" " * width + "".join(f"{column:>28}" for column in columns))
    for name, row in rows.items():
        cells = [
            f"{cpu * 1000:.0f} / {wall * 1000:.0f}; {cpu / against[0]:.3f} / {wall / against[1]:.3f}"
            for (cpu, wall), against in zip(row, rows[yardstick], strict=True)
        ]
        print(f"{name:<{width}}" + "".join(f"{cell:>28}" for cell in cells))


def medians(runs: list[dict[str, Seconds]], what: str) -> Seconds:
    """Return the medians of both times."""
    cpu, wall = zip(*(each[what] for each in runs), strict=True)
    return statistics.median(cpu), statistics.median(wall)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--serve-emr", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_emr:
        return serve_emr()
    if options.child:
        return print(json.dumps(child(*options.child)))

    forget_the_machine("INFO")  # a worker's task log
    print(machine("apache-airflow", "apache-airflow-providers-amazon", "boto3"))
    with Server.running() as omics, emr_connection() as emr:
        (job,) = omics.start_jobs(1, JOB_SECONDS)
        omics.control("advance", seconds=JOB_SECONDS / 2)
        arguments: dict[str, dict[str, Any]] = {
            "ours": {"sequence_store_id": omics.store, "job_id": job},
            "EMR": {"application_id": EMR_JOB["applicationId"], "job_run_id": EMR_JOB["jobRunId"]},
            "empty": {},
        }
        connections = {"ours": omics.connection, "EMR": emr, "empty": None}
        tasks: dict[str, tuple[str | None, str, str | None, dict[str, Any]]]
        tasks = {name: (connections[name], *SENSORS[name], arguments[name]) for name in SENSORS}
        tasks |= {module: (None, module, None, {}) for module in MODULES}
        runs: dict[str, list[dict[str, Seconds]]] = {name: [] for name in tasks}
        for number in range(options.repetitions + 1):
            # Interleaved, and each way round in turn, so that whatever else the machine does hits all alike.
            for name in list(tasks) if number % 2 else reversed(tasks):
                measured = run(*tasks[name])
                if number:  # the first round warms caches up
                    runs[name].append(measured)
    print(f"medians of {options.repetitions} fresh processes each")
    columns = ["poke", "import", "process"]
    pokes = {name: [medians(runs[name], column) for column in columns] for name in SENSORS}
    print_table("A poke, modules imported before; their import; the whole process", columns, pokes, "EMR")
    imports = {SENSORS[name][0]: [medians(runs[name], "import")] for name in SENSORS}
    imports |= {module: [medians(runs[module], "import")] for module in MODULES}
    print_table("Import in a fresh process", ["import"], imports, SENSORS["EMR"][0])
    return None


if __name__ == "__main__":
    main()
