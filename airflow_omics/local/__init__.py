"""
Local HealthOmics: HealthOmics storage and S3 on one loopback port, for demos and tests without AWS.

It speaks the real wire protocol, so that unmodified boto3 and the AWS CLI work against it, and checks every request
against the service model that botocore ships. ``python -m airflow_omics.local`` starts it;
:class:`LocalHealthOmics` is its handle in Python; ``pytest_plugins = ["airflow_omics.local.pytest_plugin"]`` in a
conftest gives the fixture ``local_healthomics``. Needs the extra ``airflow-omics[local]``.

Where AWS documents nothing, it had to choose. Do not build on these assumptions:

- A job is SUBMITTED for the first tenth of its time; its read sets are then processed one after the other, in the
  order of the request, each for the same time. Jobs do not slow each other down.
- A read set that another job is activating is FINISHED at once: when the job starts, or when its turn comes. A job that
  has nothing else to do is over at once. A read set that is ACTIVE already takes the time of any other.
- A job whose read sets all failed ends FAILED; one with some failed ends COMPLETED_WITH_FAILURES.
- A read set id that does not exist is accepted by Start, and fails as an item of the job.
- Reference import jobs go on as read set jobs do, several in a store at the same time as well.
- Exporting a read set that is not ACTIVE fails that item.
- An export writes ``<destination>/<read set id>/<name of the source file>``, with ``source1/`` or ``source2/`` before
  the name where both have the same.
- A missing source file, an empty one, a destination bucket that does not exist, and a bucket of another region than the
  store's fail the item, not Start.
- A cancelled job is CANCELLING for a tenth of its time. Then the read set that it was at is as before it began, unless
  another job has begun with that read set since.
- A failed import leaves no read set and no reference; BatchDeleteReadSet and DeleteReference delete at once.
- A reference's md5 is that of the file as it is; it has a source, and no index.
- Deleting a reference that a read set has as its referenceArn is answered with ConflictException.
- Deleting a store needs it empty of read sets or references, and deletes the records of its jobs.
- Get knows a job at once after Start, and for ever. List shows everything in the order of creation.
- A client token is remembered for ever, per operation and store, also for a job that failed. It is answered
  with that job as it is by then; with other parameters, with ValidationException. The settings ``client_token_seconds``
  and ``changed_request`` choose otherwise.
- Operations outside jobs, ListReadSets, GetReadSetMetadata, ListReferences and GetReferenceMetadata have no rate limit.
- The order of checks is: faults, rate, parameters, existence, concurrent jobs.
- An access key belongs to the account 123456789012, unless the setting ``accounts`` or this server's STS gave it to
  another. The region is the one that a request is signed for, and any name is a region. What is in another account or
  region is not found. Quotas, rates and client tokens are kept per account and region.
- Buckets can be read and written from every account.
- Every answer, of S3 and STS too, has a Date header by the clock that ``advance`` moves; the times of S3's objects are
  the machine's.
- Every role may do everything, and signatures are not checked.
"""

from airflow_omics.local.faults import Fault
from airflow_omics.local.server import LocalHealthOmics
from airflow_omics.local.settings import Settings

__all__ = ["Fault", "LocalHealthOmics", "Settings"]
