"""What a store holds, read sets and references: what AWS tells of one. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.parsing import ParseError, check_asked, identifier, message, text


@dataclass(frozen=True)
class Stored:
    """
    Something in a store as AWS last described it.

    ``status`` is one of the kind's statuses, or AWS's own text where this version does not know it.
    """

    kind: Kind
    id: str
    sequence_store_id: str
    """The store's id, of whatever kind the store is."""
    status: str
    status_message: str | None = None
    name: str | None = None

    @classmethod
    def from_response(
        cls, kind: Kind, response: Mapping[str, Any], *, sequence_store_id: str, work_id: str | None = None
    ) -> Self:
        """
        Parse what boto3 returned for one.

        :param work_id: The id asked for; None if the response is what tells it.
        :raises ParseError: A member is missing, of the wrong type, or speaks of another one.
        """
        found = work_id or identifier(response, "id")
        check_asked(response, **{"id": found, kind.store.member: sequence_store_id})
        status = text(response, "status")
        if not status:
            raise ParseError(f"status of {kind.word} {found} is missing")
        return cls(
            kind=kind,
            id=found,
            sequence_store_id=sequence_store_id,
            status=_known(kind, status),
            status_message=message(response, "statusMessage"),
            name=text(response, "name"),
            **cls._more_of_response(response),
        )

    @classmethod
    def _more_of_response(cls, response: Mapping[str, Any]) -> dict[str, Any]:
        """Parse what AWS tells of this kind alone."""
        del response
        return {}

    @property
    def is_status_known(self) -> bool:
        """False for a status that AWS introduced after this version was written."""
        return self.status in self.kind.verdicts

    @property
    def is_complete(self) -> bool:
        """Whether it has all that :meth:`summary` tells; a List may tell less than a Get."""
        return True

    def verdict(self, *, accept_partial_failure: bool = False) -> Verdict:
        """Say whether a wait until it is ACTIVE goes on, has succeeded or has failed."""
        return self.kind.verdict(self.status, accept_partial_failure=accept_partial_failure)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON for XCom."""
        return {
            self.kind.id_argument: self.id,
            self.kind.store.argument: self.sequence_store_id,
            "status": str(self.status),
            "name": self.name,
        }

    @property
    def in_words(self) -> str:
        """Its status."""
        return str(self.status)

    def __str__(self) -> str:
        return self.kind.describe(self.sequence_store_id, self.id)


def _known(kind: Kind, status: str) -> str:
    """Return a status as the kind has it, or as it is if the kind does not."""
    return next((each for each in kind.verdicts if each == status), status)
