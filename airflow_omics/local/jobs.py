"""The operations of jobs: Start, Get and List of one kind."""

from __future__ import annotations

from airflow_omics._service.kind import Kind
from airflow_omics.local.life import Life, Work
from airflow_omics.local.operations import Family, Members, page
from airflow_omics.local.places import Place
from airflow_omics.local.settings import Settings
from airflow_omics.local.state import Item, Job, State
from airflow_omics.local.wire import ServiceError


class Jobs(Family):
    """The jobs of one kind in one place."""

    def __init__(self, state: State, settings: Settings, place: Place, kind: Kind, work: Work) -> None:
        super().__init__(state, settings, place, kind.store)
        self._kind = kind
        self._work = work
        self.operations = {
            kind.operation("Start"): self._start,
            kind.operation("Get"): self._get,
            kind.operation("List"): self._list,
        }
        self.limited = frozenset(self.operations)

    def cancel(self, job: Job) -> None:
        """Begin to cancel a job, for which AWS has no operation."""
        self._state.go_on(Life(job, self._work).cancellation(self._state.clock.now()))

    def _start(self, p: Members) -> Members:
        kind, store = self._kind, self._store(p)

        def start() -> Job:
            limit = self._settings.max_concurrent_jobs[kind.word]
            if limit is not None and self._state.running(kind, self._place) >= limit:
                raise ServiceError(
                    "ServiceQuotaExceededException", f"At most {limit} {kind.word} jobs can run at the same time"
                )
            job = Job(
                id=self._state.new_id(),
                kind=kind,
                store=store,
                request=p,
                items=[Item(source) for source in p["sources"]],
                creation_time=self._state.clock.now(),
                seconds=self._settings.job_seconds,
            )
            self._state.add_job(job, Life(job, self._work).steps())
            return job

        return _job_members(self._once(store.id, p, start))

    def _get(self, p: Members) -> Members:
        kind, job = self._kind, self._store(p).jobs.get(p["id"])
        if job is None or job.kind != kind or job.as_of(self._settings.get_lag) is None:
            raise ServiceError("ResourceNotFoundException", f"{kind.word.capitalize()} job {p['id']} does not exist")
        items = [
            (item.request if kind.makes_items else {})
            | {kind.item_id_key: item.request.get("readSetId", item.made)}
            | {"status": item.status, "statusMessage": item.message}
            for item in job.items
        ]
        return _job_members(job) | {"statusMessage": job.message, kind.items_key: items}

    def _list(self, p: Members) -> Members:
        jobs = []
        for job in self._store(p).jobs.values():
            if job.kind == self._kind and (seen := job.as_of(self._settings.list_lag)):
                status, completion_time = seen
                jobs.append(_job_members(job) | {"status": str(status), "completionTime": completion_time})
        return page(self._kind.listed_as, jobs, p)


def _job_members(job: Job) -> Members:
    return {
        "id": job.id,
        job.kind.store.member: job.store.id,
        "status": str(job.status),
        "creationTime": job.creation_time,
        "completionTime": job.completion_time,
        **{name: job.request.get(name) for name in ("destination", "roleArn")},
    }
