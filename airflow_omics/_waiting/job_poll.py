"""Asking for many jobs of one kind and store with few calls: what sensors, operators and the triggerer share."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_omics._airflow import conf
from airflow_omics._service.jobs import UNKNOWN_STATUS, JobStatus, ReadSetJob, ReadSetJobKind, Verdict
from airflow_omics.exceptions import (
    WAITED_OUT,
    OmicsCredentialsError,
    OmicsNotFoundError,
    OmicsRequestError,
    OmicsTransientError,
)
from airflow_omics.hooks import OmicsHook

FEW = 3
"""Up to how many jobs are asked for one by one, since listing takes two calls and more."""

OUTAGE = 3
"""How many jobs in a row, from the first, AWS must have said nothing of for a round to be given up."""

NOT_FOUND_SECONDS = 5.0
"""
How long a job that AWS does not find is asked for again, unless ``[omics] not_found_seconds`` in Airflow's
configuration says otherwise: whether a job can be found from the moment it is started is documented nowhere.
"""


@dataclass
class JobPoll:
    """
    Asks for jobs, and remembers what it needs to ask with fewer calls the next time.

    :param log: Where warnings go: a logger, Airflow's or the standard library's.
    """

    hook: OmicsHook
    kind: ReadSetJobKind
    sequence_store_id: str
    log: Any
    missed: dict[str, OmicsTransientError] = field(default_factory=dict)
    """What kept AWS from telling the last :meth:`get` of a job."""
    _last: dict[str, str] = field(default_factory=dict)

    def find_open(self, job_ids: Collection[str]) -> set[str]:
        """
        Return those of these jobs that are surely not over, and need no Get now.

        A List has up to 100 jobs of one status in a page, and quotas keep few jobs running in an account, so usually
        two calls tell it of all. What is over is found by its absence: a Get then says how it ended. If listing is
        refused or out of order, fewer jobs or none are surely open: Get may work all the same.

        :raises airflow_omics.exceptions.OmicsCredentialsError: AWS does not accept the connection's credentials.
        """
        wanted = set(job_ids)
        self._last = {job_id: status for job_id, status in self._last.items() if job_id in wanted}
        found: set[str] = set()
        try:
            # In this order, since most jobs are IN_PROGRESS most of the time. One that becomes it in between is in
            # neither list, and gets a Get once.
            for status in (JobStatus.IN_PROGRESS, JobStatus.SUBMITTED, JobStatus.CANCELLING):
                if sum(self._may_be(job_id, status) for job_id in wanted - found) > FEW:
                    found |= self._listed(status, wanted - found)
        except OmicsCredentialsError:
            raise
        except OmicsRequestError as error:
            self.log.warning("%s Asking by itself for every job that was not listed.", error)
        return found

    def ask(self, job_ids: Iterable[str]) -> Iterator[tuple[str, ReadSetJob | OmicsRequestError]]:
        """
        Ask for each of these jobs by itself; yield what AWS says of it, or why it does not.

        Throttling hits single calls, so those are made again as long as others succeed; else a long list would
        never be seen whole. In an outage the round is given up soon. A job that AWS does not find may have been
        started a moment ago, so it is asked for again for a few seconds.

        :raises airflow_omics.exceptions.OmicsCredentialsError: AWS does not accept the connection's credentials.
        """
        give_up = math.inf
        while True:
            asked, missed, not_found = 0, [], []
            for asked, job_id in enumerate(job_ids, 1):
                try:
                    job = self.hook.get_read_set_job(self.kind, self.sequence_store_id, job_id)
                except OmicsTransientError as error:
                    missed.append(job_id)
                    yield job_id, error
                except OmicsNotFoundError as error:
                    patience = conf.getfloat("omics", "not_found_seconds", fallback=NOT_FOUND_SECONDS)
                    give_up = min(give_up, time.monotonic() + patience)
                    if time.monotonic() >= give_up:
                        yield job_id, error
                    else:
                        not_found.append(job_id)
                except OmicsCredentialsError:
                    raise
                except OmicsRequestError as error:
                    yield job_id, error
                else:
                    self._last[job_id] = job.status
                    yield job_id, job
                if len(missed) == asked == OUTAGE:
                    return
            job_ids = not_found + (missed if len(missed) < asked else [])
            if not job_ids:
                return
            time.sleep(1 if not_found else 0)

    def get(self, job_ids: Iterable[str]) -> Iterator[ReadSetJob]:
        """
        Yield each of these jobs; one that AWS could not say anything of now is left out.

        :raises airflow_omics.exceptions.OmicsRequestError: A call failed in a way that does not pass by itself.
        """
        self.missed = {}
        for job_id, answer in self.ask(job_ids):
            self.missed.pop(job_id, None)
            if isinstance(answer, OmicsTransientError):
                self.missed[job_id] = answer
                self.log.warning(WAITED_OUT, answer)
            elif isinstance(answer, OmicsRequestError):
                raise answer
            else:
                if not answer.is_status_known:
                    self.log.warning(UNKNOWN_STATUS, answer, answer.status)
                yield answer

    @property
    def trouble(self) -> OmicsTransientError | None:
        """What kept AWS from telling the last :meth:`get` of all jobs."""
        return next(iter(self.missed.values()), None)

    def _may_be(self, job_id: str, status: JobStatus) -> bool:
        """Tell whether a job can have this status now, by what it had last; no job goes back to SUBMITTED."""
        last = self._last.get(job_id)
        if status is JobStatus.CANCELLING:
            return last == status
        return last in (None, JobStatus.SUBMITTED, status)

    def _listed(self, status: JobStatus, wanted: set[str]) -> set[str]:
        found: set[str] = set()
        for job in self.hook.list_read_set_jobs(self.kind, self.sequence_store_id, status):
            # The status is looked at, for a filter that is not applied must not keep what is over waiting for ever.
            if job.job_id in wanted and job.is_status_known and job.verdict() is Verdict.WAITING:
                self._last[job.job_id] = job.status
                found.add(job.job_id)
                if len(found) == len(wanted):
                    break  # the other pages have jobs that nobody here waits for
        return found
