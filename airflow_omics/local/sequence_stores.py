"""Sequence stores with their read sets: the operations, and what the controls of the handle do to read sets."""

from __future__ import annotations

from airflow_omics._service.kinds import READ_SET
from airflow_omics.local.operations import Members
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import State, Store, Stored
from airflow_omics.local.stores import Stores
from airflow_omics.local.wire import service_model

SAMPLE = {
    "sourceFiles": {"source1": "s3://sample/sample.fastq"},
    "sourceFileType": "FASTQ",
    "subjectId": "subject",
    "sampleId": "sample",
    "name": "sample",
}
"""How the read sets that :func:`add_read_sets` adds would have been imported."""


class SequenceStores(Stores):
    """The sequence stores in one place, and their read sets."""

    holds = READ_SET
    limited = frozenset({"ListReadSets", "GetReadSetMetadata"})

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        super().__init__(state, settings, place)
        self.operations = {
            "CreateSequenceStore": self._create,
            "GetSequenceStore": self._get,
            "ListSequenceStores": self._list,
            "DeleteSequenceStore": self._delete,
            "ListReadSets": self._list_held,
            "GetReadSetMetadata": self._get_held,
            "BatchDeleteReadSet": self._batch_delete_read_set,
        }

    def _store_members(self, store: Store) -> Members:
        return super()._store_members(store) | {"status": "ACTIVE"}

    def _members(self, stored: Stored) -> Members:
        source = stored.source
        return super()._members(stored) | {
            "statusMessage": stored.status_message,
            "fileType": source["sourceFileType"],
            "creationType": "IMPORT",
            "sequenceInformation": {"generatedFrom": source.get("generatedFrom")},
            **{name: source.get(name) for name in ("subjectId", "sampleId", "referenceArn")},
        }

    def _file_members(self, stored: Stored, name: str) -> Members:
        return super()._file_members(stored, name) | {"s3Access": self._s3_access(stored, name)}

    def _s3_access(self, read_set: Stored, member: str) -> Members | None:
        """
        Return where a file can be read in place: with the real service, by S3's access point of the store.

        With this one the URI has the right form alone: moto's S3 knows no such bucket, and nothing can be read there.
        """
        if read_set.status != "ACTIVE":
            return None
        account, store = self._place.account, read_set.store
        name = read_set.source["sourceFiles"].get(member, member).rsplit("/", 1)[-1]
        path = f"{account}/sequenceStore/{store.id}/readSet/{read_set.id}/{name}"
        return {"s3Uri": f"s3://{account}-{store.id}-s3alias/{path}"}

    def _batch_delete_read_set(self, p: Members) -> Members:
        store = self._store(p)
        errors = [
            {"id": read_set_id, "code": "ResourceNotFoundException", "message": "The read set does not exist."}
            for read_set_id in p["ids"]
            if store.held.pop(read_set_id, None) is None
        ]
        return {"errors": errors or None}


def add_read_sets(state: State, store_id: str, count: int, status: str) -> list[str]:
    """Put small read sets into a sequence store without an import; see the handle's method of this name."""
    check_status(status)
    store = state.stores.get(store_id)
    if store is None or store.holds != READ_SET:
        raise LookupError(f"There is no sequence store {store_id}")
    added = [state.add(store, SAMPLE, {"source1": b"@read\nA\n+\nI\n"}) for _ in range(count)]
    for read_set in added:
        read_set.status = status
    return [read_set.id for read_set in added]


def find_read_sets(state: State, ids: list[str]) -> list[Stored]:
    """
    Look read sets up by their ids alone.

    :raises LookupError: There is no such read set.
    """
    by_id = {read_set.id: read_set for read_set in state.all_of(READ_SET)}
    if unknown := [read_set_id for read_set_id in ids if read_set_id not in by_id]:
        raise LookupError(f"There is no read set {', '.join(unknown)}")
    return [by_id[read_set_id] for read_set_id in ids]


def check_status(status: str) -> None:
    """
    Check a status that a read set is to have.

    :raises ValueError: There is no such status.
    """
    known = service_model().shape_for("ReadSetStatus").metadata["enum"]
    if status not in known:
        raise ValueError(f"status is {status!r}, expected one of {', '.join(known)}")
