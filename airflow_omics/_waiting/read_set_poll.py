"""Asking for many read sets of one store with few calls: what sensors, operators and the triggerer share."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_omics._service.jobs import Verdict
from airflow_omics._service.read_sets import ReadSet, ReadSetStatus
from airflow_omics._waiting.job_poll import OUTAGE, JobPoll
from airflow_omics.exceptions import (
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRefusedError,
    OmicsRequestError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook

if TYPE_CHECKING:
    from airflow_omics._waiting.shared_poll import Source

FEW_READ_SETS = 10
"""Up to how many read sets are asked for one by one, since a List may have to go through a whole store."""

NOT_FOUND = timedelta(minutes=5)
"""How long a read set that AWS does not find is asked for: how soon one can be found is documented nowhere."""

REMIND_EVERY = 10
"""At every how many polls it is said again what may keep a wait from ending."""

Answer = ReadSet | OmicsRequestError | str
"""What is known of a read set, why nothing is, or what is to be said about waiting for it."""


def list_wanted(
    hook: OmicsHook, sequence_store_id: str, wanted: Collection[str], log: Any, **criteria: Any
) -> Iterator[list[ReadSet]]:
    """
    Yield, page by page of a List, those of the wanted read sets that are in it; a page may have none.

    It ends with the last page, or with as many pages as there are read sets still unknown: from then on, asking for
    each by itself takes no more calls. Of few, nothing is listed. A List that is refused is logged, and ends it.

    :param criteria: ListReadSets' filter, by AWS's names.
    :raises airflow_omics.exceptions.OmicsRequestError: A List failed in another way, or there is no such store.
    """
    unknown = set(wanted)
    if len(unknown) <= FEW_READ_SETS:
        return
    try:
        for number, page in enumerate(hook.list_read_sets(sequence_store_id, **criteria), 1):
            found = [read_set for read_set in page if read_set.id in unknown]
            unknown.difference_update(read_set.id for read_set in found)
            yield found
            if number >= len(unknown):
                return
    except (OmicsCredentialsError, OmicsNotFoundError):
        raise
    except OmicsRefusedError as error:
        log.warning("%s Asking for every read set by itself.", error)


@dataclass
class ReadSetPoll:
    """
    Asks for read sets until they are ACTIVE; with the methods of :class:`airflow_omics._waiting.job_poll.JobPoll`.

    :param log: Where warnings go: a logger, Airflow's or the standard library's.
    :param polls: How often it was asked before.
    :param lost: Since when, by the service's clock, a read set is not found. What is found or given up leaves it.
    :param seconds: For how long this wait has been asking in other processes. A read set that is not found counts as
        not found all that time: one that was there before was deleted.
    """

    hook: OmicsHook
    sequence_store_id: str
    log: Any
    polls: int = 0
    lost: dict[str, datetime] = field(default_factory=dict)
    seconds: float = 0
    listed: dict[str, ReadSet] = field(default_factory=dict)
    """What the last :meth:`find_open` found: read sets as a List tells of them, without their files."""

    def find_open(self, read_set_ids: Collection[str]) -> set[str]:
        """
        Return those of these read sets that are surely waited for still, and need no Get now.

        :raises airflow_omics.exceptions.OmicsCredentialsError: AWS does not accept the connection's credentials.
        """
        self.listed = {}
        try:
            for page in list_wanted(self.hook, self.sequence_store_id, read_set_ids, self.log):
                self.listed.update((read_set.id, read_set) for read_set in page)
        except OmicsCredentialsError:
            raise
        except OmicsRequestError as error:
            self.log.warning("%s Asking by itself for every read set that was not listed.", error)
        for read_set_id in self.listed:
            self.lost.pop(read_set_id, None)
        return {each.id for each in self.listed.values() if each.is_status_known and is_waiting(each)}

    def ask(self, read_set_ids: Iterable[str]) -> Iterator[tuple[str, Answer]]:
        """
        Yield what is known of each of these read sets: from the last :meth:`find_open`, or else by a Get.

        At every tenth poll, the first is one, it also yields what is to be said about those that are ARCHIVED.

        :raises airflow_omics.exceptions.OmicsCredentialsError: AWS does not accept the connection's credentials.
        """
        is_time_to_remind = self.polls % REMIND_EVERY == 0
        self.polls += 1
        listed = [each for each in self.listed.values() if each.status == ReadSetStatus.ARCHIVED]
        for read_set in listed if is_time_to_remind else ():
            yield read_set.id, _reminder(read_set)
        for read_set_id, answer in self._ask(read_set_ids):
            yield read_set_id, answer
            if is_time_to_remind and isinstance(answer, ReadSet) and answer.status == ReadSetStatus.ARCHIVED:
                yield read_set_id, _reminder(answer)

    def in_full(self) -> Iterator[tuple[str, Answer]]:
        """Yield what a Get tells of those read sets of which a List alone has told so far: their files, too."""
        read_set_ids, self.listed = list(self.listed), {}
        yield from self._ask(read_set_ids)

    def _ask(self, read_set_ids: Iterable[str]) -> Iterator[tuple[str, Answer]]:
        """Ask again for what an error that passes by itself hit, as long as AWS tells of others; in an outage stop."""
        while True:
            asked, missed = 0, []
            for asked, read_set_id in enumerate(read_set_ids, 1):
                answer = self.listed.get(read_set_id) or self._get(read_set_id)
                if isinstance(answer, OmicsTransientError):
                    missed.append(read_set_id)
                yield read_set_id, answer
                if len(missed) == asked == OUTAGE:
                    return
            if not missed or len(missed) == asked:
                return
            read_set_ids = missed

    def _get(self, read_set_id: str) -> Answer:
        try:
            read_set = self.hook.get_read_set(self.sequence_store_id, read_set_id)
        except OmicsCredentialsError:
            raise
        except OmicsNotFoundError as error:
            return self._lose(read_set_id, error)
        except OmicsRequestError as error:
            return error
        self.lost.pop(read_set_id, None)
        return read_set

    def _lose(self, read_set_id: str, error: OmicsNotFoundError) -> Answer:
        now = self.hook.service_time
        if now - self.lost.setdefault(read_set_id, now - timedelta(seconds=self.seconds)) < NOT_FOUND:
            return f"{error} It is asked for until it was not found for {NOT_FOUND.total_seconds() / 60:.0f} minutes."
        del self.lost[read_set_id]
        gone = OmicsNotFoundError(f"{error} It was not found for {NOT_FOUND.total_seconds() / 60:.0f} minutes.")
        gone.__cause__ = error.__cause__
        return gone


def connect(source: Source, log: Any) -> JobPoll | ReadSetPoll:
    """Return what asks AWS for the triggerer's waits of a source."""
    config: dict[str, Any] = json.loads(source.botocore_config)
    hook = OmicsHook(source.aws_conn_id, source.region_name, source.verify, config)
    if source.kind is None:
        return ReadSetPoll(hook, source.sequence_store_id, log)
    return JobPoll(hook, source.kind, source.sequence_store_id, log)


def is_waiting(read_set: ReadSet) -> bool:
    """Tell whether a wait until this read set is ACTIVE goes on."""
    return read_set.verdict() is Verdict.WAITING


def _reminder(read_set: ReadSet) -> str:
    return f"{read_set} is ARCHIVED. Unless somebody activates it, this waits in vain."
