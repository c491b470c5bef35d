"""Waiting for read set jobs, and for read sets, in a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_omics._airflow import AirflowFailException, Context
from airflow_omics._arguments import check_bool, check_id, check_ids
from airflow_omics._service.kind import Kind
from airflow_omics._service.kinds import READ_SET, REFERENCE_IMPORT, ReadSetJobKind
from airflow_omics._service.limits import LARGEST_ERROR, LONGEST_MESSAGE, some
from airflow_omics._values import is_mapped
from airflow_omics._waiting.base_sensor import OmicsSensor
from airflow_omics.exceptions import OmicsNotFoundError, OmicsReadSetJobSensorError
from airflow_omics.triggers import OmicsReadSetJobTrigger

if TYPE_CHECKING:
    from airflow_omics._values import Id, Ids


class _StoreSensor(OmicsSensor):
    """Waits for what a store and an id name."""

    def _trigger(self, store_id: str, ids: list[str], **arguments: Any) -> OmicsReadSetJobTrigger:
        return OmicsReadSetJobTrigger(kind=self.kind.word, sequence_store_id=store_id, job_ids=ids, **arguments)


class _JobSensor(_StoreSensor):
    """Waits for jobs."""

    ids_argument = "job_id"

    def _take(self, store_id: Id, job_id: Ids, accept_partial_failure: bool) -> None:
        """Check the arguments that all have. No constructor, for a warning names the line of the outermost."""
        check_bool("accept_partial_failure", accept_partial_failure)
        check_id(self.kind.store.argument, store_id)
        check_ids("job_id", job_id, can_be_empty=is_mapped(self))

    def _failure(
        self, context: Context, failed: list[Any], gone: Mapping[str, OmicsNotFoundError], result: object
    ) -> Exception:
        if gone:
            return next(iter(gone.values()))
        error = OmicsReadSetJobSensorError(failed, self.hook.where)
        error.push(context, result, self.kind.item_argument)
        return error


class OmicsReadSetJobSensor(_JobSensor):
    """
    Wait until read set jobs have ended; use the subclass of the kind of job.

    COMPLETED succeeds. FAILED, COMPLETED_WITH_FAILURES and CANCELLED fail at once, without Airflow's retries, naming
    the read sets. SUBMITTED, IN_PROGRESS, CANCELLING and any status this version does not know go on waiting. Several
    jobs are waited for until all have ended. An error of AWS's that passes by itself (throttling, an outage, expired
    credentials) is logged and waited out; only ``timeout`` bounds it.

    Returns, as XCom, the job's summary (:meth:`airflow_omics.jobs.ReadSetJob.summary`); for a list of ids the list of
    summaries in the same order. Before it fails, the same is pushed under the key ``failed_job``, and the ids of the
    failed read sets under ``failed_read_set_ids``.

    :param sequence_store_id: The sequence store of the jobs: 10 to 36 digits. (templated)
    :param job_id: The job: 10 to 36 digits; or a list of jobs of the same kind and store, which
        may hold lists. A list that is empty when the task runs succeeds with ``[]``. (templated)
    :param accept_partial_failure: Let COMPLETED_WITH_FAILURES succeed; the summary still names the failures.

    The other parameters are those of :class:`airflow_omics._waiting.base_sensor.OmicsSensor`.

    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow_omics.exceptions.OmicsReadSetJobSensorError: A job did not succeed.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused to tell: no permission, no such job.
    """

    kind: ClassVar[Kind]
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "job_id", "botocore_config")

    def __init__(
        self, *, sequence_store_id: Id, job_id: Ids, accept_partial_failure: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._take(sequence_store_id, job_id, accept_partial_failure)
        self.sequence_store_id = sequence_store_id
        self.job_id = job_id
        self.accept_partial_failure = accept_partial_failure


class OmicsReadSetExportJobSensor(OmicsReadSetJobSensor):
    """Wait until read set export jobs have ended. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.EXPORT


class OmicsReadSetActivationJobSensor(OmicsReadSetJobSensor):
    """Wait until read set activation jobs have ended. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.ACTIVATION


class OmicsReadSetImportJobSensor(OmicsReadSetJobSensor):
    """Wait until read set import jobs have ended. See :class:`OmicsReadSetJobSensor` for the parameters."""

    kind = ReadSetJobKind.IMPORT


class OmicsReadSetSensor(_StoreSensor):
    """
    Wait until read sets are ACTIVE, whoever activates, uploads or imports them.

    UPLOAD_FAILED, DELETING and DELETED fail at once, without Airflow's retries, and so does a read set that AWS has
    not found for 5 minutes. ARCHIVED, ACTIVATING, PROCESSING_UPLOAD and any status this version does not know go on
    waiting. The log says at the first and then at every tenth poll that a read set is ARCHIVED, for this sensor
    activates none. An error of AWS's that passes by itself is logged and waited out; only ``timeout`` bounds it.

    Returns, as XCom, ``read_set_id``, ``sequence_store_id``, ``status``, ``status_message``, ``name``, ``file_type``
    and ``uris``, the S3 URIs at which the files can be read in place; for a list of ids the list of these in the same
    order. Before it fails, the ids of the failed read sets are pushed under ``failed_read_set_ids``.

    :param sequence_store_id: The sequence store of the read sets: 10 to 36 digits. (templated)
    :param read_set_ids: The read set: 10 to 36 digits; or a list of read sets, which may hold lists. A list that is
        empty when the task runs succeeds with ``[]``. (templated)

    The other parameters are those of :class:`airflow_omics._waiting.base_sensor.OmicsSensor`.

    :raises airflow_omics.exceptions.OmicsArgumentError: An argument cannot be right.
    :raises airflow.exceptions.AirflowFailException: A read set will not become ACTIVE.
    :raises airflow_omics.exceptions.OmicsRefusedError: AWS refused to tell: no permission, no such read set.
    """

    kind = READ_SET
    ids_argument = "read_set_ids"
    template_fields: Sequence[str] = aws_template_fields("sequence_store_id", "read_set_ids", "botocore_config")

    def __init__(self, *, sequence_store_id: Id, read_set_ids: Ids, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_id("sequence_store_id", sequence_store_id)
        check_ids("read_set_ids", read_set_ids, can_be_empty=is_mapped(self))
        self.sequence_store_id = sequence_store_id
        self.read_set_ids = read_set_ids

    def _failure(
        self,
        context: Context,
        failed: list[Any],
        gone: Mapping[str, OmicsNotFoundError],
        result: object,  # noqa: ARG002
    ) -> Exception:
        if task_instance := context.get("ti"):
            task_instance.xcom_push(key="failed_read_set_ids", value=[*(each.id for each in failed), *gone])
        if not failed:
            return next(iter(gone.values()))
        said = [
            f"read set {each.id} is {each.status}" + (f": {each.status_message}" if each.status_message else "")
            for each in failed
        ]
        named = some(said, LARGEST_ERROR - LONGEST_MESSAGE, "; ", "more; XCom has all: failed_read_set_ids")
        return AirflowFailException(
            f"{named.rstrip('.')}. So it will not become ACTIVE. Sequence store {failed[0].sequence_store_id}, "
            f"{self.hook.where}."
        )


class OmicsReferenceImportJobSensor(_JobSensor):
    """
    Wait until reference import jobs have ended, as :class:`OmicsReadSetJobSensor` waits for its jobs.

    What it returns has ``reference_store_id`` and, for each source that failed, ``reference_id``. Before it fails, the
    ids of the failed references are pushed under ``failed_reference_ids``.

    :param reference_store_id: The reference store of the jobs: 10 to 36 digits. (templated)

    The other parameters are those of :class:`OmicsReadSetJobSensor`.
    """

    kind = REFERENCE_IMPORT
    template_fields: Sequence[str] = aws_template_fields("reference_store_id", "job_id", "botocore_config")

    def __init__(
        self, *, reference_store_id: Id, job_id: Ids, accept_partial_failure: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._take(reference_store_id, job_id, accept_partial_failure)
        self.reference_store_id = reference_store_id
        self.job_id = job_id
        self.accept_partial_failure = accept_partial_failure
