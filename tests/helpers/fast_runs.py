"""What makes runs of the suite take less time; a plugin of pytest's."""

from __future__ import annotations

import gc
import json
import os

import pytest
from botocore.loaders import Loader

from airflow_omics.jobs import ReadSetJobKind


def pytest_sessionstart() -> None:
    """
    Spare botocore the regional hosts of 400 services: reading those is most of the work of making a client.

    They go to a folder of data that botocore looks into before its own (AWS_DATA_PATH).
    """
    endpoints = Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH]).load_data(
        "endpoints"
    )
    for partition in endpoints["partitions"]:
        partition["services"] = {
            name: partition["services"].get(name, {"endpoints": {}}) for name in ("omics", "s3", "sts")
        }
    os.mkdir(os.environ["AWS_DATA_PATH"])
    with open(os.path.join(os.environ["AWS_DATA_PATH"], "endpoints.json"), "w") as file:
        json.dump(endpoints, file)


QUICK = (
    "arguments",
    "arguments_rendered",
    "deferred_operators",
    "hooks",
    "messages",
    "modes",
    "operators",
    "operators_once",
    "sensor_errors",
    "sensors",
    "triggers",
    "trouble",
)
"""The modules whose outcome hangs most on the version of Airflow, the Amazon provider or boto3."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help=f"of test_({'|'.join(QUICK)}).py what is not thorough, for one kind of job"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def is_quick(item: pytest.Item) -> bool:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        is_first_kind = parameters.get("kind", ReadSetJobKind.EXPORT) in (ReadSetJobKind.EXPORT, "export")
        is_brief = item.get_closest_marker("thorough") is None
        return is_first_kind and is_brief and item.path.stem.removeprefix("test_") in QUICK

    if config.getoption("--quick"):
        config.hook.pytest_deselected(items=[item for item in items if not is_quick(item)])
        items[:] = [item for item in items if is_quick(item)]


def pytest_collection_finish() -> None:
    """Spare the garbage collector Airflow's many modules: parsing botocore's models then takes a fifth of the time."""
    gc.collect()
    gc.freeze()
