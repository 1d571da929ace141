"""Waiting for what other processes and threads do: always for a fact, never for a while."""
import os
import select
import time

# Generous: it only passes in full when a test fails.  Sanitizers and valgrind slow the proxy down.
DEADLINE = float(os.environ.get("SLUICE_TEST_DEADLINE", "20"))
_POLL = 0.01


class TimedOut(AssertionError):
    """What was waited for did not happen."""


def until(fact, what, seconds=DEADLINE):
    """The first true answer of fact()."""
    end = time.monotonic() + seconds
    while True:
        answer = fact()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimedOut(f"not seen within {seconds:g} s: {what}")
        select.select([], [], [], _POLL)
