"""What a crowd saw, added up. Knows answers; knows nothing of what the server wrote down."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from simulator.people import Answer


@dataclass
class Tally:
    """Every answer of a run."""

    answers: list[Answer] = field(default_factory=list)

    def note(self, answer: Answer) -> None:
        """Count one more."""
        self.answers.append(answer)

    @property
    def people(self) -> int:
        """How many different people wrote."""
        return len({answer.person for answer in self.answers})

    @property
    def taken(self) -> dict[UUID, Answer]:
        """The messages that the server accepted, by their reply."""
        return {answer.reply: answer for answer in self.answers if answer.reply is not None}

    @property
    def states(self) -> Counter[str]:
        """Messages by what came of them."""
        return Counter(answer.state for answer in self.answers)

    @property
    def unanswered(self) -> int:
        """Messages that their person got no reply to: failed, lost or not even taken. Stopped is the person's wish."""
        return sum(answer.state not in ("complete", "stopped") for answer in self.answers)

    @property
    def ratings(self) -> int:
        """How many replies were rated."""
        return sum(answer.rating is not None for answer in self.answers)

    @property
    def rating_reasons(self) -> int:
        """How many ratings came with a reason."""
        return sum(bool(answer.rating_reason) for answer in self.answers)

    @property
    def ttft_ms(self) -> list[float]:
        """Milliseconds to the first words, of each message that got some."""
        return [answer.ttft_ms for answer in self.answers if answer.ttft_ms is not None]

    @property
    def errors(self) -> Counter[str]:
        """What went wrong, in words, and how often."""
        return Counter(error for answer in self.answers for error in answer.errors)


def percentile(values: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile (the smallest value with ``percent`` % of all at or below it); ``None`` of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
