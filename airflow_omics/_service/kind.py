"""
What a kind of work is: a row of data. The rows are in :mod:`airflow_omics._service.kinds`.

Whatever waits, and whatever starts, knows rows and :class:`Work`, and no family of the service by name. Standard
library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol


class Verdict(Enum):
    """What the status of some work means for whoever waits for it."""

    WAITING = auto()
    SUCCEEDED = auto()
    FAILED = auto()


class Work(Protocol):
    """One piece of work as AWS last described it."""

    @property
    def kind(self) -> Kind: ...
    @property
    def id(self) -> str: ...
    @property
    def sequence_store_id(self) -> str:
        """The store's id, of whatever kind the store is."""

    @property
    def status(self) -> str:
        """AWS's own word."""

    @property
    def status_message(self) -> str | None:
        """AWS's own sentence about it, if there is one."""

    @property
    def is_status_known(self) -> bool:
        """False for a status that AWS introduced after this version was written."""

    @property
    def is_complete(self) -> bool:
        """Whether it has all that :meth:`summary` tells; a List may tell less than a Get."""

    @property
    def in_words(self) -> str:
        """Its status, and how far it is."""

    def verdict(self, *, accept_partial_failure: bool = False) -> Verdict:
        """Say whether a wait for it goes on, has succeeded or has failed."""

    def summary(self) -> dict[str, Any]:
        """Return it as JSON for XCom."""


class WorkParser(Protocol):
    """What makes work of what comes from outside; each raises ParseError about what cannot be right."""

    def from_response(
        self, kind: Kind, response: Mapping[str, Any], *, sequence_store_id: str, work_id: str | None = None
    ) -> Any:
        """Parse what boto3 returned; ``work_id`` is what was asked for, None if the response is what tells it."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """What some work is in: its word, AWS's name for its id, and our name for the argument that takes it."""

    word: str
    member: str
    argument: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Kind:
    """
    A kind of work: something that HealthOmics does, that takes time, and that is asked about.

    :param word: What names the kind in logs, summaries and triggers.
    :param name: What one piece of work is called.
    :param store: What it is in; with an id it names one piece of work.
    :param operations: AWS's operations by what they do: ``Get``, ``List``, and ``Start`` where it can be started.
    :param listed_as: Where a List keeps what it lists.
    :param parser: What makes work of what AWS answers.
    :param verdicts: What each status means; a status that is not here waits, for it may be a new step.
    :param partly_failed: The statuses that succeed where a partial failure is accepted.
    :param listed_statuses: The statuses that a List is asked for; none if it is gone through, page by page.
    :param initial_status: What no work goes back to.
    :param rare_statuses: The statuses that are listed only for what had them last.
    :param from_summary: What takes up again what a summary told; None where it may be true no more, as of a read set
        that was ACTIVE.
    :param wanted: What is waited for, in words.
    :param kept: The statuses of what is in its store.
    :param few: Up to how many are asked for one by one, since listing takes more calls.
    :param patience: Seconds for which one that is not found is waited for.
    :param fails_at_once: Whether a wait for many fails with the first one.
    :param reminders: What is said at every tenth poll of one that has this status.
    :param items_key: Where Get's answer keeps a job's items, the read sets or references that it works on.
    :param item_id_key: What an item's id is called there.
    :param works_on: The kind of a job's items.
    :param makes_items: Whether the job gives its items their ids, out of sources.
    :param max_items: How many items a job takes (service model).
    :param max_concurrent_jobs: The default of the account's quota (user guide, "Service quotas").
    """

    word: str
    name: str
    store: Store
    operations: Mapping[str, str]
    listed_as: str
    parser: WorkParser
    verdicts: Mapping[str, Verdict]
    partly_failed: tuple[str, ...] = ()
    listed_statuses: tuple[str, ...] = ()
    initial_status: str = ""
    rare_statuses: tuple[str, ...] = ()
    from_summary: Callable[[Kind, object], Any] | None = None
    wanted: str = "to have ended"
    kept: tuple[str, ...] = ()
    few: int = 3
    patience: float = 0
    fails_at_once: bool = False
    reminders: Mapping[str, str] = field(default_factory=dict)
    items_key: str = ""
    item_id_key: str = ""
    works_on: Kind | None = None
    makes_items: bool = False
    max_items: int = 0
    max_concurrent_jobs: int = 0

    @property
    def item(self) -> str:
        """What an item of a job is called; work that has none is its own."""
        return self.works_on.word if self.works_on else self.word

    @property
    def id_argument(self) -> str:
        """What the id of something in a store is called in summaries."""
        return f"{self.word.replace(' ', '_')}_id"

    @property
    def item_argument(self) -> str:
        """What an item's id is called in summaries."""
        return (self.works_on or self).id_argument

    def operation(self, verb: str) -> str:
        """Name an AWS operation on this kind: ``Start``, ``Get`` or ``List``."""
        return self.operations[verb]

    def verdict(self, status: str, *, accept_partial_failure: bool = False) -> Verdict:
        """Say whether a wait for work with this status goes on, has succeeded or has failed."""
        if accept_partial_failure and status in self.partly_failed:
            return Verdict.SUCCEEDED
        return self.verdicts.get(status, Verdict.WAITING)

    def describe(self, store_id: str, work_id: str) -> str:
        """Name a piece of work the same way in every log line and message."""
        return f"{self.name} {work_id} in {self.store.word} {store_id}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kind) and other.word == self.word

    def __hash__(self) -> int:
        return hash(self.word)

    def __repr__(self) -> str:
        return f"<{self.name}>"
