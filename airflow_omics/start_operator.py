"""What the operators of all kinds of job have in common: starting, waiting, leaving for the triggerer."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, SupportsFloat, SupportsIndex

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_omics import events
from airflow_omics.arguments import check_bool, check_id, parse_count, parse_id, parse_seconds, parse_token
from airflow_omics.bounds import LONGEST_MESSAGE, some
from airflow_omics.bulk import Bulk, Source
from airflow_omics.client_settings import check_client_of, check_no_secrets
from airflow_omics.compat import AirflowException, Context, conf
from airflow_omics.exceptions import (
    WAITED_OUT,
    OmicsReadSetJobFailedError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.links import OmicsLink, OmicsSequenceStoresLink
from airflow_omics.triggers import LEAVING, SETTLE, OmicsReadSetJobTrigger
from airflow_omics.values import arguments_of

if TYPE_CHECKING:
    from airflow_omics.values import Id

NO_TRIGGERER = 60
"""Seconds after its deadline at which Airflow itself ends a deferred task."""


class OmicsStartReadSetJobOperator(AwsBaseOperator[OmicsHook]):
    """
    Start read set jobs for any number of read sets, once each; use the subclass of the kind of job.

    Duplicates are dropped, and the rest is cut into jobs of the size that AWS allows. They are started as room appears.
    A retry of the task finds the jobs that are running or have succeeded, instead of starting them again; see
    :mod:`airflow_omics.bulk` for how, and for what of it AWS does not document.

    Returns, as XCom, the list of the jobs' summaries (:meth:`airflow_omics.jobs.ReadSetJob.summary`), or with
    ``wait_for_completion=False`` the list of their ids, at once usable as a sensor's ``job_id``. Before it fails, the
    summaries are pushed under the key ``failed_job``, and the ids of the failed read sets under
    ``failed_read_set_ids``.

    With ``deferrable`` it leaves its worker as soon as it has started what there is room for, and the triggerer wakes
    it when there may be room again or all is over. What it must remember meanwhile (jobs, and read sets to come) is
    kept where Airflow keeps a deferred task's arguments.

    There is no cancel: a task that is killed or timed out leaves its jobs running at AWS, and starts no more.

    :param sequence_store_id: The sequence store: 10 to 36 digits. (templated)
    :param wait_for_completion: Wait until all jobs are over. If False, the task ends when all are started.
    :param deferrable: Wait in the triggerer; by default what ``[operators] default_deferrable`` in Airflow's
        configuration says.
    :param poll_interval: Seconds between two rounds.
    :param timeout: Seconds, or a timedelta, after which the task fails; None for no limit.
    :param max_concurrent_jobs: How many jobs this task has running at once; None for the service's default quota
        (export 5, activation 25, import 5). An account's other jobs count towards its quota too; then the task waits.
    :param accept_partial_failure: Let jobs that end COMPLETED_WITH_FAILURES succeed.
    :param client_token: What identifies the work instead of DAG, run, task and map index: with the same one, another
        run finds the same jobs. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated)
    :param region_name: AWS region. If None, the connection's. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config. (templated)
    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow_omics.exceptions.OmicsReadSetJobFailedError: Jobs did not succeed; raised after all are over.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused a call.
    """

    aws_hook_class = OmicsHook
    kind: ClassVar[ReadSetJobKind]
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "client_token", "botocore_config")
    operator_extra_links: Collection[OmicsLink] = (OmicsSequenceStoresLink(),)
    ui_color = "#c8dff0"

    def __init__(  # noqa: PLR0913 - keywords, and the public face
        self,
        *,
        sequence_store_id: Id,
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: timedelta | SupportsFloat = 30,
        timeout: timedelta | SupportsFloat | None = None,
        max_concurrent_jobs: SupportsIndex | None = None,
        accept_partial_failure: bool = False,
        client_token: Id | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_id("sequence_store_id", sequence_store_id)
        check_bool("accept_partial_failure", accept_partial_failure)
        check_bool("deferrable", deferrable)
        check_bool("wait_for_completion", wait_for_completion)
        self.sequence_store_id = sequence_store_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = parse_seconds("poll_interval", poll_interval)
        self.timeout = None if timeout is None else parse_seconds("timeout", timeout)
        self.max_concurrent_jobs = (
            None if max_concurrent_jobs is None else parse_count("max_concurrent_jobs", max_concurrent_jobs)
        )
        self.accept_partial_failure = accept_partial_failure
        self.client_token = client_token
        self._bulk_under_way: Bulk | None = None
        check_client_of(self)

    def execute(self, context: Context) -> list[Any]:
        """Start the jobs, and wait for them."""
        if self.deferrable:
            check_no_secrets("botocore_config", self.botocore_config)
        bulk = self._bulk(context)
        with suppress(Exception):  # the first call says it better, and no link is worth a failure
            for link in self.operator_extra_links:
                link.show(context, self.hook.conn_region_name, self.hook.conn_partition, **bulk.parameters)
        return self._go_on(bulk, context, None if self.timeout is None else time.time() + self.timeout)

    def execute_complete(
        self, context: Context, event: object = None, memory: object = None, deadline: object = None, **_: object
    ) -> list[Any]:
        """
        Go on after the triggerer woke the task. What another version remembered is ignored.

        :param memory: What :meth:`airflow_omics.bulk.Bulk.remember` told.
        :param deadline: When the task times out, in seconds since the epoch.
        """
        bulk = self._bulk(context)
        bulk.take_up(memory)
        return self._go_on(bulk, context, events.remembered("deadline", deadline), (event,))

    def _go_on(
        self, bulk: Bulk, context: Context, deadline: float | None, event: tuple[object] | None = None
    ) -> list[Any]:
        self._bulk_under_way = bulk
        try:
            is_over = self._run(bulk, deadline, event)
        except BaseException:
            self._tell_what_goes_on(bulk)
            raise
        if not is_over:
            self._leave(bulk, deadline)
        if not self.wait_for_completion:
            return [job.job_id for job in bulk.jobs() if job.job_id not in bulk.superseded]
        summaries = [job.summary() for job in bulk.jobs()]
        if failed := bulk.failed():
            error = OmicsReadSetJobFailedError(failed, self.hook.where)
            error.push(context, summaries)
            raise error
        return summaries

    def on_kill(self) -> None:
        """Start no more jobs: Airflow 3 calls this on SIGTERM, and lets the process go on until it kills it."""
        if (bulk := self._bulk_under_way) is not None:
            bulk.is_stopped = True
            self._tell_what_goes_on(bulk)

    def _tell_what_goes_on(self, bulk: Bulk) -> None:
        if bulk.running:
            self.log.warning(
                "These jobs go on at AWS, which cannot cancel them: %s", some(bulk.running, LONGEST_MESSAGE)
            )

    def _run(self, bulk: Bulk, deadline: float | None, event: tuple[object] | None) -> bool:
        """Start jobs and wait for them; return whether that is all, or else the rest is for the triggerer."""
        added, told = event is not None, False
        if event is not None:
            for job in events.parse(*event, self.kind, bulk.sequence_store_id, bulk.running).values():
                bulk.take(job)
                told = True
        while True:
            unheard_of = set(bulk.unlooked)
            try:
                if not added:
                    with arguments_of(self):
                        self._add(bulk)
                    added = True
                bulk.start()
                if not told and (self.wait_for_completion or bulk.pending or bulk.earlier_attempts):
                    bulk.look()
                    bulk.start()
            except OmicsTransientError as error:
                bulk.trouble = error
                self.log.warning(WAITED_OUT, error)
            told = False
            self.log.info("Sequence store %s, %s: %s", bulk.sequence_store_id, self.kind.value, bulk.progress)
            is_unclear = bool(bulk.earlier_attempts and bulk.unlooked)
            if added and (bulk.is_over or not (self.wait_for_completion or bulk.pending or is_unclear)):
                return True
            if bulk.is_stopped:
                raise AirflowException(f"Killed: no more jobs are started. {bulk.progress}")
            left = math.inf if deadline is None else deadline - time.time()
            if left <= 0:
                raise AirflowException(self._timed_out(bulk))
            if self.deferrable and added and not is_unclear:
                return False
            # A job that was started just now may be an old one that is over. In an outage nothing is asked sooner.
            time.sleep(min(self.poll_interval, left, 1 if bulk.unlooked - unheard_of else left))

    def _timed_out(self, bulk: Bulk) -> str:
        after = "" if self.timeout is None else f" after {self.timeout:.0f} s"  # a DAG may have lost its timeout since
        trouble = f" Last trouble: {bulk.trouble}" if bulk.trouble else ""
        return (
            f"Timed out{after}: {bulk.progress}; sequence store {bulk.sequence_store_id}, {self.hook.where}. "
            f"These {self.kind.value} jobs go on at AWS, which cannot cancel them: "
            f"{some(bulk.running, LONGEST_MESSAGE) or 'none'}; no more are started.{trouble}"
        )

    def _leave(self, bulk: Bulk, deadline: float | None) -> NoReturn:
        """Leave the worker until a job is over, or until there may be room that other jobs have taken now."""
        check_no_secrets("botocore_config", self.botocore_config)
        has_room = len(bulk.running) < bulk.max_concurrent_jobs
        times = [time.time() + self.poll_interval] if bulk.pending and has_room else []
        times += [] if deadline is None else [deadline]
        trigger = OmicsReadSetJobTrigger(
            kind=self.kind.value,
            sequence_store_id=bulk.sequence_store_id,
            job_ids=list(bulk.running),
            until="any" if bulk.pending else "all",
            poll_interval=self.poll_interval,
            wake_at=min(times, default=None),
            fire_after=time.time() + SETTLE,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
        self.log.info(LEAVING, "no limit" if deadline is None else f"{deadline - time.time():.0f} s")
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"memory": bulk.remember(), "deadline": deadline},
            # The trigger wakes the task at its deadline; this is for the case that no triggerer runs.
            timeout=None if deadline is None else timedelta(seconds=max(deadline - time.time(), 0) + NO_TRIGGERER),
        )

    def _bulk(self, context: Context) -> Bulk:
        """Put together what is known before any call."""
        task_instance = context["ti"]
        identity = [task_instance.dag_id, task_instance.run_id, task_instance.task_id, task_instance.map_index]
        with arguments_of(self):
            store, parameters = parse_id("sequence_store_id", self.sequence_store_id), self._parameters()
            if self.client_token is not None:
                identity = [parse_token("client_token", self.client_token)]
        return Bulk(
            hook=self.hook,
            kind=self.kind,
            sequence_store_id=store,
            identity=identity,
            parameters=parameters,
            max_concurrent_jobs=self.max_concurrent_jobs or self.kind.max_concurrent_jobs,
            accept_partial_failure=self.accept_partial_failure,
            earlier_attempts=task_instance.try_number - 1,
        )

    def _parameters(self) -> dict[str, str]:
        """Return what Start takes beside store, sources and token."""
        return {}

    def _add(self, bulk: Bulk) -> None:
        """Give the sources to ``bulk``."""
        raise NotImplementedError

    def _unique(self, sources: Sequence[Source]) -> list[Source]:
        unique = {json.dumps(source, sort_keys=True): source for source in sources}
        if len(unique) < len(sources):
            twice = len(sources) - len(unique)
            self.log.info("%s of %s read sets were named before; each is taken once", twice, len(sources))
        return list(unique.values())
