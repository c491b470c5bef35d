"""The kinds of work. Facts come from botocore's service model, quotas from the user guide ("Service quotas")."""

from __future__ import annotations

import copyreg
from typing import Any, ClassVar

from airflow_omics._service.jobs import JOB_VERDICTS, JobStatus, ReadSetJob
from airflow_omics._service.kind import Kind, Store
from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import ParseError
from airflow_omics._service.read_sets import READ_SET_VERDICTS, ReadSet, ReadSetStatus
from airflow_omics._service.references import REFERENCE_VERDICTS, Reference, ReferenceStatus

SEQUENCE_STORE = Store(word="sequence store", member="sequenceStoreId", argument="sequence_store_id")
REFERENCE_STORE = Store(word="reference store", member="referenceStoreId", argument="reference_store_id")

READ_SET = Kind(
    word="read set",
    name="read set",
    store=SEQUENCE_STORE,
    operations={"Get": "GetReadSetMetadata", "List": "ListReadSets"},
    listed_as="readSets",
    parser=ReadSet,
    verdicts=READ_SET_VERDICTS,
    wanted="to be ACTIVE",
    kept=(ReadSetStatus.ACTIVE, ReadSetStatus.ARCHIVED, ReadSetStatus.ACTIVATING),
    few=10,
    patience=300,  # how soon one can be found is documented nowhere
    fails_at_once=True,
    reminders={ReadSetStatus.ARCHIVED: "Unless somebody activates it, this waits in vain."},
)

REFERENCE = Kind(
    word="reference",
    name="reference",
    store=REFERENCE_STORE,
    operations={"Get": "GetReferenceMetadata", "List": "ListReferences"},
    listed_as="references",
    parser=Reference,
    verdicts=REFERENCE_VERDICTS,
    kept=(ReferenceStatus.ACTIVE,),
    few=10,
)

_JOB: dict[str, Any] = {
    "parser": ReadSetJob,
    "from_summary": ReadSetJob.from_summary,
    "verdicts": JOB_VERDICTS,
    "partly_failed": (JobStatus.COMPLETED_WITH_FAILURES,),
    # Most jobs are IN_PROGRESS most of the time. One that becomes it between two Lists is in neither, and gets a Get.
    "listed_statuses": (JobStatus.IN_PROGRESS, JobStatus.SUBMITTED, JobStatus.CANCELLING),
    "initial_status": JobStatus.SUBMITTED,
    "rare_statuses": (JobStatus.CANCELLING,),
}


def _operations(stem: str) -> dict[str, str]:
    return {"Start": f"Start{stem}", "Get": f"Get{stem}", "List": f"List{stem}s"}


class ReadSetJobKind(Kind):
    """The kinds of read set job."""

    EXPORT: ClassVar[ReadSetJobKind]
    ACTIVATION: ClassVar[ReadSetJobKind]
    IMPORT: ClassVar[ReadSetJobKind]


ReadSetJobKind.EXPORT = ReadSetJobKind(
    word="export",
    name="export job",
    store=SEQUENCE_STORE,
    operations=_operations("ReadSetExportJob"),
    works_on=READ_SET,
    listed_as="exportJobs",
    items_key="readSets",
    item_id_key="id",
    max_items=100,
    max_concurrent_jobs=5,
    **_JOB,
)
ReadSetJobKind.ACTIVATION = ReadSetJobKind(
    word="activation",
    name="activation job",
    store=SEQUENCE_STORE,
    operations=_operations("ReadSetActivationJob"),
    works_on=READ_SET,
    listed_as="activationJobs",
    items_key="sources",
    item_id_key="readSetId",
    max_items=20,
    max_concurrent_jobs=25,
    **_JOB,
)
ReadSetJobKind.IMPORT = ReadSetJobKind(
    word="import",
    name="import job",
    store=SEQUENCE_STORE,
    operations=_operations("ReadSetImportJob"),
    works_on=READ_SET,
    listed_as="importJobs",
    items_key="sources",
    item_id_key="readSetId",
    makes_items=True,
    max_items=100,
    max_concurrent_jobs=5,
    **_JOB,
)
READ_SET_JOB_KINDS = (ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION, ReadSetJobKind.IMPORT)

REFERENCE_IMPORT = Kind(
    word="reference import",
    name="reference import job",
    store=REFERENCE_STORE,
    operations=_operations("ReferenceImportJob"),
    listed_as="importJobs",
    items_key="sources",
    item_id_key="referenceId",
    works_on=REFERENCE,
    makes_items=True,
    max_items=100,
    max_concurrent_jobs=1,  # "one at a time into each reference store" (StartReferenceImportJob)
    **_JOB,
)
JOB_KINDS: tuple[Kind, ...] = (*READ_SET_JOB_KINDS, REFERENCE_IMPORT)

KINDS = {kind.word: kind for kind in (*JOB_KINDS, READ_SET, REFERENCE)}


def parse_kind(word: object) -> Kind:
    """
    Return the kind that a word from outside names.

    :raises ParseError: It names none.
    """
    if not isinstance(word, str) or word not in KINDS:
        raise ParseError(f"kind is {shown(word, 80)}, expected one of {', '.join(KINDS)}")
    return KINDS[word]


for _type in (Kind, ReadSetJobKind):
    copyreg.pickle(_type, lambda kind: (parse_kind, (kind.word,)))  # a copy is the row itself
