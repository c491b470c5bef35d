"""The only place that calls AWS."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError
from botocore.parsers import ResponseParserError

from airflow_omics.exceptions import (
    OmicsArgumentError,
    OmicsResponseError,
    OmicsTransientError,
    are_credentials_expired,
    explain,
)
from airflow_omics.jobs import ReadSetJob, ReadSetJobKind, describe
from airflow_omics.masking import mask
from airflow_omics.members import items
from airflow_omics.pace import keep_pace

if TYPE_CHECKING:
    from mypy_boto3_omics import OmicsClient


class OmicsHook(AwsGenericHook["OmicsClient"]):
    """
    Interact with AWS HealthOmics storage: a thick wrapper around ``boto3.client("omics")``.

    Retries inside one call follow botocore's standard mode unless the connection, ``config``, the environment or the
    AWS profile configure retries. With an ``endpoint_url`` on the connection (for all services or under
    ``service_config.omics``) botocore does not put its host prefix (``control-storage-``) before that host;
    ``inject_host_prefix`` in ``config`` or in the connection's ``config_kwargs`` has the last word.

    One process makes at most 4 requests a second that ask about jobs of a kind, and 4 that start them, or as many as
    ``[omics] calls_per_second`` in Airflow's configuration says; see :mod:`airflow_omics.pace`.

    :param aws_conn_id: The Airflow connection used for AWS credentials. If None or empty, boto3's own lookup is used.
    :param region_name: AWS region. If None, the connection's, else boto3's own lookup.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param config: Configuration of the botocore client, as :class:`botocore.config.Config` or its keyword arguments.
    """

    def __init__(
        self,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        config: Config | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            aws_conn_id=aws_conn_id, region_name=region_name, verify=verify, config=config, client_type="omics"
        )
        self._token = ""

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
        with _parsing(kind.operation("Get"), subject):
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
        with _parsing(operation, subject):
            return ReadSetJob.from_response(
                kind, {**response, kind.items_key: None}, sequence_store_id=sequence_store_id
            )

    def list_read_set_jobs(self, kind: ReadSetJobKind, sequence_store_id: str, status: str) -> Iterator[ReadSetJob]:
        """
        Yield the jobs of a store that have this status, in pages of 100, without details of their read sets.

        Raises as :meth:`get_read_set_job` does.
        """
        operation = kind.operation("List")
        for listed in self._list(operation, f"{kind.value}Jobs", sequence_store_id, status):
            with _parsing(operation, f"sequence store {sequence_store_id}"):
                job = ReadSetJob.from_response(kind, listed, sequence_store_id=sequence_store_id)
            yield job

    def find_active_read_sets(self, sequence_store_id: str, read_set_ids: Collection[str]) -> set[str]:
        """
        Return those of these read sets that are ACTIVE; raises as :meth:`get_read_set_job` does.

        Pages of 100 are listed until all are found, so it takes as many calls as the store has hundreds of ACTIVE
        read sets, at most.
        """
        wanted, found = set(read_set_ids), set()
        for read_set in self._list("ListReadSets", "readSets", sequence_store_id, "ACTIVE"):
            found |= wanted & {read_set["id"]}
            if found == wanted:
                break
        return found

    def _list(self, operation: str, key: str, sequence_store_id: str, status: str) -> Iterator[Mapping[str, Any]]:
        """Yield what a List operation lists, page by page, as it is taken."""
        subject = f"sequence store {sequence_store_id}"
        token: dict[str, str] = {}
        while True:
            page = self._ask(
                operation,
                subject,
                sequenceStoreId=sequence_store_id,
                maxResults=100,
                filter={"status": status},
                **token,
            )
            with _parsing(operation, subject):
                listed = items(page, key)
                if not all(isinstance(item, Mapping) and isinstance(item.get("id"), str) for item in listed):
                    raise ValueError(f"{key} is {listed!r:.80}, expected a list of structures with an id")
            yield from listed
            if not page.get("nextToken"):
                return
            token = {"nextToken": page["nextToken"]}

    def _ask(self, operation: str, subject: str, **parameters: Any) -> dict[str, Any]:
        """Call AWS, and explain what goes wrong."""
        try:
            response = self._call(operation, **parameters)
        except (BotoCoreError, ClientError, ResponseParserError) as error:
            raise explain(error, operation, subject) from error
        if not response:
            # botocore reads a body that is no JSON as an empty answer. HealthOmics sends neither, a proxy may.
            raise OmicsTransientError(
                f"{operation} for {subject} was answered with no member at all. If this goes on, check what stands "
                "between Airflow and AWS (endpoint_url, proxy)."
            )
        return response

    @staticmethod
    def _find_operator_class_name(target_function_name: str) -> str | None:
        """
        Name the class that calls, for the user agent.

        The Amazon provider's own reads the source of every frame for it, a large part of what a poke would cost.
        """
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_name != target_function_name:
            frame = frame.f_back  # type: ignore[assignment]
        return type(frame.f_locals.get("self")).__name__ if frame is not None else None

    @staticmethod
    def _find_executor_class_name() -> str | None:
        """Name no executor, since none uses this hook."""
        return None

    def disconnect(self) -> None:
        """Close the client; the next call reads the connection, and takes up its credentials, anew."""
        client = self.__dict__.pop("conn", None)
        for cached in ("conn_config", "_client"):
            self.__dict__.pop(cached, None)
        if client is not None:
            client.close()

    def get_client_type(
        self, region_name: str | None = None, config: Config | None = None, deferrable: bool = False
    ) -> OmicsClient:
        """Create the client, with this provider's defaults under whatever the user configured."""
        defaults: dict[str, Any] = {}
        if not self._are_retries_configured():
            defaults["retries"] = {"mode": "standard"}
        if self.conn_config.get_service_endpoint_url(service_name="omics"):
            defaults["inject_host_prefix"] = False
        # The Amazon provider takes no notice of the connection's config_kwargs when it is given a config.
        own = self.conn_config.extra_config.get("config_kwargs") or {}
        defaults |= {name: own[name] for name in ("retries", "inject_host_prefix") if name in own}
        merged = Config(**defaults).merge(config or self.config)  # of two, the argument wins
        try:
            with self._masking():
                client: OmicsClient = super().get_client_type(region_name, merged, deferrable)
        except ValueError as error:
            if isinstance(error, BotoCoreError):
                raise
            raise OmicsArgumentError(
                f"Airflow connection {self.aws_conn_id!r} makes no client: {error}. "
                "An endpoint_url begins with http:// or https://."
            ) from error
        keep_pace(client)
        client.meta.events.register("before-send.omics", self._keep_token)
        return client

    def _are_retries_configured(self) -> bool:
        """Tell whether the environment or the AWS profile set retries; a Config given to botocore would hide that."""
        if {"AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"} & os.environ.keys():
            return True
        if not Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser().is_file():
            return False
        # Not self.get_session(): with a role to assume that would call AWS.
        profile = botocore.session.Session(profile=self.conn_config.profile_name).get_scoped_config()
        return bool({"retry_mode", "max_attempts"} & profile.keys())

    def _get_job(self, kind: ReadSetJobKind, sequence_store_id: str, job_id: str) -> dict[str, Any]:
        return self._call(kind.operation("Get"), sequenceStoreId=sequence_store_id, id=job_id)

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            with self._masking():
                return _answer(getattr(self.conn, xform_name(operation)), parameters)
        except (ClientError, CredentialRetrievalError) as error:
            if are_credentials_expired(error):
                self.disconnect()
            raise

    @contextmanager
    def _masking(self) -> Iterator[None]:
        """Let no exception tell the connection's secrets, or the session token of the last request."""
        try:
            yield
        except Exception as error:
            config = self.__dict__.get("conn_config")  # reading it may be what failed
            own = (getattr(config, name, None) for name in ("aws_secret_access_key", "aws_session_token"))
            mask(error, filter(None, (self._token, *own)))
            raise

    def _keep_token(self, request: AWSPreparedRequest, **_: Any) -> None:
        """Keep the session token that a request is sent with; it may be of an assumed role."""
        token = request.headers.get("X-Amz-Security-Token") or ""
        self._token = token.decode() if isinstance(token, bytes) else token


def _answer(call: Callable[..., dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
    """Call AWS; what botocore fails on in other ways than with its own errors becomes one of those."""
    try:
        response = call(**parameters)
        response.pop("ResponseMetadata", None)
    except (BotoCoreError, OmicsArgumentError):
        raise  # some of them are ValueErrors too
    except RuntimeError as error:  # the credentials were refreshed, and are expired still
        raise CredentialRetrievalError(provider="refresh", error_msg=str(error)) from error
    except (ValueError, TypeError, AttributeError) as error:  # the body is no JSON object of the expected form
        raise ResponseParserError(f"the body cannot be read: {type(error).__name__}: {error}") from error
    return response


@contextmanager
def _parsing(operation: str, subject: str) -> Iterator[None]:
    """Say of what call the answer was, if it cannot be parsed."""
    try:
        yield
    except ValueError as error:
        raise OmicsResponseError(
            f"{operation} for {subject} was answered with something that cannot be right: {error}. "
            "Check what stands between Airflow and AWS (endpoint_url, proxy), and report it if it is AWS's answer."
        ) from error
