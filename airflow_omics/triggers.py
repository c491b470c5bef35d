"""
Waiting in the triggerer.

Airflow imports this on the triggerer's event loop: no boto3 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_omics._arguments import parse_id, parse_ids
from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import JOB_KINDS, parse_kind
from airflow_omics._service.parsing import ParseError
from airflow_omics._waiting.base_trigger import OmicsTrigger
from airflow_omics.exceptions import OmicsArgumentError


class OmicsReadSetJobTrigger(OmicsTrigger):
    """
    Wait for work of one kind that a store and an id name, and tell how it ended.

    :param kind: ``export``, ``activation``, ``import`` for jobs, or ``read set`` for read sets that are to be ACTIVE.
    :param sequence_store_id: The store, of whatever kind: 10 to 36 digits.
    :param job_ids: The jobs or read sets: 10 to 36 digits each; may be empty with ``wake_at``.

    The other parameters are those of :class:`airflow_omics._waiting.base_trigger.OmicsTrigger`.
    """

    own_arguments = ("kind", "sequence_store_id", "job_ids")

    def __init__(
        self,
        /,
        *,
        kind: str | None = None,
        sequence_store_id: str | None = None,
        job_ids: Sequence[str] = (),
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.kind = kind
        self.sequence_store_id = sequence_store_id
        self.job_ids = job_ids

    async def on_kill(self) -> None:
        """Say what becomes of the work when a user fails, clears or marks the deferred task (Airflow 3.3)."""
        if self.kind in {kind.word for kind in JOB_KINDS}:
            self.log.warning("%s: AWS cannot cancel them; what has not ended goes on.", self._named)

    def _parse_ids(self) -> tuple[Kind, str, list[str]]:
        try:
            kind = parse_kind(self.kind)
        except ParseError as error:
            raise OmicsArgumentError(f"An argument of {type(self).__name__} cannot be right: {error}") from error
        store = parse_id("sequence_store_id", self.sequence_store_id)
        is_woken_only = self.wake_at is not None and not self.job_ids
        return kind, store, [] if is_woken_only else parse_ids("job_ids", self.job_ids)
