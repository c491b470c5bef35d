"""What a task tells when its attempt has ended: its result, its XComs, its error. Of its own items only."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from airflow_omics._airflow import Context
from airflow_omics._service.job_items import FAILED, FINISHED, ItemKey, JobItem
from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.limits import LONGEST_MESSAGE, some
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import Item
from airflow_omics.exceptions import OmicsReadSetJobFailedError, OmicsRefusedError


class Outcome:
    """
    How an attempt came out.

    ``jobs`` has the jobs that count, with own items only, each item once: with the job that decided about it.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._told = attempt.told()
        self._sent = {key: job_id for job_id, keys in attempt.sent.items() for key in keys}
        self.missing = attempt.failed()
        self.jobs = self._jobs()
        self.item_ids = [attempt.findings[item.key].item_id for item in attempt.items if attempt.holds(item)]
        self.to_retry = [item.argument for item in self.missing]
        self.summaries: list[dict[str, Any]] = [job.summary() for job in self.jobs]

    def push(self, context: Context) -> None:
        """Push what a task tells beside its result."""
        task_instance = context["ti"]
        task_instance.xcom_push(key=f"{self._attempt.kind.item_argument}s", value=self.item_ids)
        if self.missing:
            task_instance.xcom_push(key="to_retry", value=self.to_retry)

    def error(self, context: Context, *, accept_partial_failure: bool) -> Exception | None:
        """Return what the task fails with, and push what belongs to it; None if it succeeds."""
        if not self.missing:
            return None
        refused = self._attempt.refused
        can_be_missing = all(self._is_failed_by_a_job(item) for item in self.missing)
        if accept_partial_failure and can_be_missing and self.item_ids:
            return None
        failed = [job for job in self.jobs if job.failed or job.unfinished]
        store = "" if failed else f"{self._attempt.store.name.capitalize()}, "  # which a job would tell
        where = store + self._attempt.hook.where
        error = OmicsReadSetJobFailedError(failed, where, self._others(), self.to_retry)
        error.push(context, self.summaries, self._attempt.kind.item_argument)
        if all(item.key in refused for item in self.missing):
            said = list(dict.fromkeys(map(str, refused.values())))
            first = next(iter(refused.values()))
            return first if len(said) == 1 else OmicsRefusedError(some(said, LONGEST_MESSAGE, "\n"))
        return error

    def _is_failed_by_a_job(self, item: Item) -> bool:
        """Tell whether a job ended FAILED for an item: that is what may be accepted."""
        if item.key in self._attempt.refused or not (told := self._told.get(item.key)):
            return False
        job, record = told[-1]  # not an old failure, where this attempt's own job tells nothing
        return record.status == FAILED and self._sent.get(item.key, job.job_id) == job.job_id

    def _jobs(self) -> list[ReadSetJob]:
        keys: dict[str, set[ItemKey]] = defaultdict(set)
        missing = {item.key for item in self.missing}
        for item in self._attempt.items:
            finding = self._attempt.findings[item.key]
            if not self._attempt.holds(item) and item.key not in missing:
                continue  # a job has it under way, for a task that does not wait
            job_id = finding.job_id if self._attempt.holds(item) else self._sent.get(item.key, finding.job_id)
            if job_id and item.key not in self._attempt.refused:  # an old failure is none of now
                keys[job_id].add(item.key)
        return [self._about(job, keys[job.job_id]) for job in self._attempt.known() if job.job_id in keys]

    def _about(self, job: ReadSetJob, keys: set[ItemKey]) -> ReadSetJob:
        """Return a job with these items; one that it should tell of, and does not, is not finished."""
        told = job.about(keys)
        if len(told.items) < len(job.items):
            told = replace(told, status_message=None)  # it may tell of somebody else's items
        untold = keys - {item.key for item in told.items}
        unfinished = [_unfinished(item) for item in self._attempt.items if item.key in untold]
        return replace(told, items=(*told.items, *unfinished))

    def _others(self) -> list[str]:
        """Say what is in the way beside failed jobs, a sentence each."""
        attempt, names = self._attempt, defaultdict(list)
        for item in self.missing:
            job_id = self._sent.get(item.key, "")
            if error := attempt.refused.get(item.key):
                names[f"{error} So no job was started for"].append(item.name)
            elif why := attempt.findings[item.key].why:
                names[f"{why}:"].append(item.name)
            elif job_id and job_id not in attempt.jobs:
                names[f"{attempt.kind.word} job {job_id} was started, and is not found:"].append(item.name)
            elif (told := self._told.get(item.key)) and told[-1][1].status == FINISHED:
                names[f"{told[-1][0]} finished, and did not tell which {attempt.kind.item} it made:"].append(item.name)
            elif not job_id and not told:
                names["Not seen to be done:"].append(item.name)
        return [f"{reason} {some(named, LONGEST_MESSAGE)}." for reason, named in names.items()]


def _unfinished(item: Item) -> JobItem:
    return JobItem(item.key, "", None if item.is_source else item.name, None, item.name if item.is_source else None)


def push_interrupted(attempt: Attempt, context: Context) -> None:
    """Push what is known when an attempt does not come to its end."""
    told, done = attempt.told(), dict[ItemKey, str | None]()
    for item in attempt.items:
        finished = [each.id for _, each in told.get(item.key, ()) if each.status == FINISHED and each.id]
        if attempt.holds(item):
            done[item.key] = attempt.findings[item.key].item_id
        elif finished and attempt.goal.do_jobs_vouch:
            done[item.key] = finished[-1]
    context["ti"].xcom_push(key=f"{attempt.kind.item_argument}s", value=list(done.values()))
    context["ti"].xcom_push(key="to_retry", value=[item.argument for item in attempt.items if item.key not in done])
