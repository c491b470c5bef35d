"""Sequence stores with their read sets: the operations, and what the controls of the handle do to read sets."""

from __future__ import annotations

from airflow_omics.local.operations import Family, Members, page
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import ReadSet, SequenceStore, State
from airflow_omics.local.wire import ServiceError, service_model

PART_SIZE = 100 * 1024 * 1024
SAMPLE = {
    "sourceFiles": {"source1": "s3://sample/sample.fastq"},
    "sourceFileType": "FASTQ",
    "subjectId": "subject",
    "sampleId": "sample",
    "name": "sample",
}
"""How the read sets that :func:`add_read_sets` adds would have been imported."""


class SequenceStores(Family):
    """The sequence stores in one place, and their read sets."""

    limited = frozenset({"ListReadSets", "GetReadSetMetadata"})

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        super().__init__(state, settings, place)
        self.operations = {
            "CreateSequenceStore": self._create,
            "GetSequenceStore": lambda p: _store_members(self._store(p["id"])),
            "ListSequenceStores": self._list,
            "DeleteSequenceStore": self._delete,
            "ListReadSets": self._list_read_sets,
            "GetReadSetMetadata": self._get_read_set_metadata,
            "BatchDeleteReadSet": self._batch_delete_read_set,
        }

    def _create(self, p: Members) -> Members:
        def create() -> SequenceStore:
            store_id = self._state.new_id()
            self._state.stores[store_id] = SequenceStore(store_id, self._place, p, self._state.clock.now())
            return self._state.stores[store_id]

        return _store_members(self._once("CreateSequenceStore", "", p, create))

    def _list(self, p: Members) -> Members:
        own = [_store_members(store) for store in self._state.stores.values() if store.place == self._place]
        return page("sequenceStores", own, p)

    def _delete(self, p: Members) -> Members:
        store = self._store(p["id"])
        if store.read_sets:
            raise ServiceError("ConflictException", f"Sequence store {store.id} is not empty")
        del self._state.stores[store.id]
        return {}

    def _list_read_sets(self, p: Members) -> Members:
        store = self._store(p["sequenceStoreId"])
        return page("readSets", [_read_set_members(store, read_set) for read_set in store.read_sets.values()], p)

    def _get_read_set_metadata(self, p: Members) -> Members:
        store = self._store(p["sequenceStoreId"])
        read_set = store.read_sets.get(p["id"])
        if read_set is None:
            raise ServiceError("ResourceNotFoundException", f"Read set {p['id']} does not exist")
        files = {
            name: {
                "totalParts": -(-len(content) // PART_SIZE),
                "partSize": PART_SIZE,
                "contentLength": len(content),
                "s3Access": self._s3_access(store, read_set, name),
            }
            for name, content in read_set.files.items()
        }
        return _read_set_members(store, read_set) | {"files": files, "creationJobId": read_set.creation_job_id}

    def _s3_access(self, store: SequenceStore, read_set: ReadSet, member: str) -> Members | None:
        """
        Return where a file can be read in place: with the real service, by S3's access point of the store.

        With this one the URI has the right form alone: moto's S3 knows no such bucket, and nothing can be read there.
        """
        if read_set.status != "ACTIVE":
            return None
        account = self._place.account
        name = read_set.source["sourceFiles"].get(member, member).rsplit("/", 1)[-1]
        path = f"{account}/sequenceStore/{store.id}/readSet/{read_set.id}/{name}"
        return {"s3Uri": f"s3://{account}-{store.id}-s3alias/{path}"}

    def _batch_delete_read_set(self, p: Members) -> Members:
        store = self._store(p["sequenceStoreId"])
        errors = [
            {"id": read_set_id, "code": "ResourceNotFoundException", "message": "The read set does not exist."}
            for read_set_id in p["ids"]
            if store.read_sets.pop(read_set_id, None) is None
        ]
        return {"errors": errors or None}


def add_read_sets(state: State, store_id: str, count: int, status: str) -> list[str]:
    """Put small read sets into a sequence store without an import; see the handle's method of this name."""
    check_status(status)
    store = state.stores.get(store_id)
    if store is None:
        raise LookupError(f"There is no sequence store {store_id}")
    added = [state.add_read_set(store, SAMPLE, {"source1": b"@read\nA\n+\nI\n"}) for _ in range(count)]
    for read_set in added:
        read_set.status = status
    return [read_set.id for read_set in added]


def find_read_sets(state: State, ids: list[str]) -> list[ReadSet]:
    """
    Look read sets up by their ids alone.

    :raises LookupError: There is no such read set.
    """
    by_id = {read_set.id: read_set for read_set in state.read_sets()}
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


def _store_members(store: SequenceStore) -> Members:
    request = {name: value for name, value in store.request.items() if name not in ("clientToken", "tags")}
    return request | {"id": store.id, "arn": store.arn, "creationTime": store.creation_time, "status": "ACTIVE"}


def _read_set_members(store: SequenceStore, read_set: ReadSet) -> Members:
    source = read_set.source
    return {
        "id": read_set.id,
        "arn": read_set.arn,
        "sequenceStoreId": store.id,
        "status": read_set.status,
        "statusMessage": read_set.status_message,
        "fileType": source["sourceFileType"],
        "creationTime": read_set.creation_time,
        "creationType": "IMPORT",
        "sequenceInformation": {"generatedFrom": source.get("generatedFrom")},
        **{name: source.get(name) for name in ("subjectId", "sampleId", "name", "description", "referenceArn")},
    }
