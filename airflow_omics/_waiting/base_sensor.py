"""What all sensors share: waiting in every mode, with the same ends and the same words."""

from __future__ import annotations

import math
import time
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, SupportsFloat

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor

from airflow_omics._airflow import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Context,
    PokeReturnValue,
    conf,
    first_reschedule,
)
from airflow_omics._arguments import check_bool, parse_id, parse_ids, parse_seconds
from airflow_omics._aws.settings import check_client_of, check_no_secrets
from airflow_omics._service.kind import Kind, Verdict
from airflow_omics._service.limits import LONGEST_MESSAGE, some
from airflow_omics._values import arguments_of, is_list
from airflow_omics._waiting import trigger_events
from airflow_omics._waiting.base_trigger import LEAVING, SETTLE
from airflow_omics._waiting.poll import Poll
from airflow_omics.exceptions import OmicsArgumentError, OmicsNotFoundError
from airflow_omics.hooks import OmicsHook

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger


SHORTEST_RESCHEDULE = 10
"""Seconds below which rescheduling is a race: measured on Airflow 3.3.2 with the LocalExecutor at 5 s."""


class OmicsSensor(AwsBaseSensor[OmicsHook]):
    """
    Wait for work of a kind; a subclass says of which, and has the arguments that name it.

    :param deferrable: Wait in the triggerer, whatever the ``mode``; all waits of a kind, store and connection share a
        few calls a poll there. By default what ``[operators] default_deferrable`` in Airflow's configuration says.
    :param mode: ``reschedule`` (the default) frees the worker between two polls, ``poke`` holds it.
    :param poke_interval: Seconds, or a timedelta, between two polls. Below 10 s in reschedule mode is unsafe.
    :param aws_conn_id: The Airflow connection used for AWS credentials. If None or empty, boto3's own. (templated)
    :param region_name: AWS region. If None, the connection's. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config. (templated)
    """

    aws_hook_class = OmicsHook
    kind: ClassVar[Kind]
    ids_argument: ClassVar[str]
    """The argument that takes one id or a list of ids."""
    accept_partial_failure = False
    ui_color = "#d5eae3"

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        mode: str = "reschedule",
        poke_interval: timedelta | SupportsFloat = 60,
        **kwargs: Any,
    ) -> None:
        timeout = kwargs.pop("timeout", None)  # Airflow 2 does not take None for its default
        if timeout is not None:
            kwargs["timeout"] = parse_seconds("timeout", timeout)
        super().__init__(mode=mode, poke_interval=parse_seconds("poke_interval", poke_interval), **kwargs)
        check_bool("deferrable", deferrable)
        self.deferrable = deferrable
        check_client_of(self)
        self._event: tuple[object] | None = None
        self._began: float | None = None
        self._last_poll = ""
        self._polls = 0
        self._lost: dict[str, datetime] = {}
        self._warn_of_short_interval()

    @abstractmethod
    def _trigger(self, store_id: str, ids: list[str], **arguments: Any) -> BaseTrigger:
        """Return what waits on in the triggerer; ``arguments`` are those that all triggers have."""

    @abstractmethod
    def _failure(
        self, context: Context, failed: list[Any], gone: Mapping[str, OmicsNotFoundError], result: object
    ) -> Exception:
        """Return what to fail with, and push to XCom what belongs to it; ``result`` is what would be returned."""

    def execute(self, context: Context) -> Any:
        """Wait, in the way that ``mode`` and ``deferrable`` say."""
        return self._defer(context, time.time()) if self.deferrable else self._wait(context)

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Ask once for everything."""
        store, ids = self._parse()
        if not ids:
            self.log.info("%s is an empty list: there is nothing to wait for", self.ids_argument)
            return PokeReturnValue(is_done=True, xcom_value=[])
        seen, gone = self._told(context, store, ids)
        told = [seen[work_id] for work_id in dict.fromkeys(ids) if work_id in seen]  # in the order asked for
        verdicts = {each.id: each.verdict(accept_partial_failure=self.accept_partial_failure) for each in told}
        has_ended = all(verdicts.get(work_id, Verdict.WAITING) is not Verdict.WAITING for work_id in ids)
        summaries = [seen[work_id].summary() for work_id in ids if work_id in seen]
        result = summaries if is_list(getattr(self, self.ids_argument)) else next(iter(summaries), None)
        failed = [each for each in told if verdicts[each.id] is Verdict.FAILED]
        if gone or (failed and (has_ended or self.kind.fails_at_once)):
            raise self._failure(context, failed, gone, result)  # not earlier: a reschedule clears a task's XComs
        return PokeReturnValue(is_done=True, xcom_value=result) if has_ended else False

    def _parse(self) -> tuple[str, list[str]]:
        """Return the store and the ids, once templates are rendered."""
        store, value = self.kind.store.argument, getattr(self, self.ids_argument)
        with arguments_of(self):
            store_id = parse_id(store, getattr(self, store))
            ids = parse_ids(self.ids_argument, value, can_be_empty=True)
        if is_list(value):
            # A generator, which a native template can make, is empty when it is read again.
            setattr(self, self.ids_argument, ids)
        return store_id, ids

    def _told(
        self, context: Context, store_id: str, ids: list[str]
    ) -> tuple[Mapping[str, Any], Mapping[str, OmicsNotFoundError]]:
        """Return what the trigger told, if one woke this task, or else what AWS tells; and what is not found."""
        waited = self._seconds_in_other_processes(context) if self.kind.patience else 0.0
        if self._event is not None:
            (event,), self._event = self._event, None
            try:
                if told := trigger_events.parse(event, self.kind, store_id, ids):
                    return told, {}
            except OmicsNotFoundError:  # of what, a poll tells
                waited = max(waited, self.kind.patience)
        return self._ask(store_id, list(dict.fromkeys(ids)), waited)

    def _ask(
        self, store_id: str, ids: list[str], waited: float
    ) -> tuple[Mapping[str, Any], Mapping[str, OmicsNotFoundError]]:
        """Return what AWS says of these, and what is not found; one that it keeps back now is left out."""
        self._last_poll = self._in_words(store_id, ids, {})  # what follows may raise
        # A process of its own for every poll counts by time.
        polls = int(waited / self.poke_interval) if waited and self.poke_interval else self._polls
        self._polls += 1
        poll = Poll(self.hook, self.kind, store_id, self.log, polls, waited, self._lost)
        surely_open = poll.find_open(ids)
        if surely_open:
            self.log.info("%s of %s %ss are not known %s", len(surely_open), len(ids), self.kind.name, self.kind.wanted)
        seen, to_ask = {}, poll.choose(ids, surely_open)
        for work in poll.get(to_ask):
            if work.id not in poll.listed:  # a line for each that was listed would be thousands
                said = f" ({work.status_message})" if work.status_message else ""
                self.log.info("%s: %s%s", work, work.in_words, said)
            seen[work.id] = work
            if len(to_ask) > self.kind.few and work.verdict() is Verdict.WAITING and not self.kind.fails_at_once:
                break
        if len(seen) == len(ids) and all(work.verdict() is Verdict.SUCCEEDED for work in seen.values()):
            untold = [work_id for work_id, work in seen.items() if not work.is_complete]
            seen = {work_id: work for work_id, work in seen.items() if work.is_complete}
            seen |= {work.id: work for work in poll.get(untold, is_in_full=True)} if untold else {}
        self._last_poll = self._in_words(store_id, ids, seen)
        if poll.trouble:
            self._last_poll = f"{poll.trouble} So {self._last_poll}"
        return seen, poll.gone

    def _in_words(self, store_id: str, ids: list[str], seen: Mapping[str, Any]) -> str:
        """Say what is waited for still, and how far it is."""
        waiting = [each for each in ids if each not in seen or seen[each].verdict() is Verdict.WAITING]
        if len(ids) > 1:
            named = f"{some(waiting, LONGEST_MESSAGE)} in {self.kind.store.word} {store_id}"
            said = f"{len(waiting)} of {len(ids)} {self.kind.name}s are not known {self.kind.wanted}: {named}"
        elif work := seen.get(ids[0]):
            said = f"{work} is {work.in_words}"
        else:
            said = f"{self.kind.describe(store_id, ids[0])} is not known {self.kind.wanted}"
        return f"{said}; not found: {some(self._lost, LONGEST_MESSAGE)}" if self._lost else said

    def _seconds_in_other_processes(self, context: Context) -> float:
        """Return how long the task has waited before this process took it up; 0 in poke mode."""
        began = self._began
        if began is None and self.reschedule and (first := first_reschedule(context)):
            began = first.timestamp()
        return 0.0 if began is None else max(time.time() - began, 0.0)

    def execute_complete(
        self, context: Context, event: object = None, since: object = None, try_number: object = None, **_: object
    ) -> Any:
        """
        Go on with what the trigger told, as after a poll. What another version remembered is ignored.

        :param since: When the wait began, in seconds since the epoch.
        :param try_number: The attempt that left.
        """
        if trigger_events.is_of_another_attempt(try_number, context):
            self.log.info("An earlier attempt had left its worker; beginning anew")
            return self.execute(context)
        self._event = (event,)
        began = trigger_events.remembered("since", since)
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
        text = f"Timed out after {self.timeout:.0f} s: {self._last_poll} ({self.hook.where})."
        return AirflowSkipException(text) if self.soft_fail else AirflowSensorTimeout(text)

    def _defer(self, context: Context, since: float) -> Any:
        """Poll once, as Airflow does in reschedule mode; if it goes on, leave the rest to the triggerer."""
        self.mode = "reschedule"
        self._began = since if math.isfinite(since) else None
        try:
            return self._wait(context)
        except AirflowRescheduleException:
            left = since + self.timeout - time.time()
        if left <= 0:
            raise self._timed_out()
        check_no_secrets("botocore_config", self.botocore_config)
        store, ids = self._parse()
        trigger = self._trigger(
            store,
            ids,
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
            kwargs={"since": since, "try_number": context["ti"].try_number},
            timeout=timedelta(seconds=left),
        )

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
                stacklevel=5,  # this, two constructors, and Airflow's wrapper of each
            )
