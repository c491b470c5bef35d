"""
What differs between the versions this provider runs on; each line says from which version it can go.

What differs between versions of moto is in :mod:`airflow_omics.local.server`, which does not import Airflow.
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import PokeReturnValue
    from airflow.sdk.configuration import conf
    from airflow.sdk.definitions.context import Context
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
        TaskDeferred,
    )
else:
    try:
        from airflow.sdk import PokeReturnValue
    except ImportError:  # can go when Airflow 3.0 is the oldest supported
        from airflow.sensors.base import PokeReturnValue
    try:
        from airflow.sdk.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
            TaskDeferred,
        )
    except ImportError:  # can go when Airflow 3.2 is the oldest supported
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowNotFoundException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
            TaskDeferred,
        )
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # can go when Airflow 3.2 is the oldest supported
        from airflow.configuration import conf
    Context = dict

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "Context",
    "PokeReturnValue",
    "TaskDeferred",
    "conf",
    "connection_trouble",
]


def connection_trouble(conn_id: str) -> Exception | None:
    """
    Return what keeps a secrets backend from saying whether there is such a connection, if anything does.

    Airflow logs that, and then says that the connection is not defined.
    """
    for backend in _secrets_backends():
        try:
            if type(backend).__name__ == "ExecutionAPISecretsBackend":
                _ask_the_api(conn_id)
            elif backend.get_connection(conn_id=conn_id):
                return AirflowException("a secrets backend could not be asked a moment ago")
        except Exception as error:
            return error
    return None


def _secrets_backends() -> list[Any]:
    try:
        from airflow.sdk.execution_time import supervisor  # noqa: PLC0415
    except ImportError:  # can go when Airflow 3.0 is the oldest supported
        from airflow import configuration  # noqa: PLC0415

        return list(configuration.ensure_secrets_loaded())
    return list(supervisor.ensure_secrets_backend_loaded())


def _ask_the_api(conn_id: str) -> None:
    """Ask as the backend of Airflow's API (3.1 and newer) does, which takes every error for "not defined"."""
    from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415
    from airflow.sdk.execution_time import task_runner  # noqa: PLC0415
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection  # noqa: PLC0415

    answer = task_runner.SUPERVISOR_COMMS.send(GetConnection(conn_id=conn_id))
    if not isinstance(answer, ErrorResponse):
        raise AirflowException("Airflow's API could not be asked a moment ago")
    if answer.error is not ErrorType.CONNECTION_NOT_FOUND:
        raise AirflowException(f"Airflow's API answered {answer.error.value}")


def generation_of(task_instance: Any, retries: int | None) -> int:
    """
    Return the first try of the present generation: of the attempts since the task was cleared last.

    ``airflow tasks clear`` raises ``max_tries`` by the tries so far, and a retry leaves it. An edited ``retries`` moves
    this, so it is kept within the tries there were.
    """
    first = int(task_instance.max_tries or 0) - int(retries or 0) + 1
    return min(max(first, 1), int(task_instance.try_number))


def since_of(context: Context) -> datetime | None:
    """
    Return when the DAG run was to run, or None where that is not known.

    Not when it began: a clear sets that anew, and the jobs of earlier attempts would count no more.
    """
    dag_run: Any = context.get("dag_run")
    for name in ("run_after", "data_interval_end", "logical_date"):  # Airflow 2 has no run_after
        if isinstance(moment := getattr(dag_run, name, None), datetime):
            return moment
    return None


def first_reschedule(context: Context) -> datetime | None:
    """Return when the task was first rescheduled, as Airflow reads it for its timeout; None if it never was."""
    instance: Any = context["ti"]
    if hasattr(instance, "get_first_reschedule_date"):
        first = instance.get_first_reschedule_date(context)
    else:  # can go when Airflow 3.0 is the oldest supported
        arguments = {key: getattr(instance, key) for key in ("dag_id", "task_id", "run_id", "map_index", "try_number")}
        first = importlib.import_module("airflow.sensors.base")._orig_start_date(**arguments)
    return first.astimezone(UTC) if isinstance(first, datetime) else None
