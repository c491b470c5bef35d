"""Every ending in every mode: poke, reschedule and deferrable waits end alike."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import TaskInstance, World, first_event, wake
from versions import AirflowRescheduleException, TaskDeferred

from airflow_omics.exceptions import OmicsRequestError
from airflow_omics.jobs import JobStatus, ReadSetJobKind
from airflow_omics.sensors import OmicsReadSetJobSensor

EXPORT = ReadSetJobKind.EXPORT
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True, "mode": "poke"},
}
WAITING = {JobStatus.SUBMITTED, JobStatus.IN_PROGRESS, JobStatus.CANCELLING}


class Wait:
    """A wait that has looked once and goes on; :meth:`end` lets it look again, or time out."""

    def __init__(self, sensor: OmicsReadSetJobSensor, mode: str) -> None:
        self.sensor = sensor
        self.mode = mode
        self.ti = TaskInstance()
        self.deferred: TaskDeferred | None = None
        if mode == "poke":
            assert not sensor.poke({"ti": self.ti})
        else:
            with pytest.raises((AirflowRescheduleException, TaskDeferred)) as caught:
                sensor.execute({"ti": self.ti})
            self.deferred = caught.value if isinstance(caught.value, TaskDeferred) else None

    def end(self, timed_out: bool) -> dict[str, Any]:
        """Return how the wait ends: what is raised, returned and pushed."""
        try:
            result, raised = self._end(timed_out), None
        except Exception as error:
            result, raised = None, error
        return {
            "returned": result,
            "raised": type(raised).__name__,
            "message": re.sub(r"Timed out after \d+ s", "Timed out", str(raised)),
            "xcoms": self.ti.xcoms,
        }

    def goes_on(self) -> bool:
        """Look again; tell whether that changes nothing."""
        if self.deferred is not None:
            with pytest.raises(TimeoutError):
                asyncio.run(first_event(self.deferred.trigger, seconds=0.5))
        elif self.mode == "reschedule":
            with pytest.raises(AirflowRescheduleException):
                self.sensor.execute({"ti": self.ti})
        elif self.sensor.poke({"ti": self.ti}):
            return False
        return not self.ti.xcoms

    def _end(self, timed_out: bool) -> Any:
        context: Any = {"ti": self.ti}
        if self.deferred is not None:
            if timed_out:
                return self.sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
            return wake(self.sensor, self.deferred, self.ti)
        if timed_out:
            self.sensor.timeout = 0 if self.mode == "poke" else 3600
            context["ti"] = self.ti = TaskInstance(datetime.now(UTC) - timedelta(hours=2))
        return self.sensor.execute(context)


@pytest.mark.parametrize("many", [pytest.param(False, marks=pytest.mark.thorough), True], ids=["one", "many"])
@pytest.mark.parametrize("timed_out", [False, True], ids=["in time", "timed out"])
@pytest.mark.parametrize("soft_fail", [False, pytest.param(True, marks=pytest.mark.thorough)], ids=["hard", "soft"])
@pytest.mark.parametrize("status", [each for each in JobStatus if each is not JobStatus.SUBMITTED])
def test_a_wait_ends_alike_in_all_modes(
    world: World, status: JobStatus, soft_fail: bool, timed_out: bool, many: bool
) -> None:
    jobs = [world.start(EXPORT) for _ in range(5 if many else 1)]
    job_id: Any = jobs if many else jobs[0]
    waits = {
        mode: Wait(world.sensor(EXPORT, job_id, soft_fail=soft_fail, **arguments), mode)
        for mode, arguments in MODES.items()
    }
    bring(world, jobs[0], status)
    if status in WAITING and not timed_out:
        assert all(wait.goes_on() for wait in waits.values())
        return
    ends = {mode: wait.end(timed_out) for mode, wait in waits.items()}

    expected = ends["poke"]
    assert ends == dict.fromkeys(ends, expected)
    if status in WAITING:
        end = "AirflowSkipException" if soft_fail else "AirflowSensorTimeout"
        assert expected["raised"] == end
        assert expected["xcoms"] == {}
    elif status is JobStatus.COMPLETED:
        assert expected["raised"] == "NoneType"
        found = expected["returned"]
        assert [each["job_id"] for each in (found if many else [found])] == jobs
    else:
        assert expected["raised"] == ("AirflowSkipException" if soft_fail else "OmicsReadSetJobSensorError")
        assert set(expected["xcoms"]) == {"failed_job", "failed_read_set_ids"}
        assert jobs[0] in expected["message"]
        assert status in expected["message"]


def bring(world: World, job_id: str, status: JobStatus) -> None:
    """Bring a job, and with it those beside it that are not cancelled, to a status."""
    if status is JobStatus.IN_PROGRESS:
        world.local.advance(500)
    elif status is JobStatus.CANCELLING:
        world.local.cancel_job(job_id)
    else:
        world.end(job_id, status)


def test_a_retry_that_is_woken_as_the_attempt_that_failed_looks_anew(world: World, ti: TaskInstance) -> None:
    """As Airflow 3.0 does it, with the event of then."""
    sensor = world.sensor(ReadSetJobKind.EXPORT, world.start(ReadSetJobKind.EXPORT), deferrable=True)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({"ti": ti})
    event = {"status": "error", "error": "OmicsRequestError", "message": "No credentials"}
    with pytest.raises(OmicsRequestError, match="No credentials"):
        wake(sensor, caught.value, ti, event)
    world.local.advance(10_000)
    ti.try_number = 2
    assert wake(sensor, caught.value, ti, event)["status"] == "COMPLETED"
