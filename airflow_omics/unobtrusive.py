"""Doing something heavy in a thread while an event loop goes on in another."""

from __future__ import annotations

import gc
import sys
import threading

SWITCH = 0.0005
"""Seconds for which a thread may then keep others from running."""


class Unobtrusive:
    """
    Keeps the event loop going during the second that importing boto3 and making a client take in a thread.

    They make so many objects that the garbage collector would go through all that Airflow has loaded, holding the
    interpreter's lock, while the loop stands still. And at each log line that the loop writes it would wait for the
    whole of Python's switch interval to get that lock back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._before = (False, 0.0)

    def __enter__(self) -> None:
        with self._lock:
            self._threads += 1
            if self._threads == 1:
                self._before = (gc.isenabled(), sys.getswitchinterval())
                gc.disable()
                sys.setswitchinterval(SWITCH)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                was_enabled, interval = self._before
                sys.setswitchinterval(interval)
                if was_enabled:
                    gc.enable()


unobtrusively = Unobtrusive()
