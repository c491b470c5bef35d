"""
Random histories of a task, its AWS account and its Airflow, against what the start operators promise.

Each history is of one kind of job. Attempts run, die and come back, as retries, after clears and in later runs, while
lists are corrected, read sets are archived and deleted, strangers start jobs, client tokens are forgotten and Lists
lag. What holds is asked of local HealthOmics after every attempt, in the words of its API.

MODEL_HISTORIES says how many histories there are (``make model``: 5,000).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import xform_name
from conftest import BUCKET, ONE_TRY, ROLE, TaskInstance, World, connection, first_event
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from starting import DESTINATION, operator
from versions import TaskDeferred

from airflow_omics._airflow import AirflowException
from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import JOB_KINDS, REFERENCE_IMPORT
from airflow_omics.exceptions import OmicsReadSetJobFailedError
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics
from airflow_omics.triggers import OmicsReadSetJobTrigger

FEW = 300
"""Histories up to which they are the same in every run; ``make model`` is what finds new ones."""
HISTORIES = int(os.environ.get("MODEL_HISTORIES", FEW))
STEPS = 8
"""Steps that a history has at least."""
SMALL = 6
"""Items to choose from, few."""
LARGE: dict[Kind, int] = {kind: kind.max_items + 4 for kind in JOB_KINDS}
"""Items to choose from: more than one job takes."""
FILES = 4
"""Files of imports; sources that share one differ in their samples."""
RETRIES = 2
TOKEN_SECONDS = 3600
JOB_SECONDS = 30
CALL_SECONDS = 8
"""How far the service's clock goes on with a call, where jobs take time: an attempt sees its jobs begin and end."""
ROLES = [ROLE, ROLE.replace("HealthOmics", "Corrected")]
OVER = ("COMPLETED", "COMPLETED_WITH_FAILURES", "FAILED", "CANCELLED")
KEPT = ("ACTIVE", "ARCHIVED", "ACTIVATING")

Key = tuple[str, ...]


class DeathError(BaseException):
    """The process died: nothing can catch it."""


@dataclass(frozen=True)
class Kill:
    """How an attempt is killed: before or after its n-th call is carried out, or by on_kill after it."""

    how: str
    number: int


@dataclass
class Attempt:
    """What an attempt did on the wire, and how it came out."""

    ti: TaskInstance
    kill: Kill | None
    calls: int = 0
    started: dict[str, list[Key]] = field(default_factory=dict)
    """The jobs that Start answered with, and what was sent."""
    late: list[str] = field(default_factory=list)
    """Start operations called after on_kill."""
    is_stopped: bool = False
    result: Any = None
    error: BaseException | None = None


class Model(RuleBasedStateMachine):
    """A task, and what may happen around it."""

    kind: Kind
    local: LocalHealthOmics

    # --- the world

    @initialize(
        is_large=st.sampled_from([False] * 7 + [True]),
        job_seconds=st.sampled_from([0, JOB_SECONDS]),
        changed_request=st.sampled_from(["refuse", "old job", "new job"]),
        client_token=st.sampled_from([None, None, "delivery"]),
        is_lenient=st.sampled_from([False, False, False, True]),
        most_jobs=st.sampled_from([None, 1]),
        before=st.lists(st.integers(0, SMALL - 1), unique=True, max_size=2),
        first=st.permutations(range(SMALL)),
        count=st.integers(1, SMALL),
    )
    def begin(
        self,
        is_large: bool,
        job_seconds: int,
        changed_request: str,
        client_token: str | None,
        is_lenient: bool,
        most_jobs: int | None,
        before: list[int],
        first: list[int],
        count: int,
    ) -> None:
        self.world = World(self.local)
        self.local.configure(
            job_seconds=job_seconds,
            changed_request=changed_request,
            client_tokens=True,
            client_token_seconds=TOKEN_SECONDS,
        )
        self.is_large, self.job_seconds = is_large, job_seconds
        self.arguments = {
            "client_token": client_token,
            "accept_partial_failure": is_lenient,
            "max_concurrent_jobs": most_jobs,
            "retries": RETRIES,
            "poll_interval": 0.01,
            "botocore_config": ONE_TRY,
        }
        self.is_lenient = is_lenient
        self.ahead = timedelta()
        size = LARGE[self.kind] if is_large else SMALL
        self.pool: list[Any] = self._sources(size) if self.kind.makes_items else self._read_sets(size)
        self.over: dict[str, dict[str, Any]] = {}
        self.hiding: dict[str, list[Any]] = {}
        self.hide_next = 0
        self.failing: set[str] = set()
        self.chosen = list(range(size)) if is_large else list(first[:count])
        self.role = 0
        self.try_number, self.first_try, self.run = 0, 1, 1
        self.cleared_at: datetime | None = None
        self.must_be_done_since: datetime | None = None
        """When an export must have ended, if not just since the run was to run."""
        self.has_run = False
        self.do_tokens_tell = client_token is None
        """Whether each Start of the next attempt is sure to repeat one, if that attempt sees no List."""
        if before:  # a job that does not count
            self._start_as_stranger(before)
            self._pass(2 * JOB_SECONDS)
        self._pass(10)
        self.run_after = self._now()
        self._pass(10)

    def _read_sets(self, size: int) -> list[str]:
        status = "ARCHIVED" if self.kind is ReadSetJobKind.ACTIVATION else "ACTIVE"
        return self.local.add_read_sets(self.world.store, size, status)

    def _sources(self, size: int) -> list[dict[str, Any]]:
        uris = [f"s3://{BUCKET}/in/{number}.fastq.gz" for number in range(FILES)]
        for number in range(FILES):
            self.world.s3.put_object(Bucket=BUCKET, Key=f"in/{number}.fastq.gz", Body=b"@read%d\n" % number)
        if self.kind == REFERENCE_IMPORT:
            return [
                {"sourceFile": uris[number % FILES], "name": f"reference {number // FILES}"} for number in range(size)
            ]
        return [
            {**World.source(uris[number % FILES]), "sampleId": f"sample {number // FILES}"} for number in range(size)
        ]

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def _pass(self, seconds: float) -> None:
        self.local.advance(seconds)
        self.ahead += timedelta(seconds=seconds)

    # --- what is true

    def key(self, item: Any) -> Key:
        """Return what an item is recognized by, in the task's list, in a request and in an answer."""
        if isinstance(item, str):
            return (item,)
        if "sourceFiles" in item:
            return (item["sourceFiles"]["source1"], item["sampleId"], item["subjectId"])
        if "sourceFile" in item:
            return (item["sourceFile"], item["name"])
        return (item.get("readSetId") or item["id"],)

    def name(self, item: Any) -> str:
        """Return what an item fails by: its read set id, or its file."""
        return self.key(item)[0]

    @property
    def items(self) -> list[Any]:
        return [self.pool[number] for number in self.chosen]

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Return all jobs, as Get tells of them now."""
        self.local.configure(list_lag=0)
        told = {}
        for each in self.world.call(self.kind, "List")[self.kind.listed_as]:
            job = self.over.get(each["id"]) or self._get(each["id"])
            if job["status"] in OVER:
                self.over[each["id"]] = job
            told[each["id"]] = job
        return told

    def _get(self, job_id: str) -> dict[str, Any]:
        told: dict[str, Any] = self.world.call(self.kind, "Get", id=job_id)
        return told

    def told(self, jobs: dict[str, dict[str, Any]]) -> dict[Key, list[tuple[dict[str, Any], dict[str, Any]]]]:
        """Return, for every item, the jobs that count and have it, each with what it tells."""
        found: dict[Key, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
        for job in jobs.values():
            if job["creationTime"] >= self.run_after and job.get("destination", DESTINATION) == DESTINATION:
                for item in job.get(self.kind.items_key, []):
                    found.setdefault(self.key(item), []).append((job, item))
        return found

    def statuses(self) -> dict[str, str]:
        """Return the statuses of all read sets, or references, that are there."""
        of = self.kind.works_on
        assert of
        pages = self.world.omics.get_paginator(xform_name(of.operation("List"))).paginate(
            **{of.store.member: self.world.store_of(of)}
        )
        return {each["id"]: each["status"] for page in pages for each in page[of.listed_as]}

    # --- attempts

    kills = st.none() | st.builds(Kill, st.sampled_from(["before", "after", "on_kill"]), st.integers(1, 9))
    lags = st.sampled_from([0, 0, 0, 10_000])
    rarely = st.sampled_from([False, False, False, True])

    @rule(is_deferrable=rarely, list_lag=lags, is_troubled=rarely, hides=st.sampled_from([0, 0, 1, 2]))
    def attempt(self, is_deferrable: bool, list_lag: int, is_troubled: bool, hides: int) -> None:
        """
        The first try of a run, or a retry.

        :param is_troubled: Whether one call fails for a reason that passes.
        :param hides: How many items of its first job AWS will not list.
        """
        self.hide_next = 0 if self.job_seconds else hides
        if self.hide_next:
            self.do_tokens_tell = False
        if is_troubled:
            self.local.add_fault(error="ThrottlingException", times=1)
        self._attempt(None, is_deferrable, list_lag)

    @rule(
        how=st.sampled_from(["before", "after", "after", "on_kill"]),
        number=st.integers(1, 9),
        is_deferrable=rarely,
        list_lag=lags,
    )
    def attempt_that_is_killed(self, how: str, number: int, is_deferrable: bool, list_lag: int) -> None:
        self._attempt(Kill(how, number), is_deferrable, list_lag)

    @rule(is_deferrable=rarely, list_lag=lags, kill=kills)
    def clear(self, is_deferrable: bool, list_lag: int, kill: Kill | None) -> None:
        """Airflow sets max_tries to the tries so far and the retries."""
        if self.has_run:
            self._clear()
        self._attempt(kill, is_deferrable, list_lag)

    def _clear(self) -> None:
        self._pass(5)
        self.first_try = self.try_number + 1
        self.cleared_at = self._now()
        self.do_tokens_tell = False

    @rule()
    def start_only(self) -> None:
        """Without a wait the task succeeds when everything missing was started."""
        before = self.jobs()
        done = self._run(None, False, 0, wait_for_completion=False)
        if done.error is None:
            own = {self.key(item) for item in self.items}
            jobs = self.jobs()
            assert len(set(done.result)) == len(done.result)
            for job_id in done.result:
                told = {self.key(item) for item in jobs[job_id].get(self.kind.items_key, [])}
                assert told & own or job_id in self.hiding, f"job {job_id} has nothing of the task's"
                assert job_id not in before or before[job_id]["status"] not in OVER, f"job {job_id} was over"
        self._check_wire(done, before, 0)

    def _attempt(self, kill: Kill | None, is_deferrable: bool, list_lag: int) -> None:
        before, there = self.jobs(), self.statuses()
        must_succeed = self._is_healthy(there) and kill is None
        told = self.told({job_id: job for job_id, job in before.items() if job["status"] in OVER})
        finished = [key for key, of_item in told.items() if any(each["status"] == "FINISHED" for _, each in of_item)]
        # A clear of what was exported wholly exports it all again.
        is_done = all(self.key(item) in finished for item in self.items)
        self.must_be_done_since = self.cleared_at if is_done else None
        done = self._run(kill, is_deferrable, list_lag, wait_for_completion=True)
        self._check_wire(done, before, list_lag)
        if isinstance(done.error, DeathError):
            return
        if done.error is None:
            self._check_success(done, list_lag)
        else:
            assert not must_succeed, f"nothing was in the way, and it failed: {done.error!r}"
            self._check_failure(done, before, list_lag)

    def _run(self, kill: Kill | None, is_deferrable: bool, list_lag: int, **more: Any) -> Attempt:
        self.try_number += 1
        self.has_run = True
        ti = TaskInstance()
        ti.run_id, ti.try_number = f"run {self.run}", self.try_number
        ti.max_tries = self.first_try - 1 + RETRIES
        done = Attempt(ti, kill)
        self.local.configure(list_lag=list_lag)
        context = {"ti": ti, "dag_run": SimpleNamespace(run_after=self.run_after)}
        try:
            done.result = self._execute(done, context, deferrable=is_deferrable, **more)
        except (AirflowException, DeathError) as error:
            done.error = error
        self.local.configure(list_lag=0)
        self._heal_faults()
        self.hide_next = 0
        note(f"try {self.try_number} of run {self.run}: {done.error or done.result!r}; started {done.started}")
        self._pass(5)
        return done

    def _execute(self, done: Attempt, context: Any, **more: Any) -> Any:
        def task() -> Any:
            role = {} if self.kind is ReadSetJobKind.ACTIVATION else {"role_arn": ROLES[self.role]}
            made = operator(self.world, self.kind, self.items, **self.arguments, **role, **more)
            self._watch(done, made)
            return made

        left: TaskDeferred | None = None
        while True:
            try:
                if left is None:
                    return task().execute(context)
                self._pass(self.job_seconds)  # it is the triggerer that waits for it
                _, arguments = json.loads(json.dumps(left.trigger.serialize()))
                event = asyncio.run(first_event(OmicsReadSetJobTrigger(**arguments)))
                kwargs = json.loads(json.dumps({**(left.kwargs or {}), "event": event}))
                return task().resume_execution(left.method_name, kwargs, context)
            except TaskDeferred as deferred:
                left = deferred

    def _watch(self, done: Attempt, task: Any) -> None:
        """Count the task's calls on the wire, and kill it at the one where it is to die."""

        def before_call(model: Any, params: Any, context: Any, **_: Any) -> None:
            done.calls += 1
            if model.name.startswith("Start"):
                context["sources"] = json.loads(params["body"])["sources"]
                if done.is_stopped:
                    done.late.append(model.name)
            if done.kill == Kill("before", done.calls):
                raise DeathError

        def after_call(model: Any, parsed: Any, context: Any, **_: Any) -> None:
            if "Error" not in parsed and model.name.startswith("Start"):
                done.started[parsed["id"]] = [self.key(item) for item in context["sources"]]
                self._hide(parsed["id"])
            if self.job_seconds:
                self._pass(CALL_SECONDS)
            if done.kill == Kill("after", done.calls):
                raise DeathError
            if done.kill == Kill("on_kill", done.calls):
                done.is_stopped = True
                task.on_kill()

        task.hook.conn.meta.events.register("before-call.omics", before_call)
        task.hook.conn.meta.events.register("after-call.omics", after_call)

    def _hide(self, job_id: str) -> None:
        """Let AWS list fewer items of a job than were sent."""
        if self.hide_next and job_id not in self.hiding and not self.job_seconds:
            self.hiding[job_id] = self._get(job_id)[self.kind.items_key][: -self.hide_next]
            self.over.pop(job_id, None)
            self._put_lasting_fault(job_id, {self.kind.items_key: self.hiding[job_id]}, self.kind.operation("Get"))

    def _put_lasting_fault(self, named: str, response: dict[str, Any], operation: str) -> None:
        self.local.add_fault(operation=operation, path_contains=named, response=response)

    def _heal_faults(self) -> None:
        """Take away what passes, and leave what lasts."""
        self.local.clear_faults()
        for name in self.failing:
            self.local.fail_read_sets([name], "Torn")
        for job_id, listed in self.hiding.items():
            self._put_lasting_fault(job_id, {self.kind.items_key: listed}, self.kind.operation("Get"))

    # --- what must be true of an attempt

    def _is_healthy(self, there: dict[str, str]) -> bool:
        """Tell whether nothing is in the way of the goal."""
        if self.hide_next or any(self.name(item) in self.failing for item in self.items):
            return False
        if self.kind.makes_items:
            return True
        fits = ("ACTIVE",) if self.kind is ReadSetJobKind.EXPORT else KEPT
        return all(there.get(self.name(item)) in fits for item in self.items)

    def _check_wire(self, done: Attempt, before: dict[str, Any], list_lag: int) -> None:
        assert not done.late, f"started after on_kill: {done.late}"
        new = {job_id: keys for job_id, keys in done.started.items() if job_id not in before}
        twice = [key for key, count in Counter(key for keys in new.values() for key in keys).items() if count > 1]
        assert not twice, f"started twice in one attempt: {twice}"
        own = {self.key(item) for item in self.items}
        assert all(key in own for keys in new.values() for key in keys), "started what the task was not given"
        if not self.kind.makes_items:
            return
        does_know = self.try_number > 1 if not list_lag else self.do_tokens_tell
        there, jobs = self.statuses(), self.jobs()
        for key, told in self.told(jobs).items():
            kept = {job["id"] for job, item in told if there.get(item.get(self.kind.item_id_key) or "") in KEPT}
            if does_know and kept & before.keys() and kept & new.keys():
                raise AssertionError(f"{key} was imported twice, by jobs {sorted(kept)}")

    def _check_success(self, done: Attempt, list_lag: int) -> None:
        own = self.items
        jobs, there = self.jobs(), self.statuses()
        told = self.told(jobs)
        missing = [item for item in own if not self._holds(item, told, there)]
        if self.is_lenient:
            to_retry = done.ti.xcoms.get("to_retry", [])
            assert all(item in to_retry for item in missing), f"these are missing, and not told: {missing}"
            # What an earlier job has done that no List shows yet cannot be known.
            assert list_lag or to_retry == missing
            missing = to_retry
            failed = [item for item in missing if told.get(self.key(item), [({}, {})])[-1][1].get("status") == "FAILED"]
            assert failed == missing, f"green, and no job failed these: {missing}"
        else:
            assert not missing, f"green, and the goal does not hold for {missing}"
            assert "to_retry" not in done.ti.xcoms
        self._check_read_set_ids(done, [item for item in own if item not in missing], told)
        self._check_told(done.result, told)

    def _holds(self, item: Any, told: dict[Key, Any], there: dict[str, str]) -> bool:
        if self.kind is ReadSetJobKind.ACTIVATION:
            return there.get(item) == "ACTIVE"
        of_item = [(job, each) for job, each in told.get(self.key(item), []) if each["status"] == "FINISHED"]
        if self.kind.makes_items:
            return any(there.get(each.get(self.kind.item_id_key) or "") in KEPT for _, each in of_item)
        since = self.must_be_done_since or self.run_after
        return any(job["status"] not in OVER or job["completionTime"] >= since for job, _ in of_item)

    def _check_read_set_ids(self, done: Attempt, held: list[Any], told: dict[Key, Any]) -> None:
        ids = done.ti.xcoms[f"{self.kind.item_argument}s"]
        if not self.kind.makes_items:
            assert ids == held
            return
        assert len(ids) == len(held)
        for item, read_set in zip(held, ids, strict=True):
            made = [each.get(self.kind.item_id_key) for _, each in told[self.key(item)]]
            assert read_set in made, f"{read_set} was not made of {item}, but {made}"

    def _check_told(self, summaries: list[dict[str, Any]], told: dict[Key, Any]) -> None:
        """Nobody's items are told but the task's own, and each once."""
        own: set[Any] = {self.name(item) for item in self.items}
        made = {each.get(self.kind.item_id_key) for item in self.items for _, each in told.get(self.key(item), [])}
        spoken: list[Any] = []
        for summary in summaries:
            assert set(summary["finished"]) <= (made if self.kind.makes_items else own), summary
            failed = {each.get("source") or each[self.kind.item_argument] for each in summary["failed"]}
            assert failed <= own, summary
            assert set(summary["unfinished"]) <= own, summary
            spoken += summary["finished"]
        assert len(set(spoken)) == len(spoken), f"told twice: {summaries}"
        assert sum(len(each["finished"] + each["failed"] + each["unfinished"]) for each in summaries) <= len(self.items)

    def _check_failure(self, done: Attempt, before: dict[str, Any], list_lag: int) -> None:
        if done.is_stopped and not isinstance(done.error, OmicsReadSetJobFailedError):
            return  # it ended before its goal could be seen
        assert isinstance(done.error, OmicsReadSetJobFailedError), repr(done.error)
        own, xcoms = self.items, done.ti.xcoms
        jobs, there = self.jobs(), self.statuses()
        told = self.told(jobs)
        missing = [item for item in own if not self._holds(item, told, there)]
        # After a clear an attempt may export again what was exported before: a stranger's job may have ended meanwhile.
        self.must_be_done_since = self.cleared_at
        open_ = [item for item in own if not self._holds(item, told, there)]
        to_retry = done.error.to_retry
        assert xcoms["to_retry"] == to_retry == [item for item in own if item in to_retry]
        assert all(item in to_retry for item in missing), f"these are missing, and not told: {missing}"
        # What a job has done that no List shows yet cannot be known.
        # Nor can a first try know what somebody else had done: only an activation asks for what holds.
        # After a clear an export may be done again, and fail, whatever was exported since the clear.
        is_repeated = self.kind is ReadSetJobKind.EXPORT and self.cleared_at is not None
        is_blind = done.ti.try_number == 1 and self.kind is not ReadSetJobKind.ACTIVATION
        can_know = not list_lag and not is_repeated and not is_blind
        assert not can_know or all(item in open_ for item in to_retry), f"told as missing, and there: {to_retry}"
        held = [item for item in own if item not in to_retry]
        self._check_read_set_ids(done, held, told)
        self._check_told(xcoms["failed_job"], told)
        assert isinstance(xcoms["failed_job"], list)
        names = {self.name(item) for item in own}
        if not self.kind.makes_items:
            assert set(xcoms[f"failed_{self.kind.item_argument}s"]) <= names
        said = str(done.error)
        strangers = [self.name(item) for item in self.pool if self.name(item) not in names]
        assert not [name for name in strangers if name in said], f"a stranger's item is told: {said}"
        for summary in xcoms["failed_job"]:
            if summary["failed"] and summary["job_id"] in before and self.kind is not ReadSetJobKind.ACTIVATION:
                assert before[summary["job_id"]]["status"] not in OVER, f"an old failure is told as one of now: {said}"

    # --- what happens meanwhile

    @rule(data=st.data())
    def correct(self, data: st.DataObject) -> None:
        """The list comes in another order, loses, gains or corrects entries; or its role is corrected."""
        chosen = data.draw(self._lists(), "places")
        if data.draw(self.rarely, "role"):
            self.role = 1 - self.role
        if self.has_run and (sorted(chosen) != sorted(self.chosen) or self.role):
            self.do_tokens_tell = False
        self.chosen = chosen

    def _lists(self) -> st.SearchStrategy[list[int]]:
        size = len(self.pool)
        if not self.is_large:
            return st.lists(st.integers(0, size - 1), unique=True, min_size=1, max_size=size)
        dropped = st.lists(st.integers(0, size - 1), unique=True, max_size=3)
        return st.builds(
            lambda without, step: [number for number in range(size) if number not in without][::step],
            dropped,
            st.sampled_from([1, -1]),
        )

    @rule(places=st.lists(st.integers(0, SMALL - 1), unique=True, min_size=1))
    def stranger(self, places: list[int]) -> None:
        """Somebody else starts a job."""
        self.do_tokens_tell = False
        self._start_as_stranger(places)

    def _start_as_stranger(self, places: list[int]) -> None:
        items = [self.pool[place] for place in places]
        if self.kind.makes_items:
            self.world.call(self.kind, "Start", sources=items, roleArn=ROLE)
        else:
            self.world.start(self.kind, items)

    @rule(places=st.lists(st.integers(0, SMALL - 1), unique=True, min_size=1))
    def archive(self, places: list[int]) -> None:
        """AWS archives read sets: those of the task, or those that were made for it."""
        if self.kind == REFERENCE_IMPORT:
            return
        there = self.statuses()
        chosen = self._present(places, there)
        self.local.archive_read_sets([each for each in chosen if there[each] == "ACTIVE"])

    @rule(places=st.lists(st.integers(0, SMALL - 1), unique=True, min_size=1, max_size=2), is_shown=st.booleans())
    def delete(self, places: list[int], is_shown: bool) -> None:
        """Read sets are deleted; AWS shows them as DELETED for a while, or knows them no more."""
        chosen = self._present(places, self.statuses())
        if not chosen:
            return
        self.do_tokens_tell = False
        if self.kind == REFERENCE_IMPORT:
            for each in chosen:
                self.world.omics.delete_reference(referenceStoreId=self.world.reference_store, id=each)
        elif is_shown and self.kind is not ReadSetJobKind.EXPORT:
            self.local.set_read_set_status(chosen, "DELETED")
        else:
            self.world.omics.batch_delete_read_set(sequenceStoreId=self.world.store, ids=chosen)

    def _present(self, places: list[int], there: dict[str, str]) -> list[str]:
        if not self.kind.makes_items:
            return [self.pool[place] for place in places if there.get(self.pool[place]) in KEPT]
        told = self.told(self.jobs())
        made = [
            each.get(self.kind.item_id_key) for place in places for _, each in told.get(self.key(self.pool[place]), [])
        ]
        return [each for each in dict.fromkeys(made) if each and there.get(each) in KEPT]

    @rule(places=st.lists(st.integers(0, SMALL - 1), unique=True, max_size=3))
    def fail_and_heal(self, places: list[int]) -> None:
        """Some read sets and files cannot be processed; those that could not be before can."""
        self.failing = {self.name(self.pool[place]) for place in places}
        self.do_tokens_tell = self.do_tokens_tell and not self.is_large
        self._heal_faults()

    @rule(what=st.sampled_from(["half a job's time", "tokens forgotten", "a job cancelled"]))
    def go_on(self, what: str) -> None:
        """Time passes, and AWS does what only AWS can do."""
        if what == "half a job's time":
            self._pass(JOB_SECONDS / 2)
        elif what == "tokens forgotten":
            self._pass(TOKEN_SECONDS + 1)
            self.do_tokens_tell = self.do_tokens_tell and not self.has_run
        else:
            jobs = self.jobs().items()
            if running := [job_id for job_id, job in jobs if job["status"] in ("SUBMITTED", "IN_PROGRESS")]:
                self.local.cancel_job(running[-1])

    @rule()
    def next_run(self) -> None:
        """The DAG runs again, with the same list."""
        if not self.has_run:
            return
        self._pass(10)
        self.run_after = self._now()
        self._pass(10)
        self.run += 1
        self.try_number, self.first_try, self.cleared_at, self.has_run = 0, 1, None, False
        self.do_tokens_tell = self.arguments["client_token"] is None


@pytest.mark.thorough
@pytest.mark.timeout(1800 if HISTORIES <= FEW else 0)
def test_histories(shared_local: LocalHealthOmics, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection(shared_local)))
    model = type(f"ModelOf{kind.word.title().replace(' ', '')}", (Model,), {"kind": kind, "local": shared_local})
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    if "MODEL_BRIEF" not in os.environ:
        phases.append(Phase.shrink)
    run_state_machine_as_test(
        model,
        settings=settings(
            max_examples=-(-HISTORIES // len(JOB_KINDS)),
            stateful_step_count=STEPS + 4,
            deadline=None,
            derandomize=HISTORIES <= FEW,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
        _min_steps=STEPS,
    )
