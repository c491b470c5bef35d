"""Waiting for read set jobs, and for read sets, in a task."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_omics._airflow import AirflowFailException, Context, PokeReturnValue
from airflow_omics._arguments import check_bool, check_ids
from airflow_omics._service.jobs import UNKNOWN_STATUS, ReadSetJob, ReadSetJobKind, Verdict, describe
from airflow_omics._service.limits import LARGEST_ERROR, LONGEST_MESSAGE, some
from airflow_omics._service.read_sets import ReadSet
from airflow_omics._values import is_list, is_mapped
from airflow_omics._waiting import trigger_events
from airflow_omics._waiting.base_sensor import OmicsSensor
from airflow_omics._waiting.job_poll import FEW, JobPoll
from airflow_omics._waiting.read_set_poll import NOT_FOUND, Answer, ReadSetPoll, is_waiting
from airflow_omics.exceptions import (
    WAITED_OUT,
    OmicsNotFoundError,
    OmicsReadSetJobSensorError,
    OmicsRequestError,
    OmicsTransientError,
)
from airflow_omics.triggers import OmicsReadSetJobTrigger, OmicsReadSetTrigger

if TYPE_CHECKING:
    from airflow_omics._values import Id, Ids


class OmicsReadSetJobSensor(OmicsSensor):
    """
    Wait until read set jobs are over; use the subclass of the kind of job.

    COMPLETED succeeds. FAILED, COMPLETED_WITH_FAILURES and CANCELLED fail at once, without Airflow's retries, naming
    the read sets. SUBMITTED, IN_PROGRESS, CANCELLING and any status this version does not know go on waiting. Several
    jobs are waited for until all are over. An error of AWS's that passes by itself (throttling, an outage, expired
    credentials) is logged and waited out; only ``timeout`` bounds it.

    Returns, as XCom, the job's summary (:meth:`airflow_omics.jobs.ReadSetJob.summary`); for a list of ids the list of
    summaries in the same order. Before it fails, the same is pushed under the key ``failed_job``, and the ids of the
    failed read sets under ``failed_read_set_ids``.

    :param sequence_store_id: The sequence store of the jobs: 10 to 36 digits. (templated)
    :param job_id: The job: 10 to 36 digits; or a list of jobs of the same kind and store, which
        may hold lists. A list that is empty when the task runs succeeds with ``[]``. (templated)
    :param accept_partial_failure: Let COMPLETED_WITH_FAILURES succeed; the summary still names the failures.

    The other parameters are those of :class:`airflow_omics._waiting.base_sensor.OmicsSensor`.

    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow_omics.exceptions.OmicsReadSetJobSensorError: A job did not succeed.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused to tell: no permission, no such job.
    """

    kind: ClassVar[ReadSetJobKind]
    ids_argument = "job_id"
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "job_id", "botocore_config")

    def __init__(
        self, *, sequence_store_id: Id, job_id: Ids, accept_partial_failure: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(sequence_store_id=sequence_store_id, **kwargs)
        check_bool("accept_partial_failure", accept_partial_failure)
        check_ids("job_id", job_id, can_be_empty=is_mapped(self))
        self.job_id = job_id
        self.accept_partial_failure = accept_partial_failure

    def _trigger(self, ids: list[str], **arguments: Any) -> OmicsReadSetJobTrigger:
        return OmicsReadSetJobTrigger(kind=self.kind.value, job_ids=ids, **arguments)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once at every job."""
        store, ids = self._parse()
        if not ids:
            self.log.info("job_id is an empty list: there is nothing to wait for")
            return PokeReturnValue(is_done=True, xcom_value=[])
        seen = self._told(store, ids) or self._look(store, list(dict.fromkeys(ids)))
        jobs = [seen[job_id] for job_id in ids if job_id in seen]
        verdicts = {job: job.verdict(accept_partial_failure=self.accept_partial_failure) for job in jobs}
        if len(jobs) < len(ids) or Verdict.WAITING in verdicts.values():
            return False
        result = [job.summary() for job in jobs] if is_list(self.job_id) else jobs[0].summary()
        failed = [job for job, verdict in verdicts.items() if verdict is Verdict.FAILED]
        if failed:
            error = OmicsReadSetJobSensorError(failed, self.hook.where)
            error.push(context, result)  # not earlier: Airflow clears a task's XComs at every reschedule
            raise error
        return PokeReturnValue(is_done=True, xcom_value=result)

    def _told(self, sequence_store_id: str, job_ids: Sequence[str]) -> Mapping[str, ReadSetJob]:
        """Return the jobs that the trigger told of, if one woke this task."""
        if self._event is None:
            return {}
        (event,), self._event = self._event, None
        return trigger_events.parse(event, self.kind, sequence_store_id, job_ids)

    def _look(self, sequence_store_id: str, job_ids: list[str]) -> Mapping[str, ReadSetJob]:
        """
        Return what AWS says of these jobs; one that it could not say anything of now is left out.

        When it is clear that the wait goes on, no more is asked, but for a few jobs by chance: so one that does
        not exist is found before all the others are over.
        """
        self._last_look = _in_words(self.kind, sequence_store_id, job_ids, {})  # what follows may raise
        poll = JobPoll(self.hook, self.kind, sequence_store_id, self.log)
        surely_open = poll.find_open(job_ids)
        to_ask = [job_id for job_id in job_ids if job_id not in surely_open]
        if surely_open:
            self.log.info("%s of %s %s jobs are not over", len(surely_open), len(job_ids), self.kind.value)
            to_ask = random.sample(to_ask, min(FEW, len(to_ask)))
        seen = {}
        for job in poll.get(to_ask):
            said = f" ({job.status_message})" if job.status_message else ""
            self.log.info("%s: %s, %s%s", job, job.status, job.progress, said)
            seen[job.job_id] = job
            if len(to_ask) > FEW and job.verdict() is Verdict.WAITING:
                break
        self._last_look = _in_words(self.kind, sequence_store_id, job_ids, seen)
        if poll.trouble:
            self._last_look = f"{poll.trouble} So {self._last_look}"
        return seen


class OmicsReadSetExportJobSensor(OmicsReadSetJobSensor):
    """Wait until read set export jobs are over. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.EXPORT


class OmicsReadSetActivationJobSensor(OmicsReadSetJobSensor):
    """Wait until read set activation jobs are over. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.ACTIVATION


class OmicsReadSetImportJobSensor(OmicsReadSetJobSensor):
    """Wait until read set import jobs are over. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.IMPORT


class OmicsReadSetSensor(OmicsSensor):
    """
    Wait until read sets are ACTIVE, whoever activates, uploads or imports them.

    UPLOAD_FAILED, DELETING and DELETED fail at once, without Airflow's retries, and so does a read set that AWS has
    not found for 5 minutes. ARCHIVED, ACTIVATING, PROCESSING_UPLOAD and any status this version does not know go on
    waiting. The log says at the first and then at every tenth look that a read set is ARCHIVED, for this sensor
    activates none. An error of AWS's that passes by itself is logged and waited out; only ``timeout`` bounds it.

    Returns, as XCom, ``read_set_id``, ``sequence_store_id``, ``status``, ``name``, ``file_type`` and ``uris``, the S3
    URIs at which the files can be read in place; for a list of ids the list of these in the same order. Before it
    fails, the ids of the failed read sets are pushed under ``failed_read_set_ids``.

    :param sequence_store_id: The sequence store of the read sets: 10 to 36 digits. (templated)
    :param read_set_ids: The read set: 10 to 36 digits; or a list of read sets, which may hold lists. A list that is
        empty when the task runs succeeds with ``[]``. (templated)

    The other parameters are those of :class:`airflow_omics._waiting.base_sensor.OmicsSensor`.

    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow.exceptions.AirflowFailException: A read set will not become ACTIVE.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused to tell: no permission, no such read set.
    """

    ids_argument = "read_set_ids"
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "read_set_ids", "botocore_config")

    def __init__(self, *, sequence_store_id: Id, read_set_ids: Ids, **kwargs: Any) -> None:
        super().__init__(sequence_store_id=sequence_store_id, **kwargs)
        check_ids("read_set_ids", read_set_ids, can_be_empty=is_mapped(self))
        self.read_set_ids = read_set_ids
        self._looks = 0
        self._lost: dict[str, datetime] = {}
        self._gone: dict[str, OmicsNotFoundError] = {}
        self._trouble: OmicsTransientError | None = None

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once at every read set."""
        store, ids = self._parse()
        if not ids:
            self.log.info("read_set_ids is an empty list: there is nothing to wait for")
            return PokeReturnValue(is_done=True, xcom_value=[])
        seconds = self._seconds_in_other_processes(context)
        if self._event:
            (event,), self._event = self._event, None
            try:
                trigger_events.check(event)
            except OmicsNotFoundError:  # which one, a look tells
                seconds = max(seconds, NOT_FOUND.total_seconds())
        # A process of its own for every look counts by time.
        looks = int(seconds / self.poke_interval) if seconds and self.poke_interval else self._looks
        self._looks += 1
        poll = ReadSetPoll(self.hook, store, self.log, looks, self._lost, seconds)
        self._gone = {}
        seen = self._look(poll, store, list(dict.fromkeys(ids)))
        failed = [each for each in seen.values() if each.verdict() is Verdict.FAILED]
        if failed or self._gone:
            if task_instance := context.get("ti"):
                task_instance.xcom_push(key="failed_read_set_ids", value=[*(each.id for each in failed), *self._gone])
            raise self._failed(store, failed) if failed else next(iter(self._gone.values()))
        if any(read_set_id not in seen or is_waiting(seen[read_set_id]) for read_set_id in ids):
            return False
        result = [seen[read_set_id].summary() for read_set_id in ids]
        return PokeReturnValue(is_done=True, xcom_value=result if is_list(self.read_set_ids) else result[0])

    def _look(self, poll: ReadSetPoll, sequence_store_id: str, ids: list[str]) -> Mapping[str, ReadSet]:
        """Return what AWS says of these read sets; one that is known to be waited for still may be left out."""
        self._trouble = None
        self._last_look = _waited_for(sequence_store_id, ids, {})  # what follows may raise
        surely_open = poll.find_open(ids)
        seen = self._take(poll.ask(read_set_id for read_set_id in ids if read_set_id not in surely_open))
        if len(seen) == len(ids) and all(each.verdict() is Verdict.SUCCEEDED for each in seen.values()):
            # A List does not tell all that is to be returned.
            seen = {read_set_id: each for read_set_id, each in seen.items() if read_set_id not in poll.listed}
            seen |= self._take(poll.in_full())
        elif surely_open:
            self.log.info("%s of %s read sets are not ACTIVE yet", len(surely_open), len(ids))
        self._last_look = _waited_for(sequence_store_id, ids, seen)
        if self._lost:
            self._last_look += f"; not found: {some(self._lost, LONGEST_MESSAGE)}"
        if self._trouble:
            self._last_look = f"{self._trouble} So {self._last_look}"
        return seen

    def _take(self, answers: Iterable[tuple[str, Answer]]) -> dict[str, ReadSet]:
        """Log what is to be said, and return what is known."""
        seen: dict[str, ReadSet] = {}
        missed: dict[str, OmicsTransientError] = {}
        remarks: list[str] = []
        for read_set_id, answer in answers:
            missed.pop(read_set_id, None)
            if isinstance(answer, str):
                remarks.append(answer)
            elif isinstance(answer, OmicsTransientError):
                missed[read_set_id] = answer
                self.log.warning(WAITED_OUT, answer)
            elif isinstance(answer, OmicsNotFoundError):
                self._gone[read_set_id] = answer
            elif isinstance(answer, OmicsRequestError):
                raise answer
            else:
                seen[read_set_id] = answer
                if not answer.is_status_known:
                    self.log.warning(UNKNOWN_STATUS, answer, answer.status)
        if remarks:
            self.log.warning("%s", some(remarks, LONGEST_MESSAGE, "\n"))
        self._trouble = self._trouble or next(iter(missed.values()), None)
        return seen

    def _failed(self, sequence_store_id: str, failed: Sequence[ReadSet]) -> AirflowFailException:
        said = [
            f"read set {each.id} is {each.status}" + (f": {each.status_message}" if each.status_message else "")
            for each in failed
        ]
        named = some(said, LARGEST_ERROR - LONGEST_MESSAGE, "; ", "more; XCom has all: failed_read_set_ids")
        return AirflowFailException(
            f"{named.rstrip('.')}. So it will not become ACTIVE. Sequence store {sequence_store_id}, {self.hook.where}."
        )

    def _trigger(self, ids: list[str], **arguments: Any) -> OmicsReadSetTrigger:
        return OmicsReadSetTrigger(read_set_ids=ids, **arguments)


def _in_words(
    kind: ReadSetJobKind, sequence_store_id: str, job_ids: Sequence[str], seen: Mapping[str, ReadSetJob]
) -> str:
    """Say what is waited for still, and how far it is."""
    waiting = [job_id for job_id in job_ids if job_id not in seen or seen[job_id].verdict() is Verdict.WAITING]
    if len(job_ids) > 1:
        named = f"{some(waiting, LONGEST_MESSAGE)} in sequence store {sequence_store_id}"
        return f"{len(waiting)} of {len(job_ids)} {kind.value} jobs are not known to have ended: {named}"
    job = seen.get(job_ids[0])
    if job is None:
        return f"{describe(kind, sequence_store_id, job_ids[0])} is not known to have ended"
    return f"{job} is {job.status}, {job.progress}"


def _waited_for(sequence_store_id: str, ids: Sequence[str], seen: Mapping[str, ReadSet]) -> str:
    """Say which read sets are waited for still."""
    waiting = [read_set_id for read_set_id in ids if read_set_id not in seen or is_waiting(seen[read_set_id])]
    if len(ids) > 1:
        named = f"{some(waiting, LONGEST_MESSAGE)} in sequence store {sequence_store_id}"
        return f"{len(waiting)} of {len(ids)} read sets are not known to be ACTIVE: {named}"
    if ids[0] in seen:
        return f"{seen[ids[0]]} is {seen[ids[0]].status}"
    return f"read set {ids[0]} in sequence store {sequence_store_id} is not known to be ACTIVE"
