"""Waiting for read set jobs in a task."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_omics.arguments import check_id, check_ids, is_list, parse_id, parse_ids
from airflow_omics.compat import Context, PokeReturnValue
from airflow_omics.exceptions import OmicsReadSetJobFailedError, OmicsTransientError
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJob, ReadSetJobKind, Verdict

SHORTEST_RESCHEDULE = 10
"""Seconds below which rescheduling is a race: measured on Airflow 3.3.2 with the LocalExecutor at 5 s."""

OUTAGE = 3
"""How many jobs of a list in a row, from the first, AWS must have said nothing of for the look to be given up."""


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
    :param job_id: The job: 10 to 36 digits; or a list of jobs of the same kind and store. (templated)
    :param accept_partial_failure: Let COMPLETED_WITH_FAILURES succeed; the summary still names the failures.
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

    def __init__(
        self,
        *,
        sequence_store_id: str,
        job_id: str | Sequence[str],
        accept_partial_failure: bool = False,
        mode: str = "reschedule",
        poke_interval: timedelta | float = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        check_id("sequence_store_id", sequence_store_id)
        check_ids("job_id", job_id)
        self.sequence_store_id = sequence_store_id
        self.job_id = job_id
        self.accept_partial_failure = accept_partial_failure
        self._warn_of_short_interval()

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once at every job."""
        store = parse_id("sequence_store_id", self.sequence_store_id)
        ids = parse_ids("job_id", self.job_id)
        seen = self._look_at_all(store, list(dict.fromkeys(ids)))
        jobs = [seen[job_id] for job_id in ids if job_id in seen]
        verdicts = {job: job.verdict(accept_partial_failure=self.accept_partial_failure) for job in jobs}
        if len(jobs) < len(ids) or Verdict.WAITING in verdicts.values():
            return False
        result = [job.summary() for job in jobs] if is_list(self.job_id) else jobs[0].summary()
        failed = [job for job, verdict in verdicts.items() if verdict is Verdict.FAILED]
        if failed:
            error = OmicsReadSetJobFailedError(failed)
            error.push(context, result)  # not earlier: Airflow clears a task's XComs at every reschedule
            raise error
        return PokeReturnValue(is_done=True, xcom_value=result)

    def _look_at_all(self, sequence_store_id: str, job_ids: list[str]) -> dict[str, ReadSetJob]:
        """
        Return what AWS says of these jobs; one that it could not say anything of now is left out.

        Throttling hits single calls, so those are made again as long as others succeed; else a long list would
        never be seen whole.
        """
        seen: dict[str, ReadSetJob] = {}
        while True:
            missed = []
            for asked, job_id in enumerate(job_ids, 1):
                try:
                    seen[job_id] = self._look(sequence_store_id, job_id)
                except OmicsTransientError as error:
                    self.log.warning("%s Nothing is lost; asking again.", error)
                    missed.append(job_id)
                if len(missed) == asked == OUTAGE:
                    return seen
            if len(missed) in (0, len(job_ids)):
                return seen
            job_ids = missed

    def _look(self, sequence_store_id: str, job_id: str) -> ReadSetJob:
        job = self.hook.get_read_set_job(self.kind, sequence_store_id, job_id)
        said = f" ({job.status_message})" if job.status_message else ""
        self.log.info("%s: %s, %s%s", job, job.status, job.progress, said)
        if not job.is_status_known:
            self.log.warning("%s has a status unknown to this version: %r. Waiting on.", job, job.status)
        return job

    def _warn_of_short_interval(self) -> None:
        shortest = self.poke_interval
        if self.exponential_backoff:  # the first interval may be half of poke_interval, and none exceeds max_wait
            longest = self.max_wait.total_seconds() if self.max_wait else shortest
            shortest = min(shortest / 2, longest)
        if self.mode == "reschedule" and shortest < SHORTEST_RESCHEDULE:
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
