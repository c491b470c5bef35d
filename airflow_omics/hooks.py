"""The only place that calls AWS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from airflow_omics._arguments import parse_id
from airflow_omics._aws.client import OmicsClientHook
from airflow_omics._aws.errors import Call, explain, explain_empty
from airflow_omics._aws.masking import mask
from airflow_omics._service.jobs import ReadSetJob
from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import READ_SET, REFERENCE_IMPORT, ReadSetJobKind
from airflow_omics._service.limits import shown
from airflow_omics._service.parsing import ParseError, items
from airflow_omics._values import wrong
from airflow_omics.exceptions import OmicsArgumentError, OmicsResponseError, OmicsThrottledError

MOST_PAGES, MOST_PAGES_OF_A_STATUS = 10_000, 100
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

    One process makes at most 4 requests a second of an operation, by one connection and in one region, or as many as
    ``[omics] calls_per_second`` in Airflow's configuration says.

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

    def get_reference_import_job(self, reference_store_id: str, job_id: str) -> dict[str, Any]:
        """Call GetReferenceImportJob; see :meth:`get_read_set_export_job`."""
        return self._get_job(REFERENCE_IMPORT, reference_store_id, job_id)

    def get_work(self, kind: Kind, sequence_store_id: str, work_id: str) -> Any:
        """
        Ask for a piece of work of any kind, and parse the answer.

        :param sequence_store_id: The store's id, of whatever kind the store is.
        :raises airflow_omics.exceptions.OmicsTransientError: The call failed; the same call may succeed later.
        :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused the call and will refuse it again.
        :raises airflow_omics.exceptions.OmicsResponseError: The answer is not one of HealthOmics.
        :raises airflow_omics.exceptions.OmicsRequestError: The call failed in another way.
        """
        operation, subject = kind.operation("Get"), kind.describe(sequence_store_id, work_id)
        response = self._ask(operation, subject, **{kind.store.member: sequence_store_id, "id": work_id})
        with self._parsing(operation, subject):
            return kind.parser.from_response(kind, response, sequence_store_id=sequence_store_id, work_id=work_id)

    def list_work(self, kind: Kind, sequence_store_id: str, **criteria: Any) -> Iterator[list[Any]]:
        """
        Yield work of a kind in a store, page by page of 100, with what a List tells; raises as :meth:`get_work` does.

        :param criteria: The List's filter, by AWS's names; those that are None are left out.
        """
        operation, subject = kind.operation("List"), f"{kind.store.word} {sequence_store_id}"
        for page in self._list(kind, sequence_store_id, criteria):
            with self._parsing(operation, subject):
                parse = partial(kind.parser.from_response, kind, sequence_store_id=sequence_store_id)
                listed = [parse(each) for each in page]
            yield listed

    def start_job(
        self, kind: Kind, sequence_store_id: str, sources: Sequence[Mapping[str, Any]], **parameters: str
    ) -> ReadSetJob:
        """
        Start a job of any kind; raises as :meth:`get_work` does.

        :param sources: Source items in AWS's form: ``{"readSetId": ...}``, or an import's.
        :param parameters: What else the operation takes, by AWS's names: clientToken, roleArn, destination.
        :return: The job as AWS answered; with a client token used before, the job that was started then.
        """
        operation = kind.operation("Start")
        subject = f"{len(sources)} {kind.item}s of {kind.store.word} {sequence_store_id}"
        parameters[kind.store.member] = sequence_store_id
        response = self._ask(operation, subject, sources=sources, **parameters)
        with self._parsing(operation, subject):
            job: ReadSetJob = kind.parser.from_response(
                kind, {**response, kind.items_key: None}, sequence_store_id=sequence_store_id
            )
        return job

    def find_read_sets(self, sequence_store_id: str, **criteria: Any) -> list[dict[str, Any]]:
        """
        Return the read sets of a store that fit: for who has a sample's or a subject's id, or a name.

        ``[each["id"] for each in hook.find_read_sets(store, sample_id="NA12878")]`` is what operators take. Raises as
        :meth:`get_work` does; :class:`airflow_omics.exceptions.OmicsArgumentError` for an unknown criterion.

        :param sequence_store_id: 10 to 36 digits.
        :param criteria: ListReadSets' filter: ``name``, ``status``, ``sample_id``, ``subject_id``, ``reference_arn``,
            ``generated_from``, ``creation_type``, ``created_after``, ``created_before``; AWS's own spelling does, too.
        :return: The items of boto3's ``list_read_sets``, of all pages.
        """
        store = parse_id("sequence_store_id", sequence_store_id)
        for name, value in criteria.items():
            if value is None:  # an XCom that is missing must not find the whole store
                raise wrong(name, value, "a criterion of ListReadSets; leave out what is not to be one")
        named = {_in_camel_case(name): value for name, value in criteria.items()}
        if unknown := named.keys() - READ_SET_CRITERIA:
            raise OmicsArgumentError(
                f"{', '.join(sorted(unknown))}: no criterion of ListReadSets, which has "
                f"{', '.join(sorted(READ_SET_CRITERIA))}."
            )
        return [dict(each) for page in self._list(READ_SET, store, named) for each in page]

    def _list(
        self, kind: Kind, sequence_store_id: str, criteria: Mapping[str, Any]
    ) -> Iterator[list[Mapping[str, Any]]]:
        """Yield the pages of a List, each when it is taken."""
        operation, subject = kind.operation("List"), f"{kind.store.word} {sequence_store_id}"
        parameters: dict[str, Any] = {kind.store.member: sequence_store_id, "maxResults": 100}
        given = {name: value for name, value in criteria.items() if value is not None}
        if given:
            parameters["filter"] = given
        most = MOST_PAGES_OF_A_STATUS if kind.listed_statuses and "status" in given else MOST_PAGES
        tokens: set[str] = set()
        while True:
            page = self._ask_patiently(operation, subject, **parameters)
            with self._parsing(operation, subject):
                listed = items(page, kind.listed_as)
                if not all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in listed):
                    raise ParseError(f"{kind.listed_as} is {shown(listed, 80)}, expected structures with an id")
                following = page.get("nextToken")
                is_endless = following in tokens or (following and len(tokens) + 1 >= most)
                if not isinstance(following, str | None) or is_endless:
                    raise ParseError(f"nextToken is {shown(following, 80)} after {len(tokens) + 1} pages")
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
        except ParseError as error:
            mask(error, self._secrets())
            raise OmicsResponseError(
                f"An answer that cannot be right: {error}. It came to {Call(operation, subject, self.where)}."
                f"{self._answer} Check what stands between Airflow and AWS (endpoint_url, proxy), and report it if it "
                "is AWS's answer."
            ) from error

    def _get_job(self, kind: Kind, store_id: str, job_id: str) -> dict[str, Any]:
        return self._call(kind.operation("Get"), **{kind.store.member: store_id, "id": job_id})


def _in_camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
