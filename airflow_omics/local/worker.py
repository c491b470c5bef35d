"""What a job does to its read sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local.s3 import S3, WrongRegionError

if TYPE_CHECKING:
    from airflow_omics.local.state import Item, Job, ReadSet, State

DONE = "The source was processed successfully."
NEEDLESS = "No activation needed as read set is already in ACTIVATING or ACTIVE state."


class ItemFailedError(Exception):
    """An item of a job could not be processed; the message is the item's."""


class Worker:
    """Does what a job does to one read set."""

    def __init__(self, state: State, s3: S3) -> None:
        self._state = state
        self._s3 = s3

    def is_under_way(self, job: Job, item: Item) -> bool:
        """Tell whether somebody else is at an item's work, so that it takes this job no time."""
        read_set = job.read_set(item)
        is_activating = read_set is not None and read_set.status == "ACTIVATING"
        return job.kind == ReadSetJobKind.ACTIVATION and is_activating and not item.names & self._state.failing.keys()

    def begin(self, job: Job, item: Item) -> None:
        """Begin with an item."""
        read_set = job.read_set(item)
        if job.kind == ReadSetJobKind.ACTIVATION and read_set is not None and read_set.status == "ARCHIVED":
            read_set.status, read_set.activated_by = "ACTIVATING", item

    def abandon(self, job: Job, item: Item) -> None:
        """Take back what was begun with an item, and nothing that another job began."""
        read_set = job.read_set(item)
        if read_set is not None and read_set.status == "ACTIVATING" and read_set.activated_by is item:
            read_set.status = "ARCHIVED"

    def finish(self, job: Job, item: Item) -> str:
        """
        Do an item's work, and return its message.

        :raises ItemFailedError: It could not be done.
        """
        for name in item.names & self._state.failing.keys():
            self.abandon(job, item)
            raise ItemFailedError(self._state.failing[name])
        if job.kind == ReadSetJobKind.IMPORT:
            return self._import(job, item)
        read_set = job.read_set(item)
        if read_set is None:
            raise ItemFailedError("The read set does not exist.")
        return self._export(job, read_set) if job.kind == ReadSetJobKind.EXPORT else self._activate(item, read_set)

    def _activate(self, item: Item, read_set: ReadSet) -> str:
        is_anothers = read_set.status == "ACTIVATING" and read_set.activated_by is not item
        if read_set.status == "ACTIVE" or is_anothers:
            return NEEDLESS
        if read_set.status not in ("ARCHIVED", "ACTIVATING"):
            raise ItemFailedError(f"The read set is {read_set.status}, not ARCHIVED.")
        read_set.status = "ACTIVE"
        return DONE

    def _import(self, job: Job, item: Item) -> str:
        files = {}
        for member, uri in item.request["sourceFiles"].items():
            try:
                files[member] = self._s3.read(uri, job.store.place.region)
            except FileNotFoundError:
                raise ItemFailedError(f"{member} does not exist or cannot be read.") from None
            except WrongRegionError as error:
                raise ItemFailedError(f"{member} cannot be read: {error}.") from None
            if not files[member]:
                raise ItemFailedError(f"{member} is empty.")
        item.read_set_id = self._state.add_read_set(job.store, item.request, files, job.id).id
        return DONE

    def _export(self, job: Job, read_set: ReadSet) -> str:
        if read_set.status != "ACTIVE":
            raise ItemFailedError(f"The read set is {read_set.status}, not ACTIVE.")
        folder = f"{job.request['destination'].rstrip('/')}/{read_set.id}"
        names = {member: uri.rsplit("/", 1)[-1] for member, uri in read_set.source["sourceFiles"].items()}
        if len(set(names.values())) < len(names):
            names = {member: f"{member}/{name}" for member, name in names.items()}
        for member, content in read_set.files.items():
            try:
                self._s3.write(f"{folder}/{names[member]}", content, job.store.place.region)
            except FileNotFoundError:
                raise ItemFailedError("The destination bucket does not exist or cannot be written.") from None
            except WrongRegionError as error:
                raise ItemFailedError(f"The destination cannot be written: {error}.") from None
        return DONE
