"""``python -m airflow_omics.local``: serve local HealthOmics until interrupted."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import threading

from airflow_omics.local.server import LocalHealthOmics


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_omics.local",
        description="HealthOmics storage and S3 on one loopback port. Controls: POST /_local/<name>.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer requests to this host too, beside loopback's names; needed for a --host that is not loopback",
    )
    parser.add_argument("--port", type=int, default=4566, help="0 for a free one (default: %(default)s)")
    parser.add_argument("--job-seconds", type=float, default=5.0, help="how long a job takes (default: %(default)s)")
    parser.add_argument("--no-limits", action="store_true", help="switch quotas and the rate limit off")
    options = parser.parse_args(arguments)
    settings = {"job_seconds": options.job_seconds}
    if options.no_limits:
        settings |= dict.fromkeys(("max_read_sets", "max_concurrent_jobs", "max_reference_stores", "calls_per_second"))
    try:
        local = LocalHealthOmics(options.host, options.port, allow_hosts=options.allow_host, **settings).start()
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(f"Local HealthOmics: {local.endpoint_url}", flush=True)  # noqa: T201
    print(f"AIRFLOW_CONN_AWS_DEFAULT='{json.dumps(local.connection)}'", flush=True)  # noqa: T201
    print("AWS CLI and plain boto3 need:", flush=True)  # noqa: T201
    for name, value in local.environment.items():
        print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201
    stop.wait()
    local.stop()


if __name__ == "__main__":
    main()
