"""Reference stores with their references: the operations."""

from __future__ import annotations

import hashlib

from airflow_omics._service.kinds import READ_SET, REFERENCE
from airflow_omics.local.operations import Members
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import State, Stored
from airflow_omics.local.stores import Stores
from airflow_omics.local.wire import ServiceError


class ReferenceStores(Stores):
    """The reference stores in one place, and their references."""

    holds = REFERENCE
    limited = frozenset({"ListReferences", "GetReferenceMetadata"})

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        super().__init__(state, settings, place)
        self.operations = {
            "CreateReferenceStore": self._create,
            "GetReferenceStore": self._get,
            "ListReferenceStores": self._list,
            "DeleteReferenceStore": self._delete,
            "ListReferences": self._list_held,
            "GetReferenceMetadata": self._get_held,
            "DeleteReference": self._delete_reference,
        }

    def _check_room(self) -> None:
        limit = self._settings.max_reference_stores
        if limit is not None and len(self._stores()) >= limit:
            raise ServiceError("ServiceQuotaExceededException", f"There can be no more than {limit} reference stores")

    def _members(self, stored: Stored) -> Members:
        md5 = hashlib.md5(stored.files["source"], usedforsecurity=False).hexdigest()
        return super()._members(stored) | {"md5": md5, "updateTime": stored.creation_time}

    def _delete_reference(self, p: Members) -> Members:
        """Delete a reference; the service model says that read sets associated with it must be deleted before."""
        reference = self._find(p)
        if any(read_set.source.get("referenceArn") == reference.arn for read_set in self._state.all_of(READ_SET)):
            raise ServiceError("ConflictException", f"Reference {reference.id} has read sets")
        del reference.store.held[reference.id]
        return {}
