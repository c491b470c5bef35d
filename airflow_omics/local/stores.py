"""The operations of stores, and of what they hold, as far as all kinds of store share them."""

from __future__ import annotations

from typing import ClassVar

from airflow_omics._service.kind import Kind
from airflow_omics.local.operations import Family, Members, page
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import State, Store, Stored
from airflow_omics.local.wire import ServiceError

PART_SIZE = 100 * 1024 * 1024


class Stores(Family):
    """The stores of one kind in one place; each kind says how it is told, and what else differs."""

    holds: ClassVar[Kind]

    def __init__(self, state: State, settings: Settings, place: Place) -> None:
        super().__init__(state, settings, place, self.holds.store)

    def _check_room(self) -> None:
        """Raise an error if there can be no further store."""

    def _store_members(self, store: Store) -> Members:
        """Tell of a store."""
        request = {name: value for name, value in store.request.items() if name not in ("clientToken", "tags")}
        return request | {"id": store.id, "arn": store.arn, "creationTime": store.creation_time}

    def _members(self, stored: Stored) -> Members:
        """Tell of something that a store holds, as a List does."""
        return {
            "id": stored.id,
            "arn": stored.arn,
            self.holds.store.member: stored.store.id,
            "status": stored.status,
            "creationTime": stored.creation_time,
            **{name: stored.source.get(name) for name in ("name", "description")},
        }

    def _file_members(self, stored: Stored, name: str) -> Members:
        """Tell of one of its files."""
        size = len(stored.files[name])
        return {"totalParts": -(-size // PART_SIZE), "partSize": PART_SIZE, "contentLength": size}

    def _create(self, p: Members) -> Members:
        def create() -> Store:
            self._check_room()
            store = Store(self._state.new_id(), self.holds, self._place, p, self._state.clock.now())
            self._state.stores[store.id] = store
            return store

        return self._store_members(self._once("", p, create))

    def _get(self, p: Members) -> Members:
        return self._store_members(self._store(p, "id"))

    def _list(self, p: Members) -> Members:
        listed_as = f"{self.holds.store.member.removesuffix('Id')}s"
        return page(listed_as, [self._store_members(store) for store in self._stores()], p)

    def _delete(self, p: Members) -> Members:
        store = self._store(p, "id")
        if store.held:
            raise ServiceError("ConflictException", f"{self.holds.store.word.capitalize()} {store.id} is not empty")
        del self._state.stores[store.id]
        return {}

    def _list_held(self, p: Members) -> Members:
        return page(self.holds.listed_as, [self._members(each) for each in self._store(p).held.values()], p)

    def _get_held(self, p: Members) -> Members:
        stored = self._find(p)
        files = {name: self._file_members(stored, name) for name in stored.files}
        creation = {"creationType": "IMPORT", "creationJobId": stored.creation_job_id}
        return self._members(stored) | {"files": files} | creation

    def _find(self, p: Members) -> Stored:
        """Return what a request names."""
        stored = self._store(p).held.get(p["id"])
        if stored is None:
            word = self.holds.word.capitalize()
            raise ServiceError("ResourceNotFoundException", f"{word} {p['id']} does not exist")
        return stored
