"""What the operations of all families share: parameters in, response members out."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from airflow_omics._service.kind import Store as StoreKind
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import State, Store
from airflow_omics.local.wire import ServiceError

Members = dict[str, Any]
T = TypeVar("T")


class Family:
    """The operations of one family in one place, on stores of one kind: :attr:`operations` has a function for each."""

    operations: Mapping[str, Callable[[Members], Members]]
    limited: frozenset[str] = frozenset()
    """Those of them that have a rate limit."""

    def __init__(self, state: State, settings: Settings, place: Place, store_kind: StoreKind) -> None:
        self._state = state
        self._settings = settings
        self._place = place
        self._store_kind = store_kind
        self._created: dict[tuple[str, str], _Created] = {}

    def _stores(self) -> list[Store]:
        """Return the stores that these operations are about."""
        stores = self._state.stores.values()
        return [each for each in stores if each.place == self._place and each.holds.store == self._store_kind]

    def _store(self, p: Members, member: str | None = None) -> Store:
        """Return the store whose id a request has, in a member that is usually called by the kind of the store."""
        store_id = p[member or self._store_kind.member]
        for store in self._stores():
            if store.id == store_id:
                return store
        word = self._store_kind.word.capitalize()
        raise ServiceError("ResourceNotFoundException", f"{word} {store_id} does not exist")

    def _once(self, scope: str, p: Members, create: Callable[[], T]) -> T:
        """
        Create what a request asks for, or return what the same request with the same client token created.

        A family has one operation that creates.
        """
        token = p.get("clientToken")
        if token is None or not self._settings.client_tokens:
            return create()
        key = (scope, token)
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


def matches(members: Members, criteria: Members | None) -> bool:
    """Tell whether what is listed fits a List's filter."""
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


def page(key: str, listed: list[Members], p: Members) -> Members:
    """Filter what is listed in the order of creation, which is also that of the ids, and cut a page out of it."""
    after = 0
    if token := p.get("nextToken"):
        try:
            after = int(urlsafe_b64decode(token))
        except ValueError:
            raise ServiceError("ValidationException", "nextToken is not one that this service gave") from None
    size = p.get("maxResults", 100)
    rest = [each for each in listed if int(each["id"]) > after and matches(each, p.get("filter"))]
    more = len(rest) > size
    return {key: rest[:size], "nextToken": urlsafe_b64encode(rest[size - 1]["id"].encode()).decode() if more else None}
