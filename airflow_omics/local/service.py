"""The operations of local HealthOmics: parameters in, response members out."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast

from airflow_omics._service.kinds import READ_SET_JOB_KINDS
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import Item, Job, ReadSet, SequenceStore, State
from airflow_omics.local.wire import ServiceError

Members = dict[str, Any]
T = TypeVar("T")
PART_SIZE = 100 * 1024 * 1024


class Service:
    """HealthOmics storage in one place, without its wire: :attr:`operations` has one function per operation served."""

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        self._place = place
        self._state = state
        self._settings = settings
        self._created: dict[tuple[str, str, str], _Created] = {}
        self.operations: dict[str, Callable[[Members], Members]] = {
            "CreateSequenceStore": self._create_store,
            "GetSequenceStore": lambda p: _store_members(self._store(p["id"])),
            "ListSequenceStores": self._list_stores,
            "DeleteSequenceStore": self._delete_store,
            "ListReadSets": self._list_read_sets,
            "GetReadSetMetadata": self._get_read_set_metadata,
            "BatchDeleteReadSet": self._batch_delete_read_set,
        }
        self.limited_operations = {"ListReadSets", "GetReadSetMetadata"}
        for kind in READ_SET_JOB_KINDS:
            job_operations = {
                kind.operation("Start"): partial(self._start_job, kind),
                kind.operation("Get"): partial(self._get_job, kind),
                kind.operation("List"): partial(self._list_jobs, kind),
            }
            self.operations |= job_operations
            self.limited_operations |= job_operations.keys()

    def _create_store(self, p: Members) -> Members:
        def create() -> SequenceStore:
            store_id = self._state.new_id()
            self._state.stores[store_id] = SequenceStore(store_id, self._place, p, self._state.clock.now())
            return self._state.stores[store_id]

        return _store_members(self._once("CreateSequenceStore", "", p, create))

    def _list_stores(self, p: Members) -> Members:
        own = [_store_members(store) for store in self._state.stores.values() if store.place == self._place]
        return _page("sequenceStores", [members for members in own if _matches(members, p.get("filter"))], p)

    def _delete_store(self, p: Members) -> Members:
        store = self._store(p["id"])
        if store.read_sets:
            raise ServiceError("ConflictException", f"Sequence store {store.id} is not empty")
        del self._state.stores[store.id]
        return {}

    def _list_read_sets(self, p: Members) -> Members:
        store = self._store(p["sequenceStoreId"])
        listed = [_read_set_members(store, read_set) for read_set in store.read_sets.values()]
        return _page("readSets", [m for m in listed if _matches(m, p.get("filter"))], p)

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

    def _start_job(self, kind: ReadSetJobKind, p: Members) -> Members:
        store = self._store(p["sequenceStoreId"])

        def start() -> Job:
            limit = self._settings.max_concurrent_jobs[kind.word]
            if limit is not None and self._state.running(kind, self._place) >= limit:
                raise ServiceError(
                    "ServiceQuotaExceededException", f"At most {limit} {kind.word} jobs can run at the same time"
                )
            job = Job(
                id=self._state.new_id(),
                kind=kind,
                store=store,
                request=p,
                items=[Item(source) for source in p["sources"]],
                creation_time=self._state.clock.now(),
                seconds=self._settings.job_seconds,
            )
            self._state.add_job(job)
            return job

        return _job_members(self._once(kind.operation("Start"), store.id, p, start))

    def _get_job(self, kind: ReadSetJobKind, p: Members) -> Members:
        job = self._store(p["sequenceStoreId"]).jobs.get(p["id"])
        if job is None or job.kind != kind or job.as_of(self._settings.get_lag) is None:
            raise ServiceError("ResourceNotFoundException", f"{kind.word.capitalize()} job {p['id']} does not exist")
        items = [
            item.request | {"status": item.status, "statusMessage": item.message, "readSetId": item.read_set_id}
            if kind == ReadSetJobKind.IMPORT
            else {kind.item_id_key: item.request["readSetId"], "status": item.status, "statusMessage": item.message}
            for item in job.items
        ]
        return _job_members(job) | {"statusMessage": job.message, kind.items_key: items}

    def _list_jobs(self, kind: ReadSetJobKind, p: Members) -> Members:
        jobs = []
        for job in self._store(p["sequenceStoreId"]).jobs.values():
            if job.kind == kind and (seen := job.as_of(self._settings.list_lag)):
                status, completion_time = seen
                jobs.append(_job_members(job) | {"status": str(status), "completionTime": completion_time})
        return _page(f"{kind.word}Jobs", [members for members in jobs if _matches(members, p.get("filter"))], p)

    def _store(self, store_id: str) -> SequenceStore:
        store = self._state.stores.get(store_id)
        if store is None or store.place != self._place:
            raise ServiceError("ResourceNotFoundException", f"Sequence store {store_id} does not exist")
        return store

    def _once(self, operation: str, scope: str, p: Members, create: Callable[[], T]) -> T:
        """Create what a request asks for, or return what the same request with the same client token created."""
        token = p.get("clientToken")
        if token is None or not self._settings.client_tokens:
            return create()
        key = (operation, scope, token)
        payload = {name: value for name, value in p.items() if name != "clientToken"}
        now, lifetime = self._state.clock.now(), self._settings.client_token_seconds
        first = self._created.get(key)
        if first is not None and (lifetime is None or (now - first.time).total_seconds() < lifetime):
            changed_request = self._settings.changed_request
            if payload == first.payload or changed_request == "old job":
                return cast(T, first.created)
            if changed_request == "refuse":
                raise ServiceError("ValidationException", "The client token was used before with other parameters")
        self._created[key] = _Created(payload, create(), now)
        return cast(T, self._created[key].created)


@dataclass(frozen=True)
class _Created:
    """What a client token was used for first: the request without it, what that created, and when."""

    payload: Members
    created: object
    time: datetime


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


def _job_members(job: Job) -> Members:
    return {
        "id": job.id,
        "sequenceStoreId": job.store.id,
        "status": str(job.status),
        "creationTime": job.creation_time,
        "completionTime": job.completion_time,
        **{name: job.request.get(name) for name in ("destination", "roleArn")},
    }


def _matches(members: Members, criteria: Members | None) -> bool:
    flat = members | members.get("sequenceInformation", {})
    for name, wanted in (criteria or {}).items():
        if name in ("createdAfter", "updatedAfter"):  # nothing is ever updated
            fits = members["creationTime"] > wanted
        elif name in ("createdBefore", "updatedBefore"):
            fits = members["creationTime"] < wanted
        else:
            fits = flat.get(name) == wanted
        if not fits:
            return False
    return True


def _page(key: str, listed: list[Members], p: Members) -> Members:
    """Cut a page out of what is listed in the order of creation, which is also that of the ids."""
    after = 0
    if token := p.get("nextToken"):
        try:
            after = int(urlsafe_b64decode(token))
        except ValueError:
            raise ServiceError("ValidationException", "nextToken is not one that this service gave") from None
    size = p.get("maxResults", 100)
    rest = [members for members in listed if int(members["id"]) > after]
    more = len(rest) > size
    return {key: rest[:size], "nextToken": urlsafe_b64encode(rest[size - 1]["id"].encode()).decode() if more else None}
