"""Leaving a server alone that did not answer: one request pays for its timeout, and then nobody for a while."""

import time
from collections.abc import Callable


class Pause:
    """So many seconds of a clock, from each time that it ``begin``s."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self.end()

    @property
    def is_on(self) -> bool:
        """Whether it is not to be asked."""
        return self._clock() < self._until

    def begin(self) -> None:
        """It did not answer just now."""
        self._until = self._clock() + self._seconds

    def end(self) -> None:
        """Ask it again."""
        self._until = float("-inf")
