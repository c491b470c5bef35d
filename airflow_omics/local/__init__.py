"""
Local HealthOmics: HealthOmics storage and S3 on one loopback port, for demos and tests without AWS.

It speaks the real wire protocol, so that unmodified boto3 and the AWS CLI work against it, and checks every request
against the service model that botocore ships. ``python -m airflow_omics.local`` starts it;
:class:`LocalHealthOmics` is its handle in Python; ``pytest_plugins = ["airflow_omics.local.pytest_plugin"]`` in a
conftest gives the fixture ``local_healthomics``. Needs the extra ``airflow-omics[local]``.

Where AWS documents nothing, it had to choose. Do not build on these assumptions:

- A job is SUBMITTED for the first tenth of its time; its read sets are then processed one after the other, in the
  order of the request, each for the same time. Jobs do not slow each other down.
- A job whose read sets all failed ends FAILED; one with some failed ends COMPLETED_WITH_FAILURES.
- A read set id that does not exist is accepted by Start, and fails as an item of the job.
- Exporting a read set that is not ACTIVE fails that item.
- An export writes ``<destination>/<read set id>/<name of the source file>``, with ``source1/`` or ``source2/`` before
  the name where both have the same.
- A missing source file, an empty one, and a destination bucket that does not exist fail the item, not Start.
- A cancelled job is CANCELLING for a tenth of its time; read sets that it had not finished are as before it began.
- A failed import leaves no read set; BatchDeleteReadSet deletes at once.
- Deleting a sequence store needs it empty of read sets, and deletes the records of its jobs.
- Get knows a job at once after Start, and for ever. List shows jobs and read sets in the order of creation.
- A client token is remembered for ever, per operation and sequence store, also for a job that failed; with other
  parameters it is answered with ValidationException.
- Operations outside read set jobs, ListReadSets and GetReadSetMetadata have no rate limit.
- The order of checks is: faults, rate, parameters, existence, concurrent jobs.
- There is one account and one region; every role may do everything, and signatures are not checked.
"""

from airflow_omics.local.faults import Fault
from airflow_omics.local.server import LocalHealthOmics
from airflow_omics.local.settings import Settings

__all__ = ["Fault", "LocalHealthOmics", "Settings"]
