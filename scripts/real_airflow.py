"""A real Airflow in a throw-away home, for the demo and for tests: all its components, SQLite, loopback, free ports."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

IS_AIRFLOW_2 = version("apache-airflow").startswith("2.")
COMPONENTS = ("scheduler", "triggerer") if IS_AIRFLOW_2 else ("scheduler", "dag-processor", "triggerer", "api-server")
START_SECONDS = 180
LIVENESS_SECONDS = 60

# Tasks are forked from the scheduler: what it has imported, they need not. What they log goes to their log files.
SCHEDULER_SETTINGS = "import airflow_omics.operators\n"


class RealAirflowError(Exception):
    """Airflow did not do what it was asked; the message says what."""


class RealAirflow:
    """
    Airflow, started with a ``with`` statement and stopped with all its processes at the end.

    What became of runs is read from its database, which is the same for all versions.

    :param home: A folder for its database, its configuration and its logs.
    :param connection: The connection ``aws_default``; :meth:`set_connection` changes it.
    :param settings: More of Airflow's configuration, as ``{"section__option": value}``.
    :param restart: Start a component anew that ended, or has shown no sign of life for a minute, as those do who run
        Airflow; else its end is an error.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        connection: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        *,
        restart: bool = False,
    ) -> None:
        self.home = home
        self.database = home / "airflow.db"
        self._restart = restart
        self._port = _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._connections = home / "connections.json"
        self.set_connection(connection)
        self._env = _environment(home, dags_folder, self._connections, self._port, settings or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Make the database, and start every component."""
        with self._stack:
            self._stack.callback(self._stop_all)
            self._command("migrate", "db", "migrate")
            (self.home / "scheduler").mkdir()
            (self.home / "scheduler" / "airflow_local_settings.py").write_text(SCHEDULER_SETTINGS)
            self.start(*COMPONENTS)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self._stack.close()

    def set_connection(self, connection: Mapping[str, Any]) -> None:
        """Set the connection ``aws_default``; whatever looks it up from now on finds this one."""
        written = self._connections.with_suffix(".new")
        extra = json.dumps(connection.get("extra", {}))
        written.write_text(json.dumps({"aws_default": {**connection, "extra": extra}}))
        written.replace(self._connections)  # at once, since Airflow may be reading

    def start(self, *names: str) -> None:
        """Start components."""
        for name in names:
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

    def kill(self, *names: str) -> None:
        """Kill components with all their processes (SIGKILL)."""
        for name in names:
            os.killpg(self._processes[name].pid, signal.SIGKILL)
        for name in names:
            self._processes[name].wait()

    def kill_and_restart(self, *names: str) -> None:
        """Kill components, all before the first is started anew."""
        self.kill(*names)
        self.start(*names)

    def pid(self, name: str) -> int:
        """Return the process id of a component."""
        return self._processes[name].pid

    def check_processes(self) -> None:
        """Raise, or start it anew, if a component has ended."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                if not self._restart:
                    raise RealAirflowError(f"airflow {name} ended with exit code {process.returncode}")
                self.start(name)
            elif self._restart and self._is_stuck(name):
                self.kill_and_restart(name)

    def trigger(self, dag_id: str, conf: Any = None) -> str:
        """
        Wait until a DAG is parsed and Airflow's API, if it needs it, is up; start a run, and return its id.

        :param conf: What the run gets as ``dag_run.conf``, a JSON object.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready(dag_id):
            if time.monotonic() > deadline:
                raise RealAirflowError(f"DAG {dag_id} was not ready within {START_SECONDS} s; see {self.home}/*.log")
            self.check_processes()
            time.sleep(0.3)
        run = self.next_run()
        self._command("trigger", "dags", "trigger", dag_id, "--run-id", run, "--conf", json.dumps(conf or {}))
        return run

    def clear(self, dag_id: str) -> None:
        """Clear all tasks of all runs of a DAG, as a user does."""
        self._command("clear", "tasks", "clear", "--yes", dag_id)

    def next_run(self) -> str:
        """Return the id that the next run will have."""
        return f"run{self.query('SELECT count(*) FROM dag_run')[0][0]}"

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
            time.sleep(0.3)
        raise RealAirflowError(f"Run {run} of DAG {dag_id} was not over within {seconds} s")

    def run_state(self, dag_id: str, run: str) -> str:
        """Return the state of a run."""
        return str(self.query("SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", dag_id, run)[0][0])

    def task_states(self, dag_id: str, run: str) -> dict[str, str]:
        """Return the state of each task of a run, ``None`` before it is scheduled; ``task[0]`` is a mapped one."""
        found = self.query(
            "SELECT task_id, map_index, state FROM task_instance WHERE dag_id = ? AND run_id = ?", dag_id, run
        )
        return {f"{task}[{index}]" if index >= 0 else task: str(state) for task, index, state in found}

    def xcom(self, dag_id: str, run: str, task: str, key: str = "return_value", map_index: int = -1) -> Any:
        """
        Return what a task pushed.

        :raises RealAirflowError: It has pushed nothing under this key.
        """
        where = "dag_id = ? AND run_id = ? AND task_id = ? AND key = ? AND map_index = ?"
        found = self.query(f"SELECT value FROM xcom WHERE {where}", dag_id, run, task, key, map_index)
        if not found:
            raise RealAirflowError(f"Task {task}[{map_index}] of run {run} has no XCom {key}")
        return json.loads(found[0][0])

    def log_folder(self, dag_id: str, run: str, task: str, map_index: int) -> Path:
        """Return where the logs of a mapped task go."""
        return self.home / f"logs/dag_id={dag_id}/run_id={run}/task_id={task}/map_index={map_index}"

    def task_log(self, task: str) -> str:
        """Return the logs of a task, of all runs and tries."""
        return "\n".join(log.read_text() for log in sorted(self.home.glob(f"logs/**/task_id={task}/**/*.log*")))

    def component_log(self, name: str) -> str:
        """Return what a component has printed."""
        return (self.home / f"{name}.log").read_text()

    def query(self, sql: str, *values: Any) -> list[Any]:
        """Read from Airflow's database, however busy it is."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=60)) as database:
            return database.execute(sql, values).fetchall()

    def _command(self, log: str, *words: str) -> None:
        with (self.home / f"{log}.log").open("ab") as file:
            code = subprocess.run([_airflow(), *words], env=self._env, stdout=file, stderr=file, check=False).returncode
        if code:
            raise RealAirflowError(f"airflow {' '.join(words)} ended with exit code {code}; see {file.name}")

    def _is_ready(self, dag_id: str) -> bool:
        if not self.query("SELECT 1 FROM serialized_dag WHERE dag_id = ?", dag_id):
            return False
        with socket.socket() as probe:
            return IS_AIRFLOW_2 or probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _is_stuck(self, name: str) -> bool:
        """Tell what a liveness probe tells: whether a component's heart has not beaten for a minute."""
        job_type = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob"}.get(name)
        if job_type is None:
            return False
        ((beat,),) = self.query("SELECT max(latest_heartbeat) FROM job WHERE job_type = ?", job_type)
        started = psutil.Process(self.pid(name)).create_time()
        last = datetime.fromisoformat(beat).replace(tzinfo=UTC).timestamp() if beat else started
        return bool(time.time() - max(last, started) > LIVENESS_SECONDS)

    def _stop_all(self) -> None:
        for process in reversed(self._processes.values()):
            _stop(process)


def _environment(
    home: Path, dags_folder: Path, connections: Path, api_port: int, settings: Mapping[str, Any]
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
        # A variable of the environment would stay as it was when a component was started.
        "secrets__backend": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "secrets__backend_kwargs": json.dumps({"connections_file_path": str(connections)}),
        **settings,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    return {
        **clean,
        "AIRFLOW_HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": "127.0.0.1,localhost",
        "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",  # Airflow 2: LocalExecutor with SQLite
        **{f"AIRFLOW__{name.upper()}": str(value) for name, value in configuration.items()},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _airflow() -> str:
    """Return the command of the Airflow that is installed beside this Python."""
    return shutil.which("airflow", path=str(Path(sys.executable).parent)) or "airflow"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process group to end, and after a while make it."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
