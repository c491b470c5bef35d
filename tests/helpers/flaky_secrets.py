"""A secrets backend that cannot always be asked, for Airflow's setting ``[secrets] backend``."""

from __future__ import annotations

from airflow.secrets import BaseSecretsBackend

away = 0
"""How many of the next look-ups of a connection fail."""
error: Exception = ConnectionError("the vault is sealed")
"""How they fail."""
connections: dict[str, str] = {}
"""What it has, as JSON."""


class AirflowSecretsBackendAccessDenied(PermissionError):
    """As Airflow 3.2 and newer have it: somebody said no."""


class FlakySecrets(BaseSecretsBackend):
    """What Airflow asks for a connection before it looks anywhere else."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        global away  # noqa: PLW0603 - Airflow makes the backend, and keeps it
        if away > 0:
            away -= 1
            raise error
        return connections.get(conn_id)

    def get_variable(self, key: str, team_name: str | None = None) -> None:
        return None

    def get_config(self, key: str) -> None:
        return None
