"""What import jobs do, of read sets and of references."""

from __future__ import annotations

from airflow_omics.local.life import DONE, ItemFailedError, Work
from airflow_omics.local.s3 import WrongRegionError
from airflow_omics.local.state import Item, Job


class Import(Work):
    """Makes of files in S3 what the store holds."""

    def do(self, job: Job, item: Item) -> str:
        """Read an item's files, and make something of them."""
        files = {}
        for member, uri in item.files.items():
            try:
                files[member] = self._state.s3.read(uri, job.store.place.region)
            except FileNotFoundError:
                raise ItemFailedError(f"{member} does not exist or cannot be read.") from None
            except WrongRegionError as error:
                raise ItemFailedError(f"{member} cannot be read: {error}.") from None
            if not files[member]:
                raise ItemFailedError(f"{member} is empty.")
        item.made = self._state.add(job.store, item.request, files, job.id).id
        return DONE
