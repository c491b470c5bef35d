"""What export and activation jobs do to read sets."""

from __future__ import annotations

from airflow_omics.local.life import DONE, ItemFailedError, Work
from airflow_omics.local.s3 import WrongRegionError
from airflow_omics.local.state import Item, Job, Stored

NEEDLESS = "No activation needed as read set is already in ACTIVATING or ACTIVE state."


class Export(Work):
    """Writes read sets to S3."""

    def do(self, job: Job, item: Item) -> str:
        """Write the files of an item's read set."""
        read_set = existing(job, item)
        if read_set.status != "ACTIVE":
            raise ItemFailedError(f"The read set is {read_set.status}, not ACTIVE.")
        folder = f"{job.request['destination'].rstrip('/')}/{read_set.id}"
        names = {member: uri.rsplit("/", 1)[-1] for member, uri in read_set.source["sourceFiles"].items()}
        if len(set(names.values())) < len(names):
            names = {member: f"{member}/{name}" for member, name in names.items()}
        for member, content in read_set.files.items():
            try:
                self._state.s3.write(f"{folder}/{names[member]}", content, job.store.place.region)
            except FileNotFoundError:
                raise ItemFailedError("The destination bucket does not exist or cannot be written.") from None
            except WrongRegionError as error:
                raise ItemFailedError(f"The destination cannot be written: {error}.") from None
        return DONE


class Activation(Work):
    """Makes read sets ACTIVE that are ARCHIVED."""

    def needless(self, job: Job, item: Item) -> str | None:
        """Return a message if another job is activating the read set."""
        read_set = job.read_set(item)
        is_activating = read_set is not None and read_set.status == "ACTIVATING"
        return NEEDLESS if is_activating and not self.is_to_fail(item) else None

    def begin(self, job: Job, item: Item) -> None:
        """Make the read set ACTIVATING."""
        read_set = job.read_set(item)
        if read_set is not None and read_set.status == "ARCHIVED":
            read_set.status, read_set.activated_by = "ACTIVATING", item

    def abandon(self, job: Job, item: Item) -> None:
        """Make it ARCHIVED again, if this item made it ACTIVATING."""
        read_set = job.read_set(item)
        if read_set is not None and read_set.status == "ACTIVATING" and read_set.activated_by is item:
            read_set.status = "ARCHIVED"

    def do(self, job: Job, item: Item) -> str:
        """Make it ACTIVE."""
        read_set = existing(job, item)
        is_anothers = read_set.status == "ACTIVATING" and read_set.activated_by is not item
        if read_set.status == "ACTIVE" or is_anothers:
            return NEEDLESS
        if read_set.status not in ("ARCHIVED", "ACTIVATING"):
            raise ItemFailedError(f"The read set is {read_set.status}, not ARCHIVED.")
        read_set.status = "ACTIVE"
        return DONE


def existing(job: Job, item: Item) -> Stored:
    """Return the read set that an item names; it fails if there is none."""
    read_set = job.read_set(item)
    if read_set is None:
        raise ItemFailedError("The read set does not exist.")
    return read_set
