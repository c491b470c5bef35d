"""Starting read set jobs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from botocore.exceptions import BotoCoreError, ClientError

from airflow_omics.arguments import (
    check,
    check_id,
    check_ids,
    parse_destination,
    parse_id,
    parse_ids,
    parse_role,
    parse_sources,
)
from airflow_omics.bulk import Bulk, Source
from airflow_omics.compat import AirflowException, Context
from airflow_omics.exceptions import OmicsArgumentError, OmicsReadSetJobFailedError, OmicsTransientError
from airflow_omics.hooks import OmicsHook
from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.links import OmicsExportedObjectsLink, OmicsLink, OmicsSequenceStoresLink


class OmicsStartReadSetJobOperator(AwsBaseOperator[OmicsHook]):
    """
    Start read set jobs for any number of read sets, once each; use the subclass of the kind of job.

    Duplicates are dropped, and the rest is cut into jobs of the size that AWS allows. They are started as room appears.
    A retry of the task finds the jobs that are running or have succeeded, instead of starting them again; see
    :mod:`airflow_omics.bulk` for how, and for what of it AWS does not document.

    Returns, as XCom, the list of the jobs' summaries (:meth:`airflow_omics.jobs.ReadSetJob.summary`), or with
    ``wait_for_completion=False`` the list of their ids, at once usable as a sensor's ``job_id``. Before it fails, the
    summaries are pushed under the key ``failed_job``, and the ids of the failed read sets under
    ``failed_read_set_ids``.

    There is no cancel: a task that is killed or timed out leaves its jobs running at AWS, and starts no more.

    :param sequence_store_id: The sequence store: 10 to 36 digits. (templated)
    :param wait_for_completion: Wait until all jobs are over. If False, the task ends when all are started.
    :param poll_interval: Seconds between two rounds.
    :param timeout: Seconds, or a timedelta, after which the task fails; None for no limit.
    :param max_concurrent_jobs: How many jobs this task has running at once; None for the service's default quota
        (export 5, activation 25, import 5). An account's other jobs count towards its quota too; then the task waits.
    :param accept_partial_failure: Let jobs that end COMPLETED_WITH_FAILURES succeed.
    :param client_token: What identifies the work instead of DAG, run, task and map index: with the same one, another
        run finds the same jobs. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated)
    :param region_name: AWS region. If None, the connection's. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore client, as keyword arguments of its Config. (templated)
    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow_omics.exceptions.OmicsReadSetJobFailedError: Jobs did not succeed; raised after all are over.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused a call.
    """

    aws_hook_class = OmicsHook
    kind: ClassVar[ReadSetJobKind]
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "client_token", "botocore_config")
    operator_extra_links: Collection[OmicsLink] = (OmicsSequenceStoresLink(),)
    ui_color = "#c8dff0"

    def __init__(  # noqa: PLR0913 - keywords, and the public face
        self,
        *,
        sequence_store_id: str,
        wait_for_completion: bool = True,
        poll_interval: float = 30,
        timeout: timedelta | float | None = None,
        max_concurrent_jobs: int | None = None,
        accept_partial_failure: bool = False,
        client_token: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_id("sequence_store_id", sequence_store_id)
        if max_concurrent_jobs is not None and max_concurrent_jobs < 1:
            raise OmicsArgumentError(f"max_concurrent_jobs is {max_concurrent_jobs}, expected at least 1, or None")
        self.sequence_store_id = sequence_store_id
        self.wait_for_completion = wait_for_completion
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.max_concurrent_jobs = max_concurrent_jobs
        self.accept_partial_failure = accept_partial_failure
        self.client_token = client_token

    def execute(self, context: Context) -> list[Any]:
        """Start the jobs, and wait for them."""
        bulk = self._bulk(context)
        with suppress(BotoCoreError, ClientError):  # the first call says it better
            for link in self.operator_extra_links:
                link.show(context, self.hook.conn_region_name, self.hook.conn_partition, **bulk.parameters)
        try:
            self._run(bulk)
        except BaseException:
            if bulk.running:
                self.log.warning("These jobs go on at AWS, which cannot cancel them: %s", ", ".join(bulk.running))
            raise
        if not self.wait_for_completion:
            return [job.job_id for job in bulk.jobs() if job.job_id not in bulk.superseded]
        summaries = [job.summary() for job in bulk.jobs()]
        if failed := bulk.failed():
            error = OmicsReadSetJobFailedError(failed)
            error.push(context, summaries)
            raise error
        return summaries

    def _run(self, bulk: Bulk) -> None:
        deadline = time.monotonic() + _seconds(self.timeout)
        added = False
        while True:
            try:
                if not added:
                    self._add(bulk)
                    added = True
                    bulk.start()
                if self.wait_for_completion or bulk.pending or bulk.earlier_attempts:
                    bulk.look()
                    bulk.start()
            except OmicsTransientError as error:
                self.log.warning("%s Nothing is lost; asking again.", error)
            self.log.info("Sequence store %s, %s: %s", bulk.sequence_store_id, self.kind.value, bulk.progress)
            is_found_out = not bulk.pending and not (bulk.earlier_attempts and bulk.unlooked)
            if added and (bulk.is_over or (is_found_out and not self.wait_for_completion)):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise AirflowException(
                    f"Task {self.task_id!r} was not over within its timeout of {self.timeout}: {bulk.progress}. "
                    f"These jobs go on at AWS, which cannot cancel them: {', '.join(bulk.running) or 'none'}; "
                    "no more are started."
                )
            time.sleep(min(self.poll_interval, left, 1 if bulk.unlooked else left))

    def _bulk(self, context: Context) -> Bulk:
        """Put together what is known before any call."""
        task_instance = context["ti"]
        identity = [task_instance.dag_id, task_instance.run_id, task_instance.task_id, task_instance.map_index]
        return Bulk(
            hook=self.hook,
            kind=self.kind,
            sequence_store_id=parse_id("sequence_store_id", self.sequence_store_id),
            identity=identity if self.client_token is None else [self.client_token],
            parameters=self._parameters(),
            max_concurrent_jobs=self.max_concurrent_jobs or self.kind.max_concurrent_jobs,
            accept_partial_failure=self.accept_partial_failure,
            earlier_attempts=task_instance.try_number - 1,
        )

    def _parameters(self) -> dict[str, str]:
        """Return what Start takes beside store, sources and token."""
        return {}

    def _add(self, bulk: Bulk) -> None:
        """Give the sources to ``bulk``."""
        raise NotImplementedError

    def _unique(self, sources: Sequence[Source]) -> list[Source]:
        unique = {json.dumps(source, sort_keys=True): source for source in sources}
        if len(unique) < len(sources):
            twice = len(sources) - len(unique)
            self.log.info("%s of %s read sets were named before; each is taken once", twice, len(sources))
        return list(unique.values())


class OmicsStartReadSetExportJobOperator(OmicsStartReadSetJobOperator):
    """
    Export read sets to S3. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    :param read_set_ids: Any number of read sets: 10 to 36 digits each. (templated)
    :param destination: Where to: an S3 URI; a slash at its end is added where it is missing. (templated)
    :param role_arn: The role that HealthOmics assumes to write there. (templated)
    """

    kind = ReadSetJobKind.EXPORT
    template_fields = (*OmicsStartReadSetJobOperator.template_fields, "read_set_ids", "destination", "role_arn")
    operator_extra_links = (OmicsExportedObjectsLink(), OmicsSequenceStoresLink())

    def __init__(self, *, read_set_ids: Sequence[str], destination: str, role_arn: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ids("read_set_ids", read_set_ids)
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

    def _add(self, bulk: Bulk) -> None:
        bulk.add(self._unique([{"readSetId": each} for each in parse_ids("read_set_ids", self.read_set_ids)]))


class OmicsStartReadSetActivationJobOperator(OmicsStartReadSetJobOperator):
    """
    Activate archived read sets. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    :param read_set_ids: Any number of read sets: 10 to 36 digits each. (templated)
    :param force: Start jobs also for read sets that are ACTIVE already; AWS then does nothing, successfully.
    """

    kind = ReadSetJobKind.ACTIVATION
    template_fields = (*OmicsStartReadSetJobOperator.template_fields, "read_set_ids")

    def __init__(self, *, read_set_ids: Sequence[str], force: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ids("read_set_ids", read_set_ids)
        self.read_set_ids = read_set_ids
        self.force = force

    def _add(self, bulk: Bulk) -> None:
        sources = self._unique([{"readSetId": each} for each in parse_ids("read_set_ids", self.read_set_ids)])
        ids = {source["readSetId"]: source for source in sources}
        adopted: set[str] = set()
        if not self.force:
            adopted = bulk.adopt(set(ids)) if bulk.earlier_attempts else set()
            active = self.hook.find_active_read_sets(bulk.sequence_store_id, ids.keys() - adopted)
            self.log.info("%s of %s read sets are ACTIVE already", len(active), len(ids))
            ids = {each: source for each, source in ids.items() if each not in adopted | active}
        bulk.add(list(ids.values()))
        bulk.total += len(adopted)


class OmicsStartReadSetImportJobOperator(OmicsStartReadSetJobOperator):
    """
    Import read sets from S3. See :class:`OmicsStartReadSetJobOperator` for the parameters common to all kinds.

    :param sources: Any number of sources, each as boto3's ``start_read_set_import_job`` takes it: ``sourceFiles``,
        ``sourceFileType``, ``subjectId``, ``sampleId``, and what else AWS knows. (templated)
    :param role_arn: The role that HealthOmics assumes to read the files. (templated)
    """

    kind = ReadSetJobKind.IMPORT
    template_fields = (*OmicsStartReadSetJobOperator.template_fields, "sources", "role_arn")

    def __init__(self, *, sources: Sequence[Mapping[str, Any]], role_arn: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check(parse_sources, "sources", sources)
        check(parse_role, "role_arn", role_arn)
        self.sources = sources
        self.role_arn = role_arn

    def _parameters(self) -> dict[str, str]:
        return {"roleArn": parse_role("role_arn", self.role_arn)}

    def _add(self, bulk: Bulk) -> None:
        bulk.add(self._unique(parse_sources("sources", self.sources)))


def _seconds(timeout: timedelta | float | None) -> float:
    if timeout is None:
        return math.inf
    return timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
