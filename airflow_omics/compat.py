"""
What differs between the versions this provider runs on; each line says from which version it can go.

What differs between versions of moto is in :mod:`airflow_omics.local.server`, which does not import Airflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import PokeReturnValue
    from airflow.sdk.configuration import conf
    from airflow.sdk.definitions.context import Context
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowRescheduleException,
        AirflowSensorTimeout,
        AirflowSkipException,
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
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
        )
    except ImportError:  # can go when Airflow 3.2 is the oldest supported
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowRescheduleException,
            AirflowSensorTimeout,
            AirflowSkipException,
        )
    try:
        from airflow.sdk.configuration import conf
    except ImportError:  # can go when Airflow 3.2 is the oldest supported
        from airflow.configuration import conf
    Context = dict

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowRescheduleException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "Context",
    "PokeReturnValue",
    "conf",
]
