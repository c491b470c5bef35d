"""Starting read set jobs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_omics._arguments import (
    check,
    check_id,
    check_ids,
    parse_destination,
    parse_ids,
    parse_reference_sources,
    parse_role,
    parse_sources,
)
from airflow_omics._service.kinds import REFERENCE_IMPORT, ReadSetJobKind
from airflow_omics._starting.base_operator import OmicsStartJobOperator
from airflow_omics._starting.goals import Source
from airflow_omics._values import is_mapped
from airflow_omics.links import OmicsExportedObjectsLink, OmicsLink, OmicsSequenceStoresLink

if TYPE_CHECKING:
    from airflow_omics._values import Id, Ids, Sources, Text


class OmicsStartReadSetJobOperator(OmicsStartJobOperator):
    """
    Ensure a state of any number of read sets, by jobs; use the subclass of the kind of job.

    :param sequence_store_id: The sequence store: 10 to 36 digits. (templated)

    The other parameters are those of :class:`airflow_omics._starting.base_operator.OmicsStartJobOperator`.
    """

    template_fields: Sequence[str] = (*OmicsStartJobOperator.template_fields, "sequence_store_id")
    operator_extra_links: Collection[OmicsLink] = (OmicsSequenceStoresLink(),)

    def __init__(self, *, sequence_store_id: Id, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_id("sequence_store_id", sequence_store_id)
        self.sequence_store_id = sequence_store_id


class OmicsStartReadSetExportJobOperator(OmicsStartReadSetJobOperator):
    """
    Export read sets to S3. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    :param read_set_ids: A read set, or a list of any number of them, which may hold lists: 10 to 36 digits each.
        A list that is empty when the task runs succeeds with ``[]``. (templated)
    :param destination: Where to: an S3 URI; a slash at its end is added where it is missing. (templated)
    :param role_arn: The role that HealthOmics assumes to write there. (templated)
    """

    kind = ReadSetJobKind.EXPORT
    template_fields = (*OmicsStartReadSetJobOperator.template_fields, "read_set_ids", "destination", "role_arn")
    operator_extra_links = (OmicsExportedObjectsLink(), OmicsSequenceStoresLink())

    def __init__(self, *, read_set_ids: Ids, destination: Text, role_arn: Text, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ids("read_set_ids", read_set_ids, can_be_empty=is_mapped(self))
        check(parse_destination, "destination", destination)
        check(parse_role, "role_arn", role_arn)
        self.read_set_ids = read_set_ids
        self.destination = destination
        self.role_arn = role_arn

    def _parameters(self) -> dict[str, str]:
        destination = parse_destination("destination", self.destination)
        if destination != self.destination:
            self.log.info("destination is %s; AWS insists on a slash at its end: %s", self.destination, destination)
        return {"destination": destination, "roleArn": parse_role("role_arn", self.role_arn)}

    def _sources(self) -> list[Source]:
        return _by_id(self.read_set_ids, self.log)


class OmicsStartReadSetActivationJobOperator(OmicsStartReadSetJobOperator):
    """
    Activate archived read sets. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    :param read_set_ids: A read set, or a list of any number of them, which may hold lists: 10 to 36 digits each.
        A list that is empty when the task runs succeeds with ``[]``. (templated)
    """

    kind = ReadSetJobKind.ACTIVATION
    template_fields = (*OmicsStartReadSetJobOperator.template_fields, "read_set_ids")

    def __init__(self, *, read_set_ids: Ids, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ids("read_set_ids", read_set_ids, can_be_empty=is_mapped(self))
        self.read_set_ids = read_set_ids

    def _sources(self) -> list[Source]:
        return _by_id(self.read_set_ids, self.log)


class OmicsStartReadSetImportJobOperator(OmicsStartReadSetJobOperator):
    """
    Import read sets from S3. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    :param sources: A source, or a list of any number of them, which may hold lists; each as boto3's
        ``start_read_set_import_job`` takes it: ``sourceFiles``, ``sourceFileType``, ``subjectId``, ``sampleId``, and
        what else AWS knows. A list that is empty when the task runs succeeds with ``[]``. (templated)
    :param role_arn: The role that HealthOmics assumes to read the files. (templated)
    """

    kind = ReadSetJobKind.IMPORT
    template_fields = (*OmicsStartReadSetJobOperator.template_fields, "sources", "role_arn")

    def __init__(self, *, sources: Sources, role_arn: Text, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(partial(parse_sources, can_be_empty=is_mapped(self)), "sources", sources)
        check(parse_role, "role_arn", role_arn)
        self.sources = sources
        self.role_arn = role_arn

    def _parameters(self) -> dict[str, str]:
        return {"roleArn": parse_role("role_arn", self.role_arn)}

    def _sources(self) -> list[Source]:
        return list(parse_sources("sources", self.sources, can_be_empty=True))


class OmicsStartReferenceImportJobOperator(OmicsStartJobOperator):
    """
    Import references from S3. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    The goal holds for a source if a job that counts made a reference of this file under this name, and it is there.

    :param reference_store_id: The reference store: 10 to 36 digits. (templated)
    :param sources: A source, or a list of any number of them, which may hold lists; each as boto3's
        ``start_reference_import_job`` takes it: ``sourceFile``, an S3 URI, and ``name``, 3 to 255 characters; maybe
        ``description`` and ``tags``. A list that is empty when the task runs succeeds with ``[]``. (templated)
    :param role_arn: The role that HealthOmics assumes to read the files. (templated)
    """

    kind = REFERENCE_IMPORT
    template_fields = (*OmicsStartJobOperator.template_fields, "reference_store_id", "sources", "role_arn")

    def __init__(self, *, reference_store_id: Id, sources: Sources, role_arn: Text, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_id("reference_store_id", reference_store_id)
        check(partial(parse_reference_sources, can_be_empty=is_mapped(self)), "sources", sources)
        check(parse_role, "role_arn", role_arn)
        self.reference_store_id = reference_store_id
        self.sources = sources
        self.role_arn = role_arn

    def _parameters(self) -> dict[str, str]:
        return {"roleArn": parse_role("role_arn", self.role_arn)}

    def _sources(self) -> list[Source]:
        return list(parse_reference_sources("sources", self.sources, can_be_empty=True))


def _by_id(read_set_ids: object, log: Any) -> list[Source]:
    ids = parse_ids("read_set_ids", read_set_ids, can_be_empty=True)
    unique = dict.fromkeys(ids)
    if len(unique) < len(ids):
        log.info("%s of %s read sets were named before; each is taken once", len(ids) - len(unique), len(ids))
    return [{"readSetId": each} for each in unique]
