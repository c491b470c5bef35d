"""Waiting for read set jobs in a task."""

from __future__ import annotations

import math
import random
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, SupportsFloat

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_omics import events
from airflow_omics.arguments import check_bool, check_id, check_ids, parse_id, parse_ids, parse_seconds
from airflow_omics.bounds import LONGEST_MESSAGE, some
from airflow_omics.client_settings import check_client_of, check_no_secrets
from airflow_omics.compat import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Context,
    PokeReturnValue,
    conf,
)
from airflow_omics.exceptions import OmicsArgumentError, OmicsReadSetJobFailedError
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJob, ReadSetJobKind, Verdict, describe
from airflow_omics.polling import FEW, JobPoll
from airflow_omics.triggers import LEAVING, SETTLE, OmicsReadSetJobTrigger
from airflow_omics.values import arguments_of, is_list, is_mapped

if TYPE_CHECKING:
    from airflow_omics.values import Id, Ids

SHORTEST_RESCHEDULE = 10
"""Seconds below which rescheduling is a race: measured on Airflow 3.3.2 with the LocalExecutor at 5 s."""


class OmicsReadSetJobSensor(AwsBaseSensor[OmicsHook]):
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
    :param deferrable: Wait in the triggerer, whatever the ``mode``; all waits of a kind, store and connection share a
        few calls a round there. By default what ``[operators] default_deferrable`` in Airflow's configuration says.
    :param mode: ``reschedule`` (the default) frees the worker between two looks, ``poke`` holds it.
    :param poke_interval: Seconds, or a timedelta, between two looks. Below 10 s in reschedule mode is unsafe.
    :param aws_conn_id: The Airflow connection used for AWS credentials. If None or empty, boto3's own. (templated)
    :param region_name: AWS region. If None, the connection's. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config. (templated)
    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow_omics.exceptions.OmicsReadSetJobFailedError: A job did not succeed.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused to tell: no permission, no such job.
    """

    aws_hook_class = OmicsHook
    kind: ClassVar[ReadSetJobKind]
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "job_id", "botocore_config")
    ui_color = "#d5eae3"

    def __init__(  # noqa: PLR0913 - keywords, and the public face
        self,
        *,
        sequence_store_id: Id,
        job_id: Ids,
        accept_partial_failure: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        mode: str = "reschedule",
        poke_interval: timedelta | SupportsFloat = 60,
        **kwargs: Any,
    ) -> None:
        timeout = kwargs.pop("timeout", None)  # Airflow 2 does not take None for its default
        if timeout is not None:
            kwargs["timeout"] = parse_seconds("timeout", timeout)
        super().__init__(mode=mode, poke_interval=parse_seconds("poke_interval", poke_interval), **kwargs)
        check_bool("accept_partial_failure", accept_partial_failure)
        check_bool("deferrable", deferrable)
        check_id("sequence_store_id", sequence_store_id)
        check_ids("job_id", job_id, can_be_empty=is_mapped(self))
        self.sequence_store_id = sequence_store_id
        self.job_id = job_id
        self.accept_partial_failure = accept_partial_failure
        self.deferrable = deferrable
        check_client_of(self)
        self._event: tuple[object] | None = None
        self._last_look = ""
        self._warn_of_short_interval()

    def execute(self, context: Context) -> Any:
        """Wait, in the way that ``mode`` and ``deferrable`` say."""
        return self._defer(context, time.time()) if self.deferrable else self._wait(context)

    def execute_complete(self, context: Context, event: object = None, since: object = None, **_: object) -> Any:
        """
        Go on with what the trigger told, as after a look at AWS. What another version remembered is ignored.

        :param since: When the wait began, in seconds since the epoch.
        """
        self._event = (event,)
        began = events.remembered("since", since)
        return self._defer(context, time.time() if began is None else min(began, time.time()))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Do what Airflow does, with the same outcome on all its versions and in all modes."""
        if next_method == "execute_complete":
            # Airflow's own way would make every error a skip when soft_fail is set, and poke mode does not.
            return self.execute_complete(context, **(next_kwargs or {}))
        if "timeout" in str((next_kwargs or {}).get("error", "")).lower():
            return self._defer(context, -math.inf)
        return super().resume_execution(next_method, next_kwargs, context)

    def _wait(self, context: Context) -> Any:
        """Poke as Airflow does, but let no wrong argument end in a skip, and let every end say why."""
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise self._timed_out() from error
        except AirflowSkipException as skip:
            reason = skip.__cause__  # Airflow gives a timeout none
            if isinstance(reason, OmicsArgumentError) and self.soft_fail:
                raise reason from None
            raise AirflowSkipException(str(reason)) if reason else self._timed_out() from reason

    def _timed_out(self) -> AirflowException:
        text = f"Timed out after {self.timeout:.0f} s: {self._last_look} ({self.hook.where})."
        return AirflowSkipException(text) if self.soft_fail else AirflowSensorTimeout(text)

    def _defer(self, context: Context, since: float) -> Any:
        """Look once, as Airflow does in reschedule mode; if it is not over, leave the rest to the triggerer."""
        self.mode = "reschedule"
        try:
            return self._wait(context)
        except AirflowRescheduleException:
            left = since + self.timeout - time.time()
        if left <= 0:
            raise self._timed_out()
        check_no_secrets("botocore_config", self.botocore_config)
        store, job_ids = self._parse()
        trigger = OmicsReadSetJobTrigger(
            kind=self.kind.value,
            sequence_store_id=store,
            job_ids=job_ids,
            poll_interval=self.poke_interval,
            fire_after=time.time() + SETTLE,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
        self.log.info(LEAVING, f"{left:.0f} s")
        return self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"since": since},
            timeout=timedelta(seconds=left),
        )

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
            error = OmicsReadSetJobFailedError(failed, self.hook.where)
            error.push(context, result)  # not earlier: Airflow clears a task's XComs at every reschedule
            raise error
        return PokeReturnValue(is_done=True, xcom_value=result)

    def _parse(self) -> tuple[str, list[str]]:
        """Return the store and the jobs, once templates are rendered."""
        with arguments_of(self):
            store = parse_id("sequence_store_id", self.sequence_store_id)
            job_ids = parse_ids("job_id", self.job_id, can_be_empty=True)
        if is_list(self.job_id):
            self.job_id = job_ids  # a generator, which a native template can make, is empty when it is read again
        return store, job_ids

    def _told(self, sequence_store_id: str, job_ids: Sequence[str]) -> Mapping[str, ReadSetJob]:
        """Return the jobs that the trigger told of, if one woke this task."""
        if self._event is None:
            return {}
        (event,), self._event = self._event, None
        return events.parse(event, self.kind, sequence_store_id, job_ids)

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

    def _warn_of_short_interval(self) -> None:
        shortest = self.poke_interval
        if self.exponential_backoff:  # the first interval may be half of poke_interval, and none exceeds max_wait
            longest = self.max_wait.total_seconds() if self.max_wait else shortest
            shortest = min(shortest / 2, longest)
        if self.mode == "reschedule" and not self.deferrable and shortest < SHORTEST_RESCHEDULE:
            warnings.warn(
                f"Task {self.task_id!r}: a poke_interval under {SHORTEST_RESCHEDULE} s in reschedule mode can make "
                "Airflow fail the task: it may be queued again before the process of the last poke is seen to have "
                "ended. Use a longer interval (a minute or more is advised), or mode='poke'.",
                UserWarning,
                stacklevel=3,
            )


class OmicsReadSetExportJobSensor(OmicsReadSetJobSensor):
    """Wait until read set export jobs are over. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.EXPORT


class OmicsReadSetActivationJobSensor(OmicsReadSetJobSensor):
    """Wait until read set activation jobs are over. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.ACTIVATION


class OmicsReadSetImportJobSensor(OmicsReadSetJobSensor):
    """Wait until read set import jobs are over. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.IMPORT


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
