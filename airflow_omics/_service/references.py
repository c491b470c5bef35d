"""
References: their statuses, and what each means for whoever waits until a reference is ACTIVE.

Standard library only. Facts come from botocore's service model (``ReferenceStatus``, ``GetReferenceMetadataResponse``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from airflow_omics._service.kind import Verdict
from airflow_omics._service.stored import Stored


class ReferenceStatus(StrEnum):
    """The statuses of a reference, spelled as AWS spells them."""

    ACTIVE = "ACTIVE"
    DELETING = "DELETING"
    DELETED = "DELETED"


REFERENCE_VERDICTS: dict[str, Verdict] = {
    ReferenceStatus.ACTIVE: Verdict.SUCCEEDED,
    ReferenceStatus.DELETING: Verdict.FAILED,
    ReferenceStatus.DELETED: Verdict.FAILED,
}


@dataclass(frozen=True)
class Reference(Stored):
    """A reference as AWS last described it; a List tells as much of it as is needed here."""
