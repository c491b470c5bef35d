"""Where a person clicks: links from a task in Airflow's UI to the AWS console, in the partition of the connection."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

from airflow_omics._airflow import Context


class OmicsLink(BaseAwsLink):
    """A link that is there from the moment the task begins."""

    @classmethod
    def show(cls, context: Context, region_name: str, aws_partition: str, **parameters: str) -> None:
        """Push what the link is made of, and for Airflow 3, which else makes it when the task has ended, the link."""
        values: dict[str, Any] = {"region_name": region_name, "aws_domain": cls.get_aws_domain(aws_partition)}
        values |= parameters
        # Not BaseAwsLink.persist: with do_xcom_push=False it would drop the link without a word.
        context["ti"].xcom_push(key=cls.key, value=values)
        link = cls()
        if hasattr(link, "xcom_key"):
            context["ti"].xcom_push(key=link.xcom_key, value=link.format_link(**values))


class OmicsExportedObjectsLink(OmicsLink):
    """The objects that export jobs write, in the S3 console."""

    name = "Exported objects"
    key = "omics_exported_objects"
    format_str = BASE_AWS_CONSOLE_LINK + "/s3/buckets/{bucket}?region={region_name}&prefix={prefix}"

    def format_link(self, *, destination: str = "", **kwargs: Any) -> str:
        """Make the link; ``destination`` is an S3 URI."""
        bucket, _, prefix = destination.removeprefix("s3://").partition("/")
        return str(super().format_link(bucket=bucket, prefix=quote(prefix), **kwargs))


class OmicsSequenceStoresLink(OmicsLink):
    """The sequence stores of the region, in the HealthOmics console (address from an AWS tutorial)."""

    name = "Sequence stores"
    key = "omics_sequence_stores"
    format_str = BASE_AWS_CONSOLE_LINK + "/omics/home?region={region_name}#/sequenceStore"
