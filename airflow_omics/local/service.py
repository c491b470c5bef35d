"""The families of local HealthOmics in one place, together."""

from __future__ import annotations

from collections.abc import Callable

from airflow_omics.local.jobs import Jobs
from airflow_omics.local.operations import Members
from airflow_omics.local.places import Place
from airflow_omics.local.read_set_jobs import WORKS
from airflow_omics.local.sequence_stores import SequenceStores
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import Job, State


class Service:
    """HealthOmics storage in one place, without its wire: :attr:`operations` has one function per operation served."""

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        self._jobs = {kind: Jobs(state, settings, place, kind, work(state)) for kind, work in WORKS.items()}
        self.operations: dict[str, Callable[[Members], Members]] = {}
        self.limited_operations: set[str] = set()
        for family in (SequenceStores(state, settings, place), *self._jobs.values()):
            self.operations |= family.operations
            self.limited_operations |= family.limited

    def cancel(self, job: Job) -> None:
        """Begin to cancel a job that is here."""
        self._jobs[job.kind].cancel(job)
