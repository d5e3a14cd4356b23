"""One run of simulated traffic, counted twice: what the people saw, and what the server recorded.

Compares the two and puts them into words for a terminal. Knows no HTTP and no database: it is handed both.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from metrics.answers import RecordedAnswer
from simulator.people import Answer, Person
from simulator.people_tally import Tally, percentile

# What a person is told at the end, by the outcome of the last attempt; every other outcome is told as failed.
_TOLD_AS = {"ok": "complete", "cancelled": "stopped", "running": "running"}


@dataclass(frozen=True)
class Comparison:
    """Our own count beside the server's record, by reply, of a run by ``people``."""

    tally: Tally
    recorded: Mapping[UUID, RecordedAnswer]
    people: Sequence[Person]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """(we counted, the server recorded) of all that both can know."""
        ours = self.tally.states
        theirs = Counter(_TOLD_AS.get(answer.last_outcome, "failed") for answer in self.recorded.values())
        rated = sum(answer.rating is not None for answer in self.recorded.values())
        explained = sum(bool(answer.rating_reason) for answer in self.recorded.values())
        return {
            "requests": (len(self.tally.taken), len(self.recorded)),
            "answered": (ours["complete"], theirs["complete"]),
            "failed": (ours["failed"], theirs["failed"]),
            "stopped": (ours["stopped"], theirs["stopped"]),
            "ratings": (self.tally.ratings, rated),
            "reasons": (self.tally.rating_reasons, explained),
        }

    @property
    def is_equal(self) -> bool:
        """Whether both know of the same replies, and counted them alike."""
        same = self.tally.taken.keys() == self.recorded.keys()
        return same and all(ours == theirs for ours, theirs in self.counts.values())

    @cached_property
    def arms(self) -> dict[int, list[str]]:
        """By the number of each person who was answered, the arms that the server recorded, in order of the answers."""
        arms: dict[int, list[str]] = {}
        for reply, answer in self.tally.taken.items():
            if reply in self.recorded:
                arms.setdefault(answer.person, []).append(self.recorded[reply].arm)
        return arms

    @property
    def returned(self) -> int:
        """How many people of an earlier run wrote again."""
        return sum(person.returned for person in self.people)

    @property
    def accounts(self) -> int:
        """How many of those who were answered have signed up, now or earlier."""
        return sum(bool(person.account) for person in self.people if person.number in self.arms)

    @property
    def kept(self) -> tuple[int, int]:
        """How many kept the candidate, of how many: those who had it in the run before and wrote in this one."""
        had = [p for p in self.people if p.arm_before == "candidate" and p.number in self.arms]
        return sum(set(self.arms[person.number]) == {"candidate"} for person in had), len(had)

    def groups(self) -> list["Group"]:
        """The server's record by arm and reason, beside what those people saw."""
        answers: dict[tuple[str, str], list[tuple[RecordedAnswer, Answer | None]]] = {}
        for reply, record in self.recorded.items():
            answers.setdefault((record.arm, record.reason), []).append((record, self.tally.taken.get(reply)))
        return [Group.of(arm, reason, answers[arm, reason]) for arm, reason in sorted(answers)]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One arm for one reason, as recorded; ``seen_ttft_ms`` is the median of what these people saw."""

    arm: str
    reason: str
    people: int
    requests: int
    outcomes: dict[str, int]
    fell_back: int
    ttft_ms: float | None
    seen_ttft_ms: float | None

    @classmethod
    def of(cls, arm: str, reason: str, answers: "Sequence[tuple[RecordedAnswer, Answer | None]]") -> "Group":
        """Add up one group's answers. ``outcomes`` are of first attempts, as in every report."""
        records = [record for record, _seen in answers]
        seen = [answer.ttft_ms for _record, answer in answers if answer is not None and answer.ttft_ms is not None]
        return cls(
            arm=arm,
            reason=reason,
            people=len({record.unit for record in records}),
            requests=len(records),
            outcomes=dict(sorted(Counter(record.first_outcome for record in records).items())),
            fell_back=sum(record.fell_back for record in records),
            ttft_ms=percentile([record.ttft_ms for record in records if record.ttft_ms is not None], 50),
            seen_ttft_ms=percentile(seen, 50),
        )


def as_json(run: Comparison) -> dict[str, Any]:
    """The whole comparison as JSON values; times in ms."""
    tally, (kept, had) = run.tally, run.kept
    return {
        "people": {
            "wrote": tally.people,
            "returned": run.returned,
            "signedUp": run.accounts,
        },
        "messages": {"sent": len(tally.answers), "unanswered": tally.unanswered, "states": dict(tally.states)},
        "counts": {name: {"counted": ours, "recorded": theirs} for name, (ours, theirs) in run.counts.items()},
        "equal": run.is_equal,
        "ttftMs": {"p50": percentile(tally.ttft_ms, 50), "p95": percentile(tally.ttft_ms, 95)},
        "errors": dict(tally.errors.most_common()),
        "arms": [vars(group) for group in run.groups()],
        "keptTheirModel": {"kept": kept, "of": had},
    }


def in_words(run: Comparison) -> Iterator[str]:
    """The whole comparison, line by line."""
    tally, (kept, had) = run.tally, run.kept
    who = f"{tally.people} people ({run.returned} came back, {run.accounts} have an account)"
    yield f"{len(tally.answers)} messages by {who}"
    yield ""
    yield f"{'':<12}{'we counted':>12}{'the server recorded':>22}"
    for name, (ours, theirs) in run.counts.items():
        yield f"{name:<12}{ours:>12}{theirs:>22}{'' if ours == theirs else '   differs'}"
    yield ""
    p50, p95 = (_ms(percentile(tally.ttft_ms, percent)) for percent in (50, 95))
    yield f"First words, as people saw them: p50 {p50}, p95 {p95}"
    if tally.errors:
        yield "Errors, as people saw them:"
        yield from (f"  {n} × {words}" for words, n in tally.errors.most_common())
    yield ""
    yield "The server recorded, by arm (outcomes of first attempts; p50 of the first words there / as people saw them):"
    for group in run.groups():
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in group.outcomes.items())
        yield (
            f"  {group.arm or 'no arm'} ({group.reason}): {group.people} people, {group.requests} requests "
            f"({outcomes}; {group.fell_back} fell back), {_ms(group.ttft_ms)} / {_ms(group.seen_ttft_ms)}"
        )
    if had:
        yield f"Kept their model: {kept} of {had} people who had the candidate before"


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.0f} ms"
