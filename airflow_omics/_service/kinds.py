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


def _job(word: str, stem: str, works_on: Kind) -> dict[str, Any]:
    """Return what all kinds of job have alike, and what their words tell."""
    return {
        "word": word,
        "name": f"{word} job",
        "store": works_on.store,
        "operations": {"Start": f"Start{stem}", "Get": f"Get{stem}", "List": f"List{stem}s"},
        "works_on": works_on,
        "parser": ReadSetJob,
        "from_summary": ReadSetJob.from_summary,
        "verdicts": JOB_VERDICTS,
        "partly_failed": (JobStatus.COMPLETED_WITH_FAILURES,),
        # Most are IN_PROGRESS most of the time. One that becomes it between two Lists is in neither: it gets a Get.
        "listed_statuses": (JobStatus.IN_PROGRESS, JobStatus.SUBMITTED, JobStatus.CANCELLING),
        "initial_status": JobStatus.SUBMITTED,
        "rare_statuses": (JobStatus.CANCELLING,),
    }


class ReadSetJobKind(Kind):
    """The kinds of read set job."""

    EXPORT: ClassVar[ReadSetJobKind]
    ACTIVATION: ClassVar[ReadSetJobKind]
    IMPORT: ClassVar[ReadSetJobKind]


ReadSetJobKind.EXPORT = ReadSetJobKind(
    **_job("export", "ReadSetExportJob", READ_SET),
    listed_as="exportJobs",
    items_key="readSets",
    item_id_key="id",
    max_items=100,
    max_concurrent_jobs=5,
)
ReadSetJobKind.ACTIVATION = ReadSetJobKind(
    **_job("activation", "ReadSetActivationJob", READ_SET),
    listed_as="activationJobs",
    items_key="sources",
    item_id_key="readSetId",
    max_items=20,
    max_concurrent_jobs=25,
)
ReadSetJobKind.IMPORT = ReadSetJobKind(
    **_job("import", "ReadSetImportJob", READ_SET),
    listed_as="importJobs",
    items_key="sources",
    item_id_key="readSetId",
    makes_items=True,
    max_items=100,
    max_concurrent_jobs=5,
)
READ_SET_JOB_KINDS = (ReadSetJobKind.EXPORT, ReadSetJobKind.ACTIVATION, ReadSetJobKind.IMPORT)

REFERENCE_IMPORT = Kind(
    **_job("reference import", "ReferenceImportJob", REFERENCE),
    listed_as="importJobs",
    items_key="sources",
    item_id_key="referenceId",
    makes_items=True,
    max_items=100,
    max_concurrent_jobs=1,  # "one at a time into each reference store" (StartReferenceImportJob)
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
