"""Wait for AWS HealthOmics read set jobs from Apache Airflow."""

__version__ = "0.1.0"
