"""Read set jobs: their kinds, their statuses, and what AWS tells of one."""

from airflow_omics._service.jobs import JobStatus, ReadSetJob
from airflow_omics._service.kinds import ReadSetJobKind

__all__ = ["JobStatus", "ReadSetJob", "ReadSetJobKind"]
