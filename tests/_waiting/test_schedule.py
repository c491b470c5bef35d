"""When work is to be asked for."""

from __future__ import annotations

import pytest

from airflow_omics._waiting.schedule import FEW, Schedule

NEW = [f"new {number}" for number in range(FEW)]


def schedule(*, asked: tuple[str, ...] = (), new: list[str] | None = None, **due: float) -> Schedule:
    """Return a schedule at ten o'clock."""
    made = Schedule(lambda: 10.0)
    for name, when in due.items():
        made.begin([name])
        made.end(when, [], 0)
    for name in new or []:
        made.add(name)
    made.begin(asked)
    return made


@pytest.mark.parametrize(
    ("new", "due", "chosen"),
    [
        ([], {}, []),
        ([], {"soon": 14}, []),
        ([], {"past": 10, "soon": 14, "later": 16}, ["past", "soon"]),
        (NEW, {"soon": 14}, NEW),
        (NEW, {"past": 10, "soon": 14, "later": 16}, [*NEW, "past", "soon", "later"]),
    ],
    ids=str,
)
def test_what_is_asked_for(new: list[str], due: dict[str, float], chosen: list[str]) -> None:
    assert schedule(new=new, asked=("asked",), **due).choose(10) == chosen


def test_when_something_is_due() -> None:
    assert Schedule(lambda: 10.0).next() is None
    assert schedule(soon=14, later=16).next() == 14
    assert schedule(soon=14, new=NEW).next() == 10
    assert schedule(asked=("asked",)).next() is None


def test_what_was_asked_for_is_due_again_and_what_was_left_out_sooner() -> None:
    made = schedule(asked=("a", "b", "c"))
    made.end(20, ["b", "gone"], 11)
    assert (made.next(), len(made)) == (11, 3)
    made.remove("b")
    assert made.next() == 20


def test_what_is_added_while_it_is_asked_for_is_new() -> None:
    made = schedule(asked=("a", "b"))
    made.add("a")
    made.end(20, [], 0)
    assert made.choose(5) == ["a"]
    assert len(made) == 2


def test_what_is_removed_while_it_is_asked_for_is_due_no_more() -> None:
    made = schedule(asked=("a",))
    made.remove("a")
    made.end(20, [], 0)
    assert len(made) == 0


def test_what_is_due_later_can_be_hurried() -> None:
    made = schedule(soon=12, later=60)
    made.hurry(5)
    made.remove("soon")
    assert made.next() == 15
