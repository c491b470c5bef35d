"""What an attempt remembers while it is deferred, and what it takes for that; `make mutation` runs these alone."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from typing import Any

import pytest
from attempts import EXPORT, IMPORT, STORE, attempt, item, job, told

from airflow_omics._service.limits import shown
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Finding, State
from airflow_omics._starting.memory import remember, take_up
from airflow_omics._starting.starter import Chunk
from airflow_omics.exceptions import OmicsEventError, OmicsRefusedError, OmicsTransientError

X, Y, Z = "1000000001", "1000000002", "1000000003"
ENDED, RUNNING, UNTOLD = "2000000001", "2000000002", "2000000003"
NOON, LATER = datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 22, 13, tzinfo=UTC)
LONG = "x" * 300
SHOWN = f"'{LONG[:78]}…"
"""How a message shows it: in 80 characters."""


def full() -> Attempt:
    """Return an attempt that has something of everything to remember."""
    theirs = told("9999999999", "FINISHED")
    ended = job(
        *(EXPORT, ENDED, theirs, told(Y, "FAILED", message="Torn"), told(X, "FINISHED")),
        status="COMPLETED_WITH_FAILURES",
        destination="s3://b/out/",
        creation_time=NOON,
        completion_time=LATER,
    )
    running = job(EXPORT, RUNNING, told(Z, "IN_PROGRESS"), status="IN_PROGRESS")
    return attempt(
        *(EXPORT, X, Y, Z),
        parameters={"destination": "s3://b/out/", "roleArn": "arn:role"},
        jobs={RUNNING: running, ENDED: ended, UNTOLD: None},
        running={UNTOLD, RUNNING},
        sent={ENDED: [item(Y).key, item(X).key]},
        lost={UNTOLD: NOON},
        ended={ENDED: LATER},
        others=frozenset({UNTOLD}),
        findings={item(X).key: Finding(State.HOLDS, X, ENDED), item(Y).key: Finding(State.MISSING)},
        trouble=OmicsTransientError("Slow."),
        refused={item(Z).key: OmicsRefusedError("No."), item(X).key: OmicsRefusedError("No.")},
        pending=deque([Chunk((item(Z), item(Y)), (ENDED,), 5.5, 1), Chunk((item(X),))]),
        has_looked_for_jobs=True,
    )


MEMORY: dict[str, Any] = {
    "sources": [{"readSetId": X}, {"readSetId": Y}, {"readSetId": Z}],
    "sequence_store_id": STORE,
    "parameters": {"destination": "s3://b/out/", "roleArn": "arn:role"},
    "identity": ["dag", "run", "task", -1, 1],
    "held": [[0, X, ENDED]],
    "trouble": "Slow.",
    "jobs": {
        RUNNING: None,
        ENDED: {
            "items": [[1, "FAILED", Y, "Torn"], [0, "FINISHED", X, None]],
            "summary": {
                "kind": "export",
                "job_id": ENDED,
                "sequence_store_id": STORE,
                "status": "COMPLETED_WITH_FAILURES",
                "status_message": None,
                "destination": "s3://b/out/",
                "creation_time": "2026-11-22T12:00:00+00:00",
                "completion_time": "2026-11-22T13:00:00+00:00",
                "finished": [],
                "failed": [],
                "unfinished": [],
            },
        },
        UNTOLD: None,
    },
    "running": [RUNNING, UNTOLD],
    "others": [UNTOLD],
    "sent": {ENDED: [1, 0]},
    "lost": {UNTOLD: "2026-11-22T12:00:00+00:00"},
    "ended": {ENDED: "2026-11-22T13:00:00+00:00"},
    "refused": [{"error": "OmicsRefusedError", "message": "No.", "places": [2, 0]}],
    "pending": [
        {"places": [2, 1], "after": [ENDED], "tried": 5.5, "replayed": 1},
        {"places": [0], "after": [], "tried": None, "replayed": 0},
    ],
    "has_looked_for_jobs": True,
}


def woken(memory: Any, kind: Any = EXPORT) -> Attempt:
    """Return an attempt that took up a memory, which was stored meanwhile."""
    taken = attempt(kind)
    take_up(taken, json.loads(json.dumps(memory, sort_keys=True)))
    return taken


def test_what_is_remembered() -> None:
    assert remember(full()) == MEMORY


def test_what_is_taken_up() -> None:
    before, after = full(), woken(MEMORY)
    ended = before.jobs[ENDED]
    assert ended
    assert after.jobs == {RUNNING: None, ENDED: ended.about({item.key for item in before.items}), UNTOLD: None}
    refused = {key: (type(error), str(error)) for key, error in after.refused.items()}
    assert refused == dict.fromkeys([item(Z).key, item(X).key], (OmicsRefusedError, "No."))
    assert str(after.trouble) == "Slow."
    assert after.findings == {item(X).key: Finding(State.HOLDS, X, ENDED)}
    for name in (
        "items",
        "parameters",
        "identity",
        "sequence_store_id",
        "others",
        "running",
        "sent",
        "lost",
        "ended",
        "pending",
        "has_looked_for_jobs",
    ):
        assert getattr(after, name) == getattr(before, name), name


def test_an_import_remembers_what_was_made_of_which_source() -> None:
    one, two = "s3://b/1", "s3://b/2"
    ended = job(
        IMPORT, ENDED, told(one, "FAILED", message="Torn"), told(two, "FINISHED", "1000000009"), status_message="Bad"
    )
    memory = remember(attempt(IMPORT, two, one, jobs={ENDED: ended}))
    assert memory["jobs"][ENDED]["items"] == [[1, "FAILED", None, "Torn"], [0, "FINISHED", "1000000009", None]]
    assert woken(memory, IMPORT).jobs == {ENDED: ended}


def test_a_jobs_message_is_not_remembered_if_it_has_strangers_items() -> None:
    shared = job(EXPORT, ENDED, told("1000000009", "FAILED"), told(X, "FINISHED"), status_message="1000000009 failed")
    assert remember(attempt(EXPORT, X, jobs={ENDED: shared}))["jobs"][ENDED]["summary"]["status_message"] is None


def test_a_task_that_is_to_find_its_only_job() -> None:
    memory = remember(attempt(EXPORT, X, jobs={ENDED: None}, running={ENDED}, lost={ENDED: NOON}))
    taken = woken(memory)
    assert (taken.running, taken.lost, taken.has_looked_for_jobs) == ({ENDED}, {ENDED: NOON}, False)


def test_an_attempt_without_trouble_remembers_none() -> None:
    memory = remember(attempt(EXPORT, X))
    assert memory["trouble"] is None
    assert woken(memory).trouble is None


def with_job(**changes: Any) -> dict[str, Any]:
    """Return jobs with a change in what is remembered of the one that has ended."""
    told = MEMORY["jobs"][ENDED]
    return {"jobs": {**MEMORY["jobs"], ENDED: {**told, "summary": told["summary"] | changes}}}


def with_items(items: Any) -> dict[str, Any]:
    return {"jobs": {**MEMORY["jobs"], ENDED: {**MEMORY["jobs"][ENDED], "items": items}}}


def with_chunk(**changes: Any) -> dict[str, Any]:
    return {"pending": [{"places": [0], "after": [], "tried": None, "replayed": 0} | changes]}


ANOTHER = f"{shown(MEMORY['jobs'][ENDED] | {'summary': ...}, 80)} is another job"
"""What is shown ends before the summary."""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": LONG}, f"sources is {SHOWN}, expected a list"),
        ({"sources": [LONG]}, f"{SHOWN} is no source"),
        ({"sources": [{"readSetId": X, 5: "x"}]}, f"{{'readSetId': '{X}', 5: 'x'}} is no source"),
        ({"sources": []}, "sources are missing, or there twice"),
        ({"sources": [{"readSetId": X}, {}]}, "sources are missing, or there twice"),
        ({"sources": [{"readSetId": X}] * 2}, "sources are missing, or there twice"),
        ({"parameters": {"destination": 5}}, "5: expected text"),
        ({"parameters": {5: "x"}}, "5: expected text"),
        ({"parameters": {"clientToken": "x"}}, "parameters has another member than destination and roleArn"),
        ({"jobs": {LONG: None}}, f"{SHOWN} is no id of a job"),
        ({"jobs": {5: None}}, "5 is no id of a job"),
        (with_job(kind="activation"), "kind is 'activation', expected 'export'"),
        (with_job(job_id=RUNNING), ANOTHER),
        (with_job(sequence_store_id=RUNNING), ANOTHER),
        (with_job(status=None), "job_id, sequence_store_id or status is missing"),
        (with_items(LONG), f"items is {SHOWN}, expected a list"),
        (with_items([[0, "FINISHED"]]), "not enough values to unpack (expected 4, got 2)"),
        (with_items([[0, [LONG], X, None]]), f"['{LONG[:77]}…: expected text"),
        (with_items([[0, "FINISHED", [5], None]]), "item_id is [5], expected text"),
        (with_items([[0, "FINISHED", X, [5]]]), "said is [5], expected text"),
        (with_items([[True, "FINISHED", X, None]]), "[True]: expected places of items"),
        ({"running": [[5]]}, "running[0] is [5], expected text"),
        ({"running": [RUNNING, "2000000009"]}, "a job is missing"),
        ({"lost": {"2000000009": NOON.isoformat()}}, "a job is missing"),
        ({"lost": {UNTOLD: LONG}}, f"lost is {SHOWN}, expected a time in ISO 8601 with its zone"),
        ({"lost": {UNTOLD: None}}, "a time is missing"),
        ({"ended": {ENDED: None}}, "a time is missing"),
        ({"sent": {LONG: [0]}}, f"{SHOWN} is no id of a job"),
        ({"sent": {ENDED: LONG}}, f"{SHOWN}: expected places of items"),
        ({"sent": {ENDED: []}}, "[]: expected places of items"),
        ({"sent": {ENDED: [0, -1]}}, "[0, -1]: expected places of items"),
        ({"refused": LONG}, f"refused is {SHOWN}, expected a list"),
        ({"refused": [{"error": "OmicsRefusedError", "message": None, "places": [0]}]}, "None: expected text"),
        ({"pending": LONG}, f"pending is {SHOWN}, expected a list"),
        (with_chunk(places={}), "{}: expected places of items"),
        (with_chunk(after=["x"]), "'x' is no id of a job"),
        (with_chunk(after=[5]), "after[0] is 5, expected text"),
        (with_chunk(tried=LONG), f"{SHOWN}: expected seconds"),
        (with_chunk(replayed=LONG), f"replayed is {SHOWN}"),
        ({"has_looked_for_jobs": 1}, "has_looked_for_jobs is missing"),
    ],
)
def test_what_cannot_be_a_memory_is_refused_and_shown(changes: dict[str, Any], said: str) -> None:
    error = "ValueError" if said.startswith("not enough values") else "ParseError"
    assert_refused({**MEMORY, **changes}, f"{error}: {said}")


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (5, "ParseError: expected a dictionary"),
        ({**MEMORY, "sent": {ENDED: [7]}}, "IndexError: list index out of range"),
        ({**MEMORY, "refused": [{}]}, "KeyError: 'error'"),
        ({**MEMORY, "refused": [{"error": "OmicsRefusedError", "message": "No."}]}, "KeyError: 'places'"),
        ({**MEMORY, "parameters": 5}, "TypeError: 'int' object is not iterable"),
        ({**MEMORY, "pending": [5]}, "TypeError: 'int' object is not subscriptable"),
        *(
            ({name: MEMORY[name] for name in MEMORY if name != missing}, f"KeyError: '{missing}'")
            for missing in ("parameters", "jobs", "sent", "lost", "ended", "has_looked_for_jobs")
        ),
    ],
)
def test_what_lacks_something_is_no_memory(memory: Any, said: str) -> None:
    assert_refused(memory, said)


def assert_refused(memory: Any, said: str) -> None:
    with pytest.raises(OmicsEventError) as caught:
        take_up(attempt(EXPORT), memory)
    assert str(caught.value) == (
        f"What this task remembered while it was deferred cannot be right: {shown(memory)} ({said}). "
        "A retry of the task finds its jobs again."
    )
