"""What jobs are made of: read sets, or the sources of an import. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import ParseError, message, text

FINISHED, FAILED = "FINISHED", "FAILED"
"""The two statuses of a job's item that are its last."""

ItemKey = tuple[str, ...]
"""
What an item of a job is recognized by: a read set's id, or an import's source files, sample and subject; in a reference
import job the source file and the name.
"""


def item_key(item: Mapping[str, Any], id_key: str = "readSetId") -> ItemKey:
    """Return what an item is recognized by, in a request as in an answer; empty where it cannot be told."""
    if "sourceFile" in item:
        parts: tuple[Any, ...] = (item["sourceFile"], item.get("name"))
    elif "sourceFiles" in item:
        files = item["sourceFiles"] if isinstance(item["sourceFiles"], Mapping) else {}
        parts = (files.get("source1"), files.get("source2") or "", item.get("sampleId"), item.get("subjectId"))
    else:
        parts = (item.get(id_key),)
    key = tuple(part for part in parts if isinstance(part, str))
    return key if len(key) == len(parts) and key[0] else ()


@dataclass(frozen=True)
class JobItem:
    """
    One read set of a job, or one source of an import.

    ``source`` is the S3 URI of the first source file, for imports only; their ``id`` may be None, since AWS gives a
    read set or a reference its id only on the way.
    """

    key: ItemKey
    status: str
    id: str | None = None
    message: str | None = None
    source: str | None = None

    @classmethod
    def from_response(cls, item: Any, id_key: str) -> JobItem:
        """
        Parse one item of what Get returned.

        :raises ParseError: A member is missing or of the wrong type; the message names it.
        """
        if not isinstance(item, Mapping):
            raise ParseError(f"{shown(item, 80)} is no structure")
        files = item.get("sourceFiles")
        source = text(files, "source1") if isinstance(files, Mapping) else text(item, "sourceFile")
        item_id = text(item, id_key)
        if not (source or item_id):
            raise ParseError(f"{id_key} is missing")
        said = message(item, "statusMessage")
        return cls(item_key(item, id_key), text(item, "status") or "", item_id, said, source)

    def __str__(self) -> str:
        name = self.id or self.source or "an item without an id"
        return f"{name} ({self.message})" if self.message else name
