"""Run an activation operator once, in a process that test_operators.py kills: arguments are store, try number, ids."""

import os
import sys
from types import SimpleNamespace

from airflow_omics.operators import OmicsStartReadSetActivationJobOperator

store, try_number, *read_set_ids = sys.argv[1:]
operator = OmicsStartReadSetActivationJobOperator(
    task_id="activate",
    sequence_store_id=store,
    read_set_ids=read_set_ids,
    poll_interval=0.1,
    max_concurrent_jobs=2,
    force=bool(os.environ.get("FORCE")),
)
ti = SimpleNamespace(
    dag_id="dag", run_id="run", task_id="activate", map_index=-1, try_number=int(try_number), xcom_push=lambda **_: None
)
operator.execute({"ti": ti})
