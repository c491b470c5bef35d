"""A real Airflow in a throw-away home, for the demo and for tests: all its components, SQLite, loopback, free ports."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

COMPONENTS = ("scheduler", "dag-processor", "triggerer", "api-server")
START_SECONDS = 120


class RealAirflowError(Exception):
    """Airflow did not do what it was asked; the message says what."""


class RealAirflow:
    """
    Airflow, started with a ``with`` statement and stopped with all its processes at the end.

    :param home: A folder for its database, its configuration and its logs.
    :param connection: The connection ``aws_default``.
    :param settings: More of Airflow's configuration, as ``{"section__option": value}``.
    :param components: What to start, as subcommands of ``airflow``.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        connection: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        components: Sequence[str] = COMPONENTS,
    ) -> None:
        self.home = home
        self._components = components
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._env = _environment(home, dags_folder, connection, port, settings or {})
        self._http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Make the database, start every component, and wait until the API answers."""
        # Tasks are forked from the scheduler, and this spares each from importing the Amazon provider anew.
        (self.home / "scheduler").mkdir()
        (self.home / "scheduler" / "airflow_local_settings.py").write_text("import airflow_omics.operators\n")
        with self._stack:
            self._stack.callback(self._stop_all)
            with (self.home / "migrate.log").open("wb") as log:
                subprocess.run([_airflow(), "db", "migrate"], env=self._env, stdout=log, stderr=log, check=True)
            for name in self._components:
                self._start(name)
            self._wait_until_up()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self._stack.close()
        self._http.close()

    def kill_and_restart(self, name: str) -> None:
        """Kill a component with all its processes (SIGKILL), and start it anew."""
        process = self._processes[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._start(name)

    def check_processes(self) -> None:
        """Raise if a component has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RealAirflowError(f"airflow {name} ended with exit code {process.returncode}")

    def trigger(self, dag_id: str) -> str:
        """Wait until a DAG is parsed, start a run, and return its id."""
        deadline = time.monotonic() + START_SECONDS
        while self._http.get(f"/api/v2/dags/{dag_id}").status_code != 200:
            if time.monotonic() > deadline:
                raise RealAirflowError(f"DAG {dag_id} was not parsed within {START_SECONDS} s")
            self.check_processes()
            time.sleep(0.5)
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None})["dag_run_id"])

    def watch(self, dag_id: str, run: str, seconds: float) -> Iterator[tuple[str, str]]:
        """
        Yield ``(task id, state)`` for every change of a task's state until the run is over.

        :param seconds: How long the run may take.
        """
        deadline = time.monotonic() + seconds
        shown: dict[str, str] = {}
        while time.monotonic() < deadline:
            self.check_processes()
            is_over = self.run_state(dag_id, run) in ("success", "failed")
            for task, state in self.task_states(dag_id, run).items():
                if shown.get(task) != state:
                    shown[task] = state
                    yield task, state
            if is_over:
                return
            time.sleep(0.5)
        raise RealAirflowError(f"Run {run} of DAG {dag_id} was not over within {seconds} s")

    def run_state(self, dag_id: str, run: str) -> str:
        """Return the state of a run."""
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run}")["state"])

    def task_states(self, dag_id: str, run: str) -> dict[str, str]:
        """Return the state of each task of a run, ``None`` before it is scheduled; ``task[0]`` is a mapped one."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances"
        found: list[Any] = []
        while page := self._call("GET", path, params={"limit": 100, "offset": len(found)})["task_instances"]:
            found += page
        return {_label(each): str(each["state"]) for each in found}

    def xcom(self, dag_id: str, run: str, task: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task pushed."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}"
        return self._call("GET", path, params={"deserialize": True, "map_index": map_index})["value"]

    def task_log(self, task: str) -> str:
        """Return the logs of a task, of all runs and tries."""
        return "\n".join(log.read_text() for log in sorted(self.home.glob(f"logs/**/task_id={task}/*.log")))

    def component_log(self, name: str) -> str:
        """Return what a component has printed."""
        return (self.home / f"{name}.log").read_text()

    def _start(self, name: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [_airflow(), name],
                env={**self._env, "PYTHONPATH": str(self.home / name)},
                cwd=self.home,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _stop_all(self) -> None:
        for process in reversed(self._processes.values()):
            _stop(process)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_processes()
            try:
                token = self._http.get("/auth/token").json()["access_token"]
            except (httpx.TransportError, ValueError, KeyError):
                time.sleep(0.5)
            else:
                self._http.headers["Authorization"] = f"Bearer {token}"
                return
        raise RealAirflowError(f"Airflow's API was not up within {START_SECONDS} s; see {self.home}/api-server.log")

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        response = self._http.request(method, path, **arguments)
        if response.is_error:
            raise RealAirflowError(f"{method} {path} was answered with {response.status_code}: {response.text}")
        return response.json()


def _environment(
    home: Path, dags_folder: Path, connection: Mapping[str, Any], api_port: int, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Return an environment that has nothing of the user's own Airflow and AWS settings."""
    url = f"http://127.0.0.1:{api_port}"
    configuration = {
        "core__dags_folder": dags_folder,
        "core__load_examples": False,
        "core__dags_are_paused_at_creation": False,
        "core__executor": "LocalExecutor",
        "core__parallelism": 4,
        "core__simple_auth_manager_all_admins": True,
        "core__execution_api_server_url": f"{url}/execution/",
        "core__fernet_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "api__host": "127.0.0.1",
        "api__port": api_port,
        "api__base_url": url,
        "api__workers": 1,
        "api__secret_key": secrets.token_hex(),
        "api_auth__jwt_secret": secrets.token_hex(32),
        "logging__worker_log_server_port": _free_port(),
        "logging__trigger_log_server_port": _free_port(),
        **settings,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    return {
        **clean,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": "127.0.0.1,localhost",
        **{f"AIRFLOW__{name.upper()}": str(value) for name, value in configuration.items()},
    }


def _label(task_instance: Mapping[str, Any]) -> str:
    index = task_instance["map_index"]
    return f"{task_instance['task_id']}[{index}]" if index >= 0 else str(task_instance["task_id"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _airflow() -> str:
    """Return the command of the Airflow that is installed beside this Python."""
    return str(Path(sys.executable).with_name("airflow"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process group to end, and after a while make it."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
