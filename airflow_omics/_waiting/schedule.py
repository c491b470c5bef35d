"""When work is to be asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection

FEW = 3
"""Up to how many that were just added are asked for without all the others."""


class Schedule:
    """
    Says when each piece of work is to be asked for. Work is new, or being asked for, or due at some time.

    :param clock: Returns the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._new: dict[str, None] = {}
        self._asked: set[str] = set()
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._new) + len(self._asked) + len(self._due)

    def add(self, work_id: str) -> None:
        """Have something asked for soon, also if it is being asked for: that may have been too early."""
        self.remove(work_id)
        self._new[work_id] = None

    def remove(self, work_id: str) -> None:
        """Have something asked for no more."""
        self._new.pop(work_id, None)
        self._asked.discard(work_id)
        self._due.pop(work_id, None)

    def hurry(self, seconds: float) -> None:
        """Have everything that is due later asked for within these seconds."""
        latest = self._clock() + seconds
        self._due = {work_id: min(due, latest) for work_id, due in self._due.items()}

    def choose(self, interval: float) -> list[str]:
        """
        Return what to ask for now: what is new, or what is due; all, if that is more than a few.

        What is due within half an interval is asked for as well, so that what was added at different times is asked
        for together.
        """
        now, chosen = self._clock(), list(self._new)
        if any(due <= now for due in self._due.values()):
            chosen += [work_id for work_id, due in self._due.items() if due <= now + interval / 2]
        return chosen if len(chosen) <= FEW else [*self._new, *self._due]

    def begin(self, ids: Collection[str]) -> None:
        """Note that these are being asked for."""
        for work_id in ids:
            self.remove(work_id)
        self._asked.update(ids)

    def end(self, due: float, left: Collection[str], due_of_left: float) -> None:
        """
        Note that what was being asked for was asked for.

        :param due: When it is due again.
        :param left: What was not asked for after all.
        :param due_of_left: When that is due.
        """
        self._due.update(dict.fromkeys(self._asked, due))
        self._due.update(dict.fromkeys(self._asked.intersection(left), due_of_left))
        self._asked.clear()

    def next(self) -> float | None:
        """Return when something is due; None if nothing is."""
        return self._clock() if self._new else min(self._due.values(), default=None)
