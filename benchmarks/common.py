"""What the benchmarks share: an Airflow without a past, the line that says where they ran, a server in a process."""

from __future__ import annotations

import atexit
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import quote


def forget_the_machine(log_level: str = "ERROR") -> None:
    """Give this process, and those it starts, an empty Airflow home and none of the user's AWS configuration."""
    for name in [each for each in os.environ if each.startswith(("AIRFLOW_", "AWS_"))]:
        del os.environ[name]
    home = tempfile.mkdtemp(prefix="airflow-omics-benchmark-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": log_level,
        "AWS_CONFIG_FILE": os.path.join(home, "none"),
        "AWS_SHARED_CREDENTIALS_FILE": os.path.join(home, "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def machine(*packages: str) -> str:
    """Say what a figure depends on: Python, the versions of these packages, the machine."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, {platform.machine()}"


def resident() -> float:
    """Return how much memory this process has, in MB; where that cannot be known, its largest so far."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@contextmanager
def python(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run this Python with these arguments; what it writes can be read while it runs, and it ends with the context."""
    command = [sys.executable, *arguments]
    environment = os.environ | environment
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment, text=True, bufsize=1, **pipes)  # type: ignore[call-overload]  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def read_line(process: subprocess.Popen[str]) -> str:
    """
    Return the next line that a process writes.

    :raises RuntimeError: It has ended.
    """
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r:.200} ended with {process.wait()}")
    return line.rstrip("\n")


_OWN = "1970"
"""The year by which a List of the benchmark's own is known."""


class Server:
    """Local HealthOmics without limits, in a process of its own, with a sequence store that has one read set."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._url = read_line(process).split()[-1]
        self.connection = read_line(process).split("=", 1)[1].strip("'")
        self._send("PUT", "/benchmark", service="s3")  # the bucket that jobs export to
        self.store: str = self.call("sequencestore", name="benchmark")["id"]
        (self._read_set,) = self.control("add_read_sets", sequence_store_id=self.store)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Server]:
        """Run it while the context lasts."""
        with python("-m", "airflow_omics.local", "--port", "0", "--no-limits") as process:
            yield cls(process)

    def _send(self, method: str, path: str, body: bytes = b"", service: str | None = None) -> bytes:
        # Not with boto3, since its import is one of the things measured.
        scope = {"Authorization": f"AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/{service}/aws4_request"}
        request = urllib.request.Request(self._url + path, body, scope if service else {}, method=method)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return bytes(answer.read())

    def control(self, name: str, **arguments: Any) -> Any:
        """Call a control of local HealthOmics."""
        return json.loads(self._send("POST", f"/_local/{name}", json.dumps(arguments).encode()))

    def call(self, path: str, **body: Any) -> Any:
        """Call an operation of HealthOmics, by its path."""
        return json.loads(self._send("POST", f"/{path}", json.dumps(body).encode(), service="omics"))

    def start_jobs(self, count: int, job_seconds: float) -> list[str]:
        """Start export jobs that take so long, and return their ids."""
        self.control("configure", job_seconds=job_seconds)
        request = {
            "destination": "s3://benchmark/",
            "roleArn": "arn:aws:iam::123456789012:role/HealthOmics",
            "sources": [{"readSetId": self._read_set}],
        }
        return [str(self.call(f"sequencestore/{self.store}/exportjob", **request)["id"]) for _ in range(count)]

    def wait_until_asked(self, jobs: Collection[str], asker: subprocess.Popen[str]) -> tuple[float, int]:
        """
        Wait until every export job has been asked for; return when that was, by the calls' times, and after how many.

        For a List, that is the jobs in its answer: the same is asked again, since no job may move on meanwhile.
        """
        answers: dict[str, set[str]] = {}
        deadline = time.monotonic() + 1800
        while asker.poll() is None and time.monotonic() < deadline:
            time.sleep(0.25)
            calls = [each for each in self.control("calls") if _is_asking(each)]
            if sum(1 if each["operation"].startswith("Get") else 100 for each in calls) < len(jobs):
                continue  # that cannot have been all; the server is left in peace
            missing = set(jobs)
            for number, call in enumerate(calls, 1):
                key = json.dumps(call["parameters"])
                if key not in answers:
                    answers[key] = self._told(call["parameters"])
                missing -= answers[key]
                if not missing:
                    return call["time"], number
        raise RuntimeError(f"Not every job was asked for; the process that waits: {asker.returncode or 'goes on'}")

    def _told(self, parameters: dict[str, Any]) -> set[str]:
        if "id" in parameters:
            return {parameters["id"]}
        names = parameters.keys() & {"maxResults", "nextToken"}
        query = "&".join(f"{name}={quote(str(parameters[name]))}" for name in names)
        filters = {"createdAfter": f"{_OWN}-01-01T00:00:00Z"} | parameters.get("filter", {})
        page = self.call(f"sequencestore/{self.store}/exportjobs?{query}", filter=filters)
        return {job["id"] for job in page["exportJobs"]}


def _is_asking(call: dict[str, Any]) -> bool:
    """Tell whether a call asked for jobs and was not a benchmark's own; one that has just come has no filter yet."""
    parameters = call["parameters"]
    own = str(parameters.get("filter", {}).get("createdAfter")).startswith(_OWN)
    return call["error"] is None and not own and ("id" in parameters or "filter" in parameters)
