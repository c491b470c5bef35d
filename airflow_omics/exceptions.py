"""What can go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow_omics._airflow import AirflowException, AirflowFailException, Context
from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.limits import LARGEST_ERROR, LONGEST_MESSAGE, cut, some

NAMED_WITH_MESSAGE = 5
"""How many failed read sets of one job an error shows with AWS's message; others are named by id, if there is room."""

_ROOM = LARGEST_ERROR - 5 * LONGEST_MESSAGE
"""Characters for what an error names; with one name that is longer, and what is said around, it keeps its bound."""

_MORE = "more; XCom has all: failed_job, and the ids alone failed_{}s"

UNKNOWN_STATUS = "%s has a status unknown to this version: %r. Waiting on."
"""How the log says so, with the work and its status."""

WAITED_OUT = "%s Nothing is lost; asking again."
"""How the log says that an error is waited out."""


class OmicsArgumentError(AirflowFailException, ValueError):
    """An argument that cannot be right; the message names it. Also a ValueError, and never retried by Airflow."""


class OmicsReadSetJobFailedError(AirflowException):
    """
    Jobs have ended and did not succeed; from an operator, a retry starts what is missing.

    Its text has at most 10,000 characters, and says how much more there is in XCom.

    :param jobs: The failed ones, of one store; available as ``.jobs``.
    :param where: By which connection, and in which region or at which endpoint, in words.
    :param others: What else keeps the task from its goal, a sentence each.
    :param to_retry: What a task has to be given to try the rest again; available as ``.to_retry``.
    """

    def __init__(
        self, jobs: Sequence[ReadSetJob], where: str = "", others: Sequence[str] = (), to_retry: Sequence[Any] = ()
    ) -> None:
        self.jobs = tuple(jobs)
        self.where = where
        self.others = tuple(others)
        self.to_retry = list(to_retry)
        endings = [_ending(job, _ROOM // len(self.jobs)) for job in self.jobs]
        first = self.jobs[0] if self.jobs else None
        more = _MORE.format(first.kind.item_argument) if first else "more"
        told = some([*endings, *map(cut, self.others)], _ROOM, "\n", f"jobs {more}")
        store = f"{first.kind.store.word.capitalize()} {first.sequence_store_id}" if first else ""
        super().__init__(f"{told} {', '.join(filter(None, [store, cut(where)]))}.")

    def push(self, context: Context, result: object, item_argument: str = "read_set_id") -> None:
        """
        Push to XCom what a downstream task with another trigger rule needs to take up the failures.

        :param result: What the task would have returned; goes under ``failed_job``. The ids of the failed read sets
            go under ``failed_read_set_ids``.
        :param item_argument: What the id of an item is called; ``reference_id`` for references.
        """
        ids = dict.fromkeys(each.id for job in self.jobs for each in job.failed if each.id)
        if task_instance := context.get("ti"):
            task_instance.xcom_push(key="failed_job", value=result)
            task_instance.xcom_push(key=f"failed_{item_argument}s", value=list(ids))

    def __reduce__(self) -> tuple[type[OmicsReadSetJobFailedError], tuple[Any, ...]]:
        return type(self), (self.jobs, self.where, self.others, self.to_retry)


class OmicsReadSetJobSensorError(OmicsReadSetJobFailedError, AirflowFailException):
    """What a sensor raises: never retried by Airflow, since its jobs will never end better."""


class OmicsRequestError(AirflowException):
    """A call to AWS failed. Whether it would succeed later is not known, so Airflow's ``retries`` decide."""


class OmicsTransientError(OmicsRequestError):
    """A call to AWS failed for a reason that passes by itself: throttling, an outage, expired credentials."""


class OmicsThrottledError(OmicsTransientError):
    """AWS was called too often, by whoever shares the account's quotas."""


class OmicsRefusedError(OmicsRequestError, AirflowFailException):
    """AWS refused a call and will refuse it again until somebody changes something. Never retried by Airflow."""


class OmicsCredentialsError(OmicsRefusedError):
    """AWS does not accept the connection's credentials, also after they were read anew."""


class OmicsNotFoundError(OmicsRefusedError):
    """AWS knows no such job, or no such sequence store."""


class OmicsResponseError(OmicsRequestError):
    """AWS answered something that is not of the form its service model describes."""


class OmicsEventError(AirflowException):
    """A deferred task was woken with an event that its trigger cannot have sent."""


def _ending(job: ReadSetJob, room: int) -> str:
    """
    Say how a job ended, in the words an on-call person needs, with as many read sets as have room.

    What failed and why comes first, since Airflow's UI shows the beginning of one line.
    """
    text = f"{job.kind.name} {job.job_id} ended {job.status}: "
    said = f" AWS says: {job.status_message}" if job.status_message else ""
    if not job.total:
        return f"{text}AWS sent no details of its {job.kind.item}s.{said}"
    if not job.failed and job.unfinished:
        text += f"{len(job.unfinished)} of {job.total} {job.kind.item}s were never finished"
    else:
        text += f"{len(job.failed)} of {job.total} {job.kind.item}s failed"
        text += f", {len(job.unfinished)} were never finished" if job.unfinished else ""
    named = [str(each) for each in job.failed[:NAMED_WITH_MESSAGE]]
    named += [str(replace(each, message=None)) for each in job.failed[NAMED_WITH_MESSAGE:]]
    more = _MORE.format(job.kind.item_argument)
    return f"{text}: {some(named, room, more=more)}.{said}" if named else f"{text}.{said}"
