"""
Run the example DAG on a real Airflow against local HealthOmics, and show how it goes. ``make demo`` runs this.

Everything it starts is on loopback and on free ports, lives in .demo/ and is stopped at the end, also on Ctrl-C and
on failure. The exit code is 0 only if the DAG run succeeded.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

from real_airflow import RealAirflow, RealAirflowError
from rich.console import Console

from airflow_omics.local import LocalHealthOmics

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
DAG_ID = "read_sets"
RUN_SECONDS = 300
STYLES = {"success": "green", "failed": "bold red", "upstream_failed": "red", "running": "cyan"}
NOT_SHOWN = ("None", "scheduled", "queued")

console = Console(highlight=False, soft_wrap=True)


def demo(keep: bool) -> bool:
    """Run it all; return whether the DAG run succeeded."""
    began = time.monotonic()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    with LocalHealthOmics(job_seconds=8) as local:
        console.print(f"Local HealthOmics is up at {local.endpoint_url}")
        console.print("Starting Airflow: database, scheduler, DAG processor, triggerer, API server ...")
        with RealAirflow(HOME, ROOT / "example_dags", local.connection) as airflow:
            run = airflow.trigger(DAG_ID)
            triggered = time.monotonic()
            console.print(f"Airflow is up at {airflow.url} after {triggered - began:.0f} s; running DAG {DAG_ID}")
            for task, state in airflow.watch(DAG_ID, run, RUN_SECONDS):
                if state not in NOT_SHOWN:
                    style = STYLES.get(state, "yellow")
                    console.print(f"  {time.monotonic() - triggered:5.1f} s  {task:20} [{style}]{state}[/]")
            state = airflow.run_state(DAG_ID, run)
            if state == "success":
                console.print("Exported:")
                for uri in airflow.xcom(DAG_ID, run, "list_exported"):
                    console.print(f"  {uri}")
            ended = time.monotonic()
            console.print(
                f"The run ended [bold]{state}[/] after {ended - triggered:.0f} s; {ended - began:.0f} s in all."
            )
            if keep:
                wait_for_interrupt(airflow)
            return state == "success"


def wait_for_interrupt(airflow: RealAirflow) -> None:
    """Leave everything up until Ctrl-C."""
    console.print(f"\nLook around at {airflow.url}/dags/{DAG_ID}; you are logged in as an admin without being asked.")
    console.print("Ctrl-C stops everything.")
    try:
        while True:
            airflow.check_processes()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print()


def show_logs() -> None:
    """Show how the log of every component and of every task ends that says something went wrong."""
    for log in sorted(HOME.rglob("*.log")):
        lines = log.read_text(errors="replace").splitlines()
        if any(word in line for line in lines for word in ("Traceback", '"level":"error"', "ERROR")):
            console.rule(str(log.relative_to(ROOT)))
            console.print("\n".join(lines[-30:]), markup=False)


def main() -> int:
    """Run the demo from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything up until Ctrl-C")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a script's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        succeeded = demo(options.keep)
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    except (RealAirflowError, sqlite3.Error) as error:
        console.print(f"[bold red]{error}")
        succeeded = False
    if not succeeded:
        show_logs()
        console.print(f"The logs stay in {HOME.relative_to(ROOT)}/")
        return 1
    shutil.rmtree(HOME, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
