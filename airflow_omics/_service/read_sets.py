"""
Read sets: their statuses, and what each means for whoever waits until a read set is ACTIVE.

Standard library only. Facts come from botocore's service model (``ReadSetStatus``, ``GetReadSetMetadataResponse``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import check_asked, identifier, message, text


class ReadSetStatus(StrEnum):
    """The statuses of a read set, spelled as AWS spells them."""

    ARCHIVED = "ARCHIVED"
    ACTIVATING = "ACTIVATING"
    ACTIVE = "ACTIVE"
    DELETING = "DELETING"
    DELETED = "DELETED"
    PROCESSING_UPLOAD = "PROCESSING_UPLOAD"
    UPLOAD_FAILED = "UPLOAD_FAILED"


READ_SET_VERDICTS: dict[str, Verdict] = {
    ReadSetStatus.ARCHIVED: Verdict.WAITING,
    ReadSetStatus.ACTIVATING: Verdict.WAITING,
    ReadSetStatus.PROCESSING_UPLOAD: Verdict.WAITING,
    ReadSetStatus.ACTIVE: Verdict.SUCCEEDED,
    ReadSetStatus.UPLOAD_FAILED: Verdict.FAILED,
    ReadSetStatus.DELETING: Verdict.FAILED,
    ReadSetStatus.DELETED: Verdict.FAILED,
}


@dataclass(frozen=True)
class ReadSet:
    """
    A read set as AWS last described it.

    ``status`` is a :class:`ReadSetStatus`, or AWS's own text where this version does not know it. ``uris`` are the S3
    URIs under which the files can be read in place, by the files' names (``source1``, ``source2``, ``index``); only
    GetReadSetMetadata tells them, so they are None if a List told of the read set.
    """

    kind: Kind
    id: str
    sequence_store_id: str
    status: str
    status_message: str | None = None
    name: str | None = None
    file_type: str | None = None
    uris: Mapping[str, str] | None = None

    @classmethod
    def from_response(
        cls, kind: Kind, response: Mapping[str, Any], *, sequence_store_id: str, work_id: str | None = None
    ) -> ReadSet:
        """
        Parse what boto3 returned for a read set.

        :param work_id: The read set asked for; None if the response is what tells it.
        :raises ValueError: A member is missing, of the wrong type, or speaks of another read set.
        """
        read_set_id = work_id or identifier(response, "id")
        check_asked(response, id=read_set_id, sequenceStoreId=sequence_store_id)
        status, files = text(response, "status"), response.get("files")
        if not status:
            raise ValueError(f"status of read set {read_set_id} is missing")
        uris = {}
        for file, details in (files if isinstance(files, Mapping) else {}).items():
            access = details.get("s3Access") if isinstance(details, Mapping) else None
            if isinstance(access, Mapping) and (uri := text(access, "s3Uri")):
                uris[str(file)] = uri
        return cls(
            kind=kind,
            id=read_set_id,
            sequence_store_id=sequence_store_id,
            status=ReadSetStatus(status) if status in READ_SET_VERDICTS else status,
            status_message=message(response, "statusMessage"),
            name=text(response, "name"),
            file_type=text(response, "fileType"),
            uris=uris if "files" in response else None,
        )

    @classmethod
    def from_summary(cls, kind: Kind, summary: object) -> ReadSet:
        """
        Take up again what :meth:`summary` told, out of a trigger's event.

        :raises ValueError: It is no summary; the message names what is wrong in it.
        """
        if not isinstance(summary, Mapping):
            raise ValueError(f"{shown(summary, 80)} is no summary of a read set")
        read_set_id, store, status = (text(summary, each) for each in ("read_set_id", "sequence_store_id", "status"))
        if not (read_set_id and store and status):
            raise ValueError("read_set_id, sequence_store_id or status is missing")
        uris = summary.get("uris")
        if not isinstance(uris, Mapping):
            raise ValueError(f"uris is {shown(uris, 80)}, expected a structure")
        return cls(
            kind=kind,
            id=read_set_id,
            sequence_store_id=store,
            status=ReadSetStatus(status) if status in READ_SET_VERDICTS else status,
            status_message=message(summary, "status_message"),
            name=text(summary, "name"),
            file_type=text(summary, "file_type"),
            uris={str(file): text(uris, file) or "" for file in uris},
        )

    @property
    def is_status_known(self) -> bool:
        """False for a status that AWS introduced after this version was written."""
        return self.status in self.kind.verdicts

    @property
    def is_complete(self) -> bool:
        """Whether the URIs are known; a List does not tell them."""
        return self.uris is not None

    def verdict(self, *, accept_partial_failure: bool = False) -> Verdict:
        """Say whether a wait until it is ACTIVE goes on, has succeeded or has failed."""
        return self.kind.verdict(self.status, accept_partial_failure=accept_partial_failure)

    def summary(self) -> dict[str, Any]:
        """Return the read set as JSON for XCom."""
        return {
            "read_set_id": self.id,
            "sequence_store_id": self.sequence_store_id,
            "status": str(self.status),
            "status_message": self.status_message,
            "name": self.name,
            "file_type": self.file_type,
            "uris": dict(self.uris or {}),
        }

    @property
    def in_words(self) -> str:
        """Its status."""
        return str(self.status)

    def __str__(self) -> str:
        return self.kind.describe(self.sequence_store_id, self.id)
