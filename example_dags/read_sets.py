"""
Import a few small files into a sequence store, archive, activate and export them, and list what arrived.

It runs as it is against local HealthOmics (``make demo``). For AWS, give it a bucket and a role of your own as params;
the task ``archive`` then does nothing, since AWS archives only what nobody used for 30 days, and activating what is
active succeeds.
"""

from __future__ import annotations

import gzip
import json
import struct
import urllib.request
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_omics.hooks import OmicsHook
from airflow_omics.operators import (
    OmicsStartReadSetActivationJobOperator,
    OmicsStartReadSetExportJobOperator,
    OmicsStartReadSetImportJobOperator,
)
from airflow_omics.sensors import OmicsReadSetExportJobSensor

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task

FASTQ = b"@read1\nGATTACA\n+\nIIIIIII\n"


def bam() -> bytes:
    """Return a BAM file with a header and no reads: one BGZF block and the end-of-file block."""
    header = b"@HD\tVN:1.6\tSO:unsorted\n"
    return b"".join(map(bgzf_block, (b"BAM\1" + struct.pack("<i", len(header)) + header + struct.pack("<i", 0), b"")))


def bgzf_block(content: bytes) -> bytes:
    """Return a BGZF block: a gzip member that names its own size (SAM specification, section 4.1)."""
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(content) + deflate.flush()
    head = struct.pack("<4BI2BH2sHH", 31, 139, 8, 4, 0, 0, 255, 6, b"BC", 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(content), len(content))


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["healthomics"],
    params={
        "bucket": "airflow-omics-example",
        "role_arn": "arn:aws:iam::123456789012:role/HealthOmics",
        "reference_arn": "arn:aws:omics:us-east-1:123456789012:referenceStore/1234567890/reference/1234567890",
    },
)
def read_sets() -> None:
    """Import, archive, activate, export, list."""

    @task
    def create_store() -> str:
        return OmicsHook().conn.create_sequence_store(name="airflow-omics-example")["id"]

    @task
    def upload_files(params: dict[str, Any]) -> list[dict[str, Any]]:
        s3, bucket = S3Hook(), params["bucket"]
        if not s3.check_for_bucket(bucket):
            s3.create_bucket(bucket)
        files = {
            "reads_1.fastq.gz": gzip.compress(FASTQ),
            "reads_2.fastq.gz": gzip.compress(FASTQ),
            "aligned.bam": bam(),
        }
        for name, content in files.items():
            s3.load_bytes(content, f"incoming/{name}", bucket, replace=True)
        incoming = f"s3://{bucket}/incoming"
        patient = {"subjectId": "patient-1", "sampleId": "sample-1"}
        return [
            {
                **patient,
                "name": "reads",
                "sourceFileType": "FASTQ",
                "sourceFiles": {"source1": f"{incoming}/reads_1.fastq.gz", "source2": f"{incoming}/reads_2.fastq.gz"},
            },
            {
                **patient,
                "name": "aligned",
                "sourceFileType": "BAM",
                "sourceFiles": {"source1": f"{incoming}/aligned.bam"},
                "referenceArn": params["reference_arn"],
            },
        ]

    @task
    def find(store: str) -> list[str]:
        """Return every read set of a sample: people hold sample ids, not read set ids."""
        return [each["id"] for each in OmicsHook().find_read_sets(store, sample_id="sample-1")]

    @task
    def archive(read_set_ids: list[str]) -> list[str]:
        endpoint = OmicsHook().conn.meta.endpoint_url
        if endpoint.startswith("http://127.0.0.1"):
            body = json.dumps({"ids": read_set_ids}).encode()
            with urllib.request.urlopen(f"{endpoint}/_local/archive_read_sets", body):  # noqa: S310
                pass
        return read_set_ids

    @task
    def list_exported(exported: list[dict[str, Any]]) -> list[str]:
        bucket, prefix = S3Hook.parse_s3_url(exported[0]["destination"])
        uris = [f"s3://{bucket}/{key}" for key in S3Hook().list_keys(bucket, prefix)]
        print("\n".join(uris))
        return uris

    store = create_store()
    # An operator that waits itself, one that waits in the triggerer ...
    import_files = OmicsStartReadSetImportJobOperator(
        task_id="import",
        sequence_store_id=store,
        sources=upload_files(),
        role_arn="{{ params.role_arn }}",
        poll_interval=5,
    )
    found = find(store)
    import_files >> found
    archived = archive(found)
    active = OmicsStartReadSetActivationJobOperator(
        task_id="activate", sequence_store_id=store, read_set_ids=archived, poll_interval=5, deferrable=True
    )
    # ... and one that only starts, with a sensor that frees its worker between two looks.
    export = OmicsStartReadSetExportJobOperator(
        task_id="start_export",
        sequence_store_id=store,
        read_set_ids=archived,
        destination="s3://{{ params.bucket }}/exported/{{ ti.xcom_pull('create_store') }}/",
        role_arn="{{ params.role_arn }}",
        wait_for_completion=False,
    )
    exported = OmicsReadSetExportJobSensor(
        task_id="wait_for_export",
        sequence_store_id=store,
        job_id=export.output,
        poke_interval=10,
        timeout=timedelta(hours=6),
    ).output
    active >> export
    list_exported(exported)


read_sets()
