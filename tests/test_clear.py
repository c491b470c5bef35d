"""Tasks that succeeded are cleared, under a real scheduler, after AWS's state has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import World, connection
from real_airflow import RealAirflow
from starting import processed

from airflow_omics.jobs import ReadSetJobKind
from airflow_omics.local import LocalHealthOmics

DAG = "ensures"


def test_what_is_cleared_is_ensured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalHealthOmics() as local:
        world = World(local)
        local.configure(job_seconds=2)
        read_sets = local.add_read_sets(world.store, 3, "ARCHIVED")
        assert world.sources
        given = {"store": world.store, "read_sets": read_sets}
        monkeypatch.setenv("OMICS_TEST_ITEMS", json.dumps(given))
        settings: dict[str, Any] = {"workers__min_heartbeat_interval": 1, "triggerer__job_heartbeat_sec": 1}
        with RealAirflow(tmp_path, Path(__file__).parent / "dags", connection(local), settings) as airflow:
            run = airflow.trigger(DAG)
            assert dict(airflow.watch(DAG, run, seconds=120)) == dict.fromkeys(
                ("activate", "export", "import"), "success"
            )
            (imported,) = airflow.xcom(DAG, run, "import", "read_set_ids")

            local.archive_read_sets(read_sets[:2])
            world.omics.batch_delete_read_set(sequenceStoreId=world.store, ids=[imported])
            airflow.clear(DAG)
            states = dict(airflow.watch(DAG, run, seconds=120))
            assert states == dict.fromkeys(("activate", "export", "import"), "success")
            assert [each["finished"] for each in airflow.xcom(DAG, run, "activate")] == [read_sets[:2]]
            assert airflow.xcom(DAG, run, "activate", "read_set_ids") == read_sets
            assert airflow.xcom(DAG, run, "import", "read_set_ids") != [imported]

            airflow.clear(DAG)  # nothing has changed: only the export, of which AWS shows no state, is done again
            assert set(dict(airflow.watch(DAG, run, seconds=120)).values()) == {"success"}
        assert processed(world, ReadSetJobKind.EXPORT) == dict.fromkeys(read_sets, 3)
        assert processed(world, ReadSetJobKind.ACTIVATION) == {read_sets[0]: 2, read_sets[1]: 2, read_sets[2]: 1}
        assert len(processed(world, ReadSetJobKind.IMPORT)) == 2
