"""
Read sets: their statuses, and what each means for whoever waits until a read set is ACTIVE.

Standard library only. Facts come from botocore's service model (``ReadSetStatus``, ``GetReadSetMetadataResponse``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_omics._service.kind import Verdict
from airflow_omics._service.parsing import text
from airflow_omics._service.stored import Stored


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
class ReadSet(Stored):
    """
    A read set as AWS last described it.

    ``uris`` are the S3 URIs under which the files can be read in place, by the files' names (``source1``, ``source2``,
    ``index``); only GetReadSetMetadata tells them, so they are None if a List told of the read set.
    """

    file_type: str | None = None
    uris: Mapping[str, str] | None = None

    @classmethod
    def _more_of_response(cls, response: Mapping[str, Any]) -> dict[str, Any]:
        files, uris = response.get("files"), {}
        for file, details in (files if isinstance(files, Mapping) else {}).items():
            access = details.get("s3Access") if isinstance(details, Mapping) else None
            if isinstance(access, Mapping) and (uri := text(access, "s3Uri")):
                uris[str(file)] = uri
        return {"file_type": text(response, "fileType"), "uris": uris if "files" in response else None}

    @property
    def is_complete(self) -> bool:
        """Whether the URIs are known; a List does not tell them."""
        return self.uris is not None

    def summary(self) -> dict[str, Any]:
        """Return the read set as JSON for XCom."""
        return {
            **super().summary(),
            "status_message": self.status_message,
            "file_type": self.file_type,
            "uris": dict(self.uris or {}),
        }
