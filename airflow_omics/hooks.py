"""The only place that calls AWS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from airflow_omics._arguments import parse_id
from airflow_omics._aws.client import OmicsClientHook
from airflow_omics._aws.errors import Call, explain, explain_empty
from airflow_omics._aws.masking import mask
from airflow_omics._service.jobs import ReadSetJob, ReadSetJobKind, describe
from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import items
from airflow_omics._service.read_sets import ReadSet
from airflow_omics.exceptions import OmicsArgumentError, OmicsResponseError, OmicsThrottledError

MOST_PAGES = {**{f"{kind.value}Jobs": 100 for kind in ReadSetJobKind}, "readSets": 10_000}
"""Pages of 100 after which a List counts as endless; quotas keep few jobs running, and read sets may be a million."""

READ_SET_CRITERIA = {
    *("name", "status", "referenceArn", "createdAfter", "createdBefore"),
    *("sampleId", "subjectId", "generatedFrom", "creationType"),
}
"""The members of ListReadSets' filter."""

PAGE_TRIES = 5
"""
How often a page of a List is asked for while AWS throttles, each time with botocore's retries: giving one up gives up
those before it, too. Half of the calls throttled, hardly any List of ten pages would otherwise be seen to its end.
"""


class OmicsHook(OmicsClientHook):
    """
    Interact with AWS HealthOmics storage: a thick wrapper around ``boto3.client("omics")``.

    Retries inside one call follow botocore's standard mode unless the connection, ``config``, the environment or the
    AWS profile configure retries. With an ``endpoint_url`` on the connection (for all services or under
    ``service_config.omics``) botocore does not put its host prefix (``control-storage-``) before that host;
    ``inject_host_prefix`` in ``config`` or in the connection's ``config_kwargs`` has the last word.

    One process makes at most 4 requests a second that ask about jobs of a kind, and 4 that start them, or as many as
    ``[omics] calls_per_second`` in Airflow's configuration says; see :mod:`airflow_omics._aws.rate_limit`.

    :param aws_conn_id: The Airflow connection used for AWS credentials. If None or empty, boto3's own lookup is used.
    :param region_name: AWS region. If None, the connection's, else boto3's own lookup.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param config: Configuration of the botocore client, as :class:`botocore.config.Config` or its keyword arguments.
    :raises airflow_omics.exceptions.OmicsArgumentError: One of them is of a wrong type, or, when the first call is
        made, no client can be made of them.
    """

    def get_read_set_export_job(self, sequence_store_id: str, job_id: str) -> dict[str, Any]:
        """
        Call GetReadSetExportJob.

        :param sequence_store_id: 10 to 36 digits.
        :param job_id: 10 to 36 digits.
        :return: boto3's response, without ``ResponseMetadata``.
        :raises botocore.exceptions.ClientError: AWS answered with an error.
        :raises botocore.exceptions.BotoCoreError: AWS could not be asked.
        """
        return self._get_job(ReadSetJobKind.EXPORT, sequence_store_id, job_id)

    def get_read_set_activation_job(self, sequence_store_id: str, job_id: str) -> dict[str, Any]:
        """Call GetReadSetActivationJob; see :meth:`get_read_set_export_job`."""
        return self._get_job(ReadSetJobKind.ACTIVATION, sequence_store_id, job_id)

    def get_read_set_import_job(self, sequence_store_id: str, job_id: str) -> dict[str, Any]:
        """Call GetReadSetImportJob; see :meth:`get_read_set_export_job`."""
        return self._get_job(ReadSetJobKind.IMPORT, sequence_store_id, job_id)

    def get_read_set_job(self, kind: ReadSetJobKind, sequence_store_id: str, job_id: str) -> ReadSetJob:
        """
        Ask for a job of any kind, and parse the answer.

        :raises airflow_omics.exceptions.OmicsTransientError: The call failed; the same call may succeed later.
        :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused the call and will refuse it again.
        :raises airflow_omics.exceptions.OmicsResponseError: The answer is not one of HealthOmics.
        :raises airflow_omics.exceptions.OmicsRequestError: The call failed in another way.
        """
        subject = describe(kind, sequence_store_id, job_id)
        response = self._ask(kind.operation("Get"), subject, sequenceStoreId=sequence_store_id, id=job_id)
        with self._parsing(kind.operation("Get"), subject):
            return ReadSetJob.from_response(kind, response, sequence_store_id=sequence_store_id, job_id=job_id)

    def start_read_set_job(
        self, kind: ReadSetJobKind, sequence_store_id: str, sources: Sequence[Mapping[str, Any]], **parameters: str
    ) -> ReadSetJob:
        """
        Start a job of any kind; raises as :meth:`get_read_set_job` does.

        :param sources: Source items in AWS's form: ``{"readSetId": ...}``, or an import's.
        :param parameters: What else the operation takes, by AWS's names: clientToken, roleArn, destination.
        :return: The job as AWS answered; with a client token used before, the job that was started then.
        """
        operation, subject = kind.operation("Start"), f"{len(sources)} read sets of sequence store {sequence_store_id}"
        response = self._ask(operation, subject, sequenceStoreId=sequence_store_id, sources=sources, **parameters)
        with self._parsing(operation, subject):
            return ReadSetJob.from_response(
                kind, {**response, kind.items_key: None}, sequence_store_id=sequence_store_id
            )

    def list_read_set_jobs(
        self,
        kind: ReadSetJobKind,
        sequence_store_id: str,
        status: str | None = None,
        created_after: datetime | None = None,
    ) -> Iterator[ReadSetJob]:
        """
        Yield the jobs of a store, in pages of 100, without details of their read sets.

        Raises as :meth:`get_read_set_job` does.

        :param status: Only those that have this status.
        :param created_after: Only those created later than this.
        """
        operation, subject = kind.operation("List"), f"sequence store {sequence_store_id}"
        criteria = {"status": status, "createdAfter": created_after}
        for page in self._list(operation, f"{kind.value}Jobs", sequence_store_id, criteria):
            with self._parsing(operation, subject):
                jobs = [ReadSetJob.from_response(kind, each, sequence_store_id=sequence_store_id) for each in page]
            yield from jobs

    def get_read_set(self, sequence_store_id: str, read_set_id: str) -> ReadSet:
        """Ask for a read set, by GetReadSetMetadata; raises as :meth:`get_read_set_job` does."""
        operation, subject = "GetReadSetMetadata", f"read set {read_set_id} in sequence store {sequence_store_id}"
        response = self._ask_patiently(operation, subject, sequenceStoreId=sequence_store_id, id=read_set_id)
        with self._parsing(operation, subject):
            return ReadSet.from_response(response, sequence_store_id=sequence_store_id, read_set_id=read_set_id)

    def list_read_sets(self, sequence_store_id: str, **criteria: Any) -> Iterator[list[ReadSet]]:
        """
        Yield the read sets of a store, page by page of 100; raises as :meth:`get_read_set_job` does.

        :param criteria: ListReadSets' filter, by AWS's names.
        """
        for page in self._list("ListReadSets", "readSets", sequence_store_id, criteria):
            with self._parsing("ListReadSets", f"sequence store {sequence_store_id}"):
                listed = [ReadSet.from_response(each, sequence_store_id=sequence_store_id) for each in page]
            yield listed

    def find_read_sets(self, sequence_store_id: str, **criteria: Any) -> list[dict[str, Any]]:
        """
        Return the read sets of a store that fit: for who has a sample's or a subject's id, or a name.

        ``[each["id"] for each in hook.find_read_sets(store, sample_id="NA12878")]`` is what operators take. Raises as
        :meth:`get_read_set_job` does; :class:`airflow_omics.exceptions.OmicsArgumentError` for an unknown criterion.

        :param sequence_store_id: 10 to 36 digits.
        :param criteria: ListReadSets' filter: ``name``, ``status``, ``sample_id``, ``subject_id``, ``reference_arn``,
            ``generated_from``, ``creation_type``, ``created_after``, ``created_before``; AWS's own spelling does, too.
        :return: The items of boto3's ``list_read_sets``, of all pages.
        """
        store = parse_id("sequence_store_id", sequence_store_id)
        named = {_in_camel_case(name): value for name, value in criteria.items()}
        if unknown := named.keys() - READ_SET_CRITERIA:
            raise OmicsArgumentError(
                f"{', '.join(sorted(unknown))}: no criterion of ListReadSets, which has "
                f"{', '.join(sorted(READ_SET_CRITERIA))}."
            )
        return [dict(each) for page in self._list("ListReadSets", "readSets", store, named) for each in page]

    def _list(
        self, operation: str, key: str, sequence_store_id: str, criteria: Mapping[str, Any]
    ) -> Iterator[list[Mapping[str, Any]]]:
        """Yield the pages of what a List operation lists, each when it is taken."""
        subject = f"sequence store {sequence_store_id}"
        parameters: dict[str, Any] = {"sequenceStoreId": sequence_store_id, "maxResults": 100}
        if given := {name: value for name, value in criteria.items() if value is not None}:
            parameters["filter"] = given
        tokens: set[str] = set()
        while True:
            page = self._ask_patiently(operation, subject, **parameters)
            with self._parsing(operation, subject):
                listed = items(page, key)
                if not all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in listed):
                    raise ValueError(f"{key} is {shown(listed, 80)}, expected a list of structures with an id")
                following = page.get("nextToken")
                if not isinstance(following, str | None) or following in tokens or len(tokens) == MOST_PAGES[key]:
                    raise ValueError(f"nextToken is {shown(following, 80)} after {len(tokens) + 1} pages")
            yield listed
            if not following:
                return
            tokens.add(following)
            parameters["nextToken"] = following

    def _ask_patiently(self, operation: str, subject: str, **parameters: Any) -> dict[str, Any]:
        for _ in range(PAGE_TRIES - 1):
            with suppress(OmicsThrottledError):
                return self._ask(operation, subject, **parameters)
        return self._ask(operation, subject, **parameters)

    def _ask(self, operation: str, subject: str, **parameters: Any) -> dict[str, Any]:
        """Call AWS, and explain what goes wrong."""
        try:
            response = self._call(operation, **parameters)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            raise explain(error, Call(operation, subject, self.where, self._answer)) from error
        if not response:
            raise explain_empty(Call(operation, subject, self.where, self._answer))
        return response

    @contextmanager
    def _parsing(self, operation: str, subject: str) -> Iterator[None]:
        """Say of what call the answer was, if it cannot be parsed."""
        try:
            yield
        except ValueError as error:
            mask(error, self._secrets())
            raise OmicsResponseError(
                f"An answer that cannot be right: {error}. It came to {Call(operation, subject, self.where)}."
                f"{self._answer} Check what stands between Airflow and AWS (endpoint_url, proxy), and report it if it "
                "is AWS's answer."
            ) from error

    def _get_job(self, kind: ReadSetJobKind, sequence_store_id: str, job_id: str) -> dict[str, Any]:
        return self._call(kind.operation("Get"), sequenceStoreId=sequence_store_id, id=job_id)


def _in_camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
