"""What test_clear.py runs and clears under a real scheduler; the operators get their items from the environment."""

from __future__ import annotations

import json
import os

from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator,
    OmicsStartReadSetExportJobOperator,
    OmicsStartReadSetImportJobOperator,
)

try:
    from airflow.sdk import dag
except ImportError:
    from airflow.decorators import dag

GIVEN = json.loads(os.environ.get("OMICS_TEST_ITEMS", "{}"))


@dag(schedule=None, catchup=False)
def ensures() -> None:
    common = {"sequence_store_id": GIVEN.get("store", "1234567890"), "poll_interval": 1}
    role = {"role_arn": "arn:aws:iam::123456789012:role/HealthOmics"}
    read_sets = GIVEN.get("read_sets", ["1234567890"])
    activate = OmicsStartReadSetActivationJobOperator(task_id="activate", read_set_ids=read_sets, **common)
    export = OmicsStartReadSetExportJobOperator(
        task_id="export", read_set_ids=read_sets, destination="s3://airflow-omics-tests/out/", **role, **common
    )
    source = {
        "sourceFiles": {"source1": "s3://airflow-omics-tests/in/0.fastq.gz"},
        "sourceFileType": "FASTQ",
        "subjectId": "subject",
        "sampleId": "sample",
    }
    files = OmicsStartReadSetImportJobOperator(task_id="import", sources=[source], **role, **common)
    activate >> export >> files


ensures()
