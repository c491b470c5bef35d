"""The families of local HealthOmics in one place, together."""

from __future__ import annotations

from collections.abc import Callable

from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import REFERENCE_IMPORT
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local.imports import Import
from airflow_omics.local.jobs import Jobs
from airflow_omics.local.life import Work
from airflow_omics.local.operations import Members
from airflow_omics.local.places import Place
from airflow_omics.local.read_set_jobs import Activation, Export
from airflow_omics.local.reference_stores import ReferenceStores
from airflow_omics.local.sequence_stores import SequenceStores
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import Job, State

WORKS: dict[Kind, type[Work]] = {
    ReadSetJobKind.EXPORT: Export,
    ReadSetJobKind.ACTIVATION: Activation,
    ReadSetJobKind.IMPORT: Import,
    REFERENCE_IMPORT: Import,
}
"""What the jobs of each kind do."""


class Service:
    """HealthOmics storage in one place, without its wire: :attr:`operations` has one function per operation served."""

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        self._jobs = {kind: Jobs(state, settings, place, kind, work(state)) for kind, work in WORKS.items()}
        self.operations: dict[str, Callable[[Members], Members]] = {}
        self.limited_operations: set[str] = set()
        stores = (SequenceStores(state, settings, place), ReferenceStores(state, settings, place))
        for family in (*stores, *self._jobs.values()):
            self.operations |= family.operations
            self.limited_operations |= family.limited

    def cancel(self, job: Job) -> None:
        """Begin to cancel a job that is here."""
        self._jobs[job.kind].cancel(job)
