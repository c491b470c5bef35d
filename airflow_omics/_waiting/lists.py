"""Finding much work by few Lists."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from airflow_omics._service.kind import Kind
from airflow_omics.hooks import OmicsHook


def list_wanted(
    hook: OmicsHook, kind: Kind, store_id: str, wanted: Collection[str], **criteria: Any
) -> Iterator[list[Any]]:
    """
    Yield, page by page of a List, those of the wanted that are in it; a page may have none.

    It ends with the last page, or with as many pages as there are still unknown: from then on, asking for each by
    itself takes no more calls. Of few, nothing is listed.

    :param criteria: The List's filter, by AWS's names.
    :raises airflow_omics.exceptions.OmicsRequestError: A List failed.
    """
    unknown = set(wanted)
    if len(unknown) <= kind.few:
        return
    for number, page in enumerate(hook.list_work(kind, store_id, **criteria), 1):
        found = [work for work in page if work.id in unknown]
        unknown.difference_update(work.id for work in found)
        yield found
        if number >= len(unknown):
            return
