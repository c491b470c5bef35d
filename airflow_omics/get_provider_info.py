"""What Airflow's provider manager reads. Imports nothing, since every Airflow process loads it at start."""

from __future__ import annotations

from typing import Any

_OPTIONS = {
    "calls_per_second": {
        "description": (
            "How often one process calls an operation, by one connection and in one region. AWS allows "
            "5 calls a second per operation, account and region, unless it raised the quota for you."
        ),
        "version_added": "0.1.0",
        "type": "float",
        "example": None,
        "default": "4.0",
    },
    "not_found_seconds": {
        "description": (
            "How many seconds a job that AWS does not find is asked for again, since it may have been "
            "started a moment ago."
        ),
        "version_added": "0.1.0",
        "type": "float",
        "example": None,
        "default": "5.0",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Describe this provider in the form of Airflow's ``provider_info.schema.json``."""
    name = "AWS HealthOmics"
    return {
        "package-name": "airflow-omics",
        "name": name,
        "description": "Start, and wait for, `AWS HealthOmics <https://aws.amazon.com/healthomics/>`__ read set jobs.",
        "integrations": [
            {
                "integration-name": name,
                "external-doc-url": "https://docs.aws.amazon.com/omics/latest/dev/sequence-stores.html",
                "tags": ["aws"],
            }
        ],
        "hooks": [{"integration-name": name, "python-modules": ["airflow_omics.hooks"]}],
        "sensors": [{"integration-name": name, "python-modules": ["airflow_omics.sensors"]}],
        "triggers": [{"integration-name": name, "python-modules": ["airflow_omics.triggers"]}],
        "operators": [{"integration-name": name, "python-modules": ["airflow_omics.operators"]}],
        "extra-links": [
            "airflow_omics.links.OmicsExportedObjectsLink",
            "airflow_omics.links.OmicsSequenceStoresLink",
        ],
        "config": {
            "omics": {
                "description": "How this installation calls AWS HealthOmics.",
                "options": _OPTIONS,
            }
        },
    }
