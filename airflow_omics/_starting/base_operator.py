"""What the operators of all kinds of job have in common: starting, waiting, leaving for the triggerer."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, SupportsFloat, SupportsIndex

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_omics._airflow import AirflowException, Context, TaskDeferred, conf, generation_of, since_of
from airflow_omics._arguments import check_bool, parse_count, parse_id, parse_seconds, parse_token
from airflow_omics._aws.settings import check_client_of, check_no_secrets
from airflow_omics._service.kind import Kind
from airflow_omics._service.limits import LONGEST_MESSAGE, some
from airflow_omics._starting.attempt import Attempt
from airflow_omics._starting.goals import GOALS, Item, Source
from airflow_omics._starting.memory import remember, take_up
from airflow_omics._starting.outcome import Outcome, push_interrupted
from airflow_omics._starting.starter import StopError
from airflow_omics._values import arguments_of
from airflow_omics._waiting import trigger_events
from airflow_omics._waiting.base_trigger import LEAVING, SETTLE
from airflow_omics.exceptions import WAITED_OUT, OmicsNotFoundError, OmicsTransientError
from airflow_omics.hooks import OmicsHook
from airflow_omics.links import OmicsLink
from airflow_omics.triggers import OmicsReadSetJobTrigger

if TYPE_CHECKING:
    from airflow_omics._values import Id

NO_TRIGGERER = 60
"""Seconds after its deadline at which Airflow itself ends a deferred task."""


class OmicsStartJobOperator(AwsBaseOperator[OmicsHook]):
    """
    Ensure a state of any number of items, by jobs of one kind; a subclass says of which.

    It asks AWS what holds, starts jobs for what is missing, of the size that AWS allows and as room appears, waits for
    them, and asks again. It succeeds if the goal was seen to hold for every item; so a retry, or a clear, starts
    only what is missing then.

    Returns, as XCom, the summaries (:meth:`airflow_omics.jobs.ReadSetJob.summary`) of the jobs that count, a list, with
    its own items only; or with ``wait_for_completion=False`` the ids of the jobs under way, at once usable as a
    sensor's ``job_id``. It pushes ``read_set_ids`` (or ``reference_ids``), all for which the goal holds; if some are
    missing ``to_retry``, in the form of its own argument; and before it fails the summaries under ``failed_job``, and
    the ids of the items that jobs failed on under ``failed_read_set_ids`` (or ``failed_reference_ids``).

    With ``deferrable`` it leaves its worker as soon as it has started what there is room for, and the triggerer wakes
    it when there may be room again or all has ended. What it must remember meanwhile is kept where Airflow keeps a
    deferred task's arguments.

    There is no cancel: a task that is killed or timed out leaves its jobs running at AWS, and starts no more.

    :param wait_for_completion: Wait until the goal holds. If False, the task ends when all that is missing was started.
    :param deferrable: Wait in the triggerer; by default what ``[operators] default_deferrable`` in Airflow's
        configuration says.
    :param poll_interval: Seconds between two polls.
    :param timeout: Seconds, or a timedelta, after which the task fails; None for no limit.
    :param max_concurrent_jobs: How many jobs this task has running at once; None for the service's default quota
        (export 5, activation 25, import 5, reference import 1). The account's other jobs count, too; then it waits.
    :param accept_partial_failure: Let items be missing that a job ended FAILED, if others are done.
    :param client_token: What identifies the work instead of DAG, run, task and map index. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated)
    :param region_name: AWS region. If None, the connection's. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config. (templated)
    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow_omics.exceptions.OmicsReadSetJobFailedError: The goal does not hold for some; raised after all jobs
        have ended. Airflow's ``retries`` apply.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused a call, or to start jobs, and nothing else failed.
    """

    aws_hook_class = OmicsHook
    kind: ClassVar[Kind]
    template_fields: Sequence[str] = aws_template_fields("client_token", "botocore_config")
    operator_extra_links: Collection[OmicsLink] = ()
    ui_color = "#c8dff0"

    def __init__(  # noqa: PLR0913 - keywords, and the public face
        self,
        *,
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
        check_bool("accept_partial_failure", accept_partial_failure)
        check_bool("deferrable", deferrable)
        check_bool("wait_for_completion", wait_for_completion)
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = parse_seconds("poll_interval", poll_interval)
        self.timeout = None if timeout is None else parse_seconds("timeout", timeout)
        most = max_concurrent_jobs
        self.max_concurrent_jobs = None if most is None else parse_count("max_concurrent_jobs", most)
        self.accept_partial_failure = accept_partial_failure
        self.client_token = client_token
        self._attempt: Attempt | None = None
        check_client_of(self)

    def execute(self, context: Context) -> list[Any]:
        """Look what holds, start what is missing, and wait for it."""
        if self.deferrable:
            check_no_secrets("botocore_config", self.botocore_config)
        attempt = self._begin(context, None if self.timeout is None else time.time() + self.timeout)
        with arguments_of(self):
            attempt.items = [Item.of(source) for source in self._sources()]
        with suppress(Exception):  # the first call says it better, and no link is worth a failure
            for link in self.operator_extra_links:
                link.show(context, self.hook.conn_region_name, self.hook.conn_partition, **attempt.parameters)
        return self._go_on(attempt, context)

    def execute_complete(
        self,
        context: Context,
        event: object = None,
        memory: object = None,
        deadline: object = None,
        try_number: object = None,
        **_: object,
    ) -> list[Any]:
        """
        Go on after the triggerer woke the task. What another version remembered is ignored.

        :param memory: What :func:`airflow_omics._starting.memory.remember` told.
        :param deadline: When the task times out, in seconds since the epoch.
        :param try_number: The attempt that left.
        """
        if trigger_events.is_of_another_attempt(try_number, context):
            self.log.info("An earlier attempt had left its worker; beginning anew")
            return self.execute(context)
        attempt = self._begin(context, trigger_events.remembered("deadline", deadline))
        take_up(attempt, memory)
        with self._telling_what_goes_on(attempt, context):
            self._hear(attempt, event)
        return self._go_on(attempt, context)

    def on_kill(self) -> None:
        """Start no more jobs: Airflow 3 calls this on SIGTERM, and lets the process go on until it kills it."""
        if (attempt := self._attempt) is not None:
            attempt.is_stopped = True
            self._tell_what_goes_on(attempt)

    def _go_on(self, attempt: Attempt, context: Context) -> list[Any]:
        self._attempt = attempt
        with self._telling_what_goes_on(attempt, context):
            while not self._is_done(attempt):
                if self.deferrable:
                    self._leave(attempt, context)
                time.sleep(max(min(self.poll_interval, self._left(attempt)), 0))
        return self._end(attempt, context)

    @contextmanager
    def _telling_what_goes_on(self, attempt: Attempt, context: Context) -> Iterator[None]:
        """If an attempt does not come to its end, log its jobs and push what is known."""
        try:
            yield
        except TaskDeferred:
            raise
        except BaseException:  # Airflow's timeouts and kills are no Exceptions
            self._tell_what_goes_on(attempt)
            with suppress(Exception):  # what interrupts is to be told
                push_interrupted(attempt, context)
            raise

    def _hear(self, attempt: Attempt, event: object) -> None:
        """Take from the triggerer what it told; what is wrong with single jobs, this task finds out itself."""
        try:
            told = trigger_events.parse(event, self.kind, attempt.sequence_store_id, attempt.running)
        except OmicsNotFoundError as error:
            self.log.warning("%s", error)
            return
        for job in told.values():
            attempt.take(job)
            if self.kind.makes_items:  # a summary does not tell which source is which
                attempt.jobs[job.job_id] = None

    def _is_done(self, attempt: Attempt) -> bool:
        """Do what can be done now; return whether that is all, and raise if there is no time for the rest."""
        try:
            attempt.step(is_waiting=self.wait_for_completion)
        except OmicsTransientError as error:
            attempt.trouble = error
            self.log.warning(WAITED_OUT, error)
        except StopError:
            pass
        self.log.info("%s, %s: %s", attempt.store.name.capitalize(), self.kind.word, attempt.progress)
        if attempt.is_over or (attempt.is_started and not self.wait_for_completion):
            return True
        if attempt.is_stopped:
            raise AirflowException(f"Killed: no more jobs are started. {attempt.progress}")
        if self._left(attempt) <= 0:
            raise AirflowException(self._timed_out(attempt))
        return False

    def _end(self, attempt: Attempt, context: Context) -> list[Any]:
        """Return the result, or raise what the task fails with."""
        outcome = Outcome(attempt)
        outcome.push(context)
        if error := outcome.error(context, accept_partial_failure=self.accept_partial_failure):
            self._tell_what_goes_on(attempt)
            raise error
        if self.wait_for_completion:
            return outcome.summaries
        return [job_id for job_id in attempt.jobs if job_id in attempt.running or job_id in attempt.sent]

    def _left(self, attempt: Attempt) -> float:
        return math.inf if attempt.deadline is None else attempt.deadline - time.time()

    def _tell_what_goes_on(self, attempt: Attempt) -> None:
        if attempt.running:
            self.log.warning(
                "These jobs go on at AWS, which cannot cancel them: %s", some(attempt.running, LONGEST_MESSAGE)
            )

    def _timed_out(self, attempt: Attempt) -> str:
        after = "" if self.timeout is None else f" after {self.timeout:g} s"  # a DAG may have lost its timeout since
        trouble = f" Last trouble: {attempt.trouble}" if attempt.trouble else ""
        return (
            f"Timed out{after}: {attempt.progress}; {attempt.store.name}, {self.hook.where}. "
            f"These {self.kind.word} jobs go on at AWS, which cannot cancel them: "
            f"{some(attempt.running, LONGEST_MESSAGE) or 'none'}; no more are started.{trouble}"
        )

    def _leave(self, attempt: Attempt, context: Context) -> NoReturn:
        """Leave the worker until a job has ended, or until there is something else to ask for."""
        check_no_secrets("botocore_config", self.botocore_config)
        job_ids = sorted(attempt.running - attempt.lost.keys())
        has_to_look = not self.wait_for_completion and not attempt.pending
        is_looking = attempt.lost or not job_ids or has_to_look or (attempt.pending and attempt.has_room)
        times = [time.time() + self.poll_interval] if is_looking else []
        times += [] if attempt.deadline is None else [attempt.deadline]
        trigger = OmicsReadSetJobTrigger(
            kind=self.kind.word,
            sequence_store_id=attempt.sequence_store_id,
            job_ids=job_ids,
            until="any" if attempt.pending else "all",
            poll_interval=self.poll_interval,
            wake_at=min(times, default=None),
            fire_after=time.time() + SETTLE,
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            botocore_config=self.botocore_config,
        )
        self.log.info(LEAVING, "no limit" if (left := self._left(attempt)) == math.inf else f"{left:.0f} s")
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"memory": remember(attempt), "deadline": attempt.deadline, "try_number": context["ti"].try_number},
            # The trigger wakes the task at its deadline; this is for the case that no triggerer runs.
            timeout=None if left == math.inf else timedelta(seconds=max(left, 0) + NO_TRIGGERER),
        )

    def _begin(self, context: Context, deadline: float | None) -> Attempt:
        """Put together what is known before any call."""
        task_instance = context["ti"]
        identity = [task_instance.dag_id, task_instance.run_id, task_instance.task_id, task_instance.map_index]
        with arguments_of(self):
            name, parameters = self.kind.store.argument, self._parameters()
            store = parse_id(name, getattr(self, name))
            if self.client_token is not None:
                identity = [parse_token("client_token", self.client_token)]
        generation = generation_of(task_instance, self.retries)
        return Attempt(
            hook=self.hook,
            goal=GOALS[self.kind](self.kind, None, since_of(context)),
            sequence_store_id=store,
            identity=[*identity, generation],
            parameters=parameters,
            max_concurrent_jobs=self.max_concurrent_jobs or self.kind.max_concurrent_jobs,
            is_first=task_instance.try_number == 1,
            is_cleared=generation > 1,
            log=self.log,
            deadline=deadline,
        )

    def _parameters(self) -> dict[str, str]:
        """Return what Start takes beside store, sources and token."""
        return {}

    def _sources(self) -> list[Source]:
        """Return what the task was given, in the form of AWS's Start operation; each once."""
        raise NotImplementedError
