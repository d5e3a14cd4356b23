"""Reads the roll-ups: health over a window, series for charts, evidence for a decision, totals for counters.

Never scans calls, but where a window ends in the past: who was there then is counted from the calls. Part of metrics'
services; is told the time.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import router

from metrics.arms import BINS, ArmSums, BinsName, Histograms, Packed
from metrics.health import ArmHealth, Health, Point
from metrics.models import Arm, ArmSum, CallTotal, RollupState, Slice, Window
from metrics.people import people_between
from metrics.slice_sums import added_up, documents, ever, extent, in_turn, whole_numbers
from metrics.slices import Cut, Grain, ceil, cover, floor
from metrics.statements import columns, fetch, select
from metrics.sums import DECIDING_REASON, Sums
from metrics.totals import Total, TotalKey

# Each half has its index. Compiled anew each time it would cost more than all that the database does for it.
_WINDOWS = f"""
    SELECT {columns(Window, "first")} FROM {Window._meta.db_table} first
    WHERE rollout = %s AND run = %s AND starts_at IS NULL
    UNION SELECT {columns(Window, "newest")} FROM (
        SELECT * FROM {Window._meta.db_table} WHERE rollout = %s AND run = %s ORDER BY number DESC LIMIT 1
    ) newest ORDER BY number
"""  # noqa: S608
_ARMS = f"""
    SELECT scope, stretch, arm, CAST(sums AS text){{0}} FROM {ArmSum._meta.db_table}
    WHERE rollout = %s AND run = %s AND scope <> '{ArmSum.Scope.DELETED.value}'
"""  # noqa: S608
# As slices call it, and as the totals do.
_MONEY = {
    "cost": "cost_pico",
    "priced_cost": "priced_cost_pico",
    "baseline_cost": "baseline_cost_pico",
    "cost_unknown": "cost_unknown",
}
# Before anything was counted.
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def rolled_at() -> datetime | None:
    """As of when the roll-ups stand: all that had ended by then is in them. ``None`` before the first."""
    state = RollupState.objects.filter(pk=1).first()
    return None if state is None else state.rolled_at


def last_request_at(rollout: str) -> datetime | None:
    """The end of the newest slice of five minutes, or of an hour, with a request that decides; ``None`` without any."""
    slices = Slice.objects.filter(rollout=rollout, reason=DECIDING_REASON).order_by("-start")
    for grain in (Grain.FIVE_MINUTES, Grain.HOUR):
        start = slices.filter(grain=grain).values_list("start", flat=True).first()
        if start is not None:
            return start + timedelta(seconds=grain)
    return None


def health(*, rollout: str, since: datetime, until: datetime) -> Health:
    """Both arms between two moments: see ``UpTo.health``."""
    return UpTo(rollout=rollout, until=until).health(since=since)


class UpTo:
    """One rollout's roll-ups up to a moment, for whoever asks more than one thing of them.

    They are read as they are asked for, but where they stand is looked up once. Moments are cut at five minutes
    (``until`` later, a beginning earlier), or at whole hours where old calls are deleted.
    """

    def __init__(self, *, rollout: str, until: datetime) -> None:
        self._rollout = rollout
        self._stand = extent(rollout)
        self._until = self._cut(until, up=True)
        self._read: dict[datetime, Health] = {}

    @property
    def changed_at(self) -> datetime | None:
        """When the roll-ups last changed: until they do again, all that is read from them stays the same."""
        return self._stand.changed_at

    @property
    def knows_calls(self) -> bool:
        """Whether anything is known; not before the first call has ended."""
        return self._newest is not None

    def health(self, *, since: datetime) -> Health:
        """Both arms from ``since`` on. Only ``DECIDING_REASON`` enters the arms.

        The same cost at any size, but where newer calls have come: then people are counted from the calls.
        """
        since = self._cut(since, up=False)
        arms: dict[str, Sums] = defaultdict(Sums)
        other: dict[str, int] = defaultdict(int)
        for sign, arm, reason, document in documents(self._cuts(since), rollout=self._rollout):
            if reason == DECIDING_REASON:
                arms[arm].merge_json(document, sign)
            else:
                other[reason] += sign * document.get("requests", 0)

        def of(arm: Arm) -> ArmHealth:
            people = (
                arms[arm].last_seen
                if self._is_newest
                else people_between(
                    rollout=self._rollout, arm=arm, reason=DECIDING_REASON, since=since, until=self._until
                )
            )
            return ArmHealth(sums=arms[arm], people=people)

        self._read[since] = health = Health(
            rollout=self._rollout,
            since=since,
            until=self._until,
            as_of=self._stand.rolled_at,
            baseline=of(Arm.BASELINE),
            candidate=of(Arm.CANDIDATE),
            other={reason: other[reason] for reason in sorted(other) if other[reason]},
        )
        return health

    def requests(self, *, since: datetime) -> dict[str, int]:
        """How many requests each arm has in ``health``; an arm without any may be left out."""
        since = self._cut(since, up=False)
        if (known := self._read.get(since)) is not None:
            return {Arm.BASELINE: known.baseline.requests, Arm.CANDIDATE: known.candidate.requests}
        found = added_up(["requests"], self._cuts(since), rollout=self._rollout, reason=DECIDING_REASON)
        return {arm: sums["requests"] for arm, sums in found.items() if sums["requests"]}

    def saved_usd(self) -> Decimal | None:
        """What the candidate's arm has saved from the beginning on; see ``ArmHealth``."""
        of = {"rollout": self._rollout, "reason": DECIDING_REASON, "arm": Arm.CANDIDATE.value}
        if self._is_newest:
            numbers = dict(zip(_MONEY, ever(list(_MONEY.values()), **of), strict=True))
        else:
            cuts = cover(_BEGINNING, self._until, self._stand.grains)
            numbers = added_up(list(_MONEY), cuts, **of).get(Arm.CANDIDATE, {})
        return ArmHealth(sums=Sums.from_json(numbers), people=None).saved_usd

    @property
    def _newest(self) -> datetime | None:
        """Where the newest slice begins."""
        # Where slices of five minutes are gone, windows are cut at hours.
        return self._stand.newest_five_minutes or self._stand.newest_hour

    @property
    def _is_newest(self) -> bool:
        """Whether no call is newer."""
        return self._newest is None or self._newest < self._until

    def _cuts(self, since: datetime) -> list[Cut]:
        # Up to the newest call, slices serve that are not over.
        grains = self._stand.grains
        return cover(since, ceil(self._until, max(grains)) if self._is_newest else self._until, grains)

    def _cut(self, moment: datetime, *, up: bool) -> datetime:
        horizon = self._stand.horizon
        grain = Grain.HOUR if horizon is not None and moment < horizon else Grain.FIVE_MINUTES
        return ceil(moment, grain) if up else floor(moment, grain)


def series(*, rollout: str, since: datetime, until: datetime, grain: Grain) -> list[Point]:
    """Both arms in each slice from the one that holds ``since``, oldest first; slices without calls are left out.

    ``people`` of the newest slice are those who are in it so far; ``None`` where not counted yet, and in slices of five
    minutes.
    """
    found: dict[datetime, dict[str, ArmHealth]] = defaultdict(dict)
    for part in in_turn(rollout=rollout, reason=DECIDING_REASON, grain=grain, since=floor(since, grain), until=until):
        sums = Sums.from_json(part.sums)
        counts_so_far = part.people is None and part.is_newest and grain != Grain.FIVE_MINUTES
        found[part.start][part.arm] = ArmHealth(sums=sums, people=sums.last_seen if counts_so_far else part.people)
    return [
        Point(
            start=start,
            baseline=arms.get(Arm.BASELINE, ArmHealth()),
            candidate=arms.get(Arm.CANDIDATE, ArmHealth()),
        )
        for start, arms in found.items()
    ]


@dataclass(frozen=True, kw_only=True)
class StretchSums:
    """One stretch's sums by arm, at the percentage that was in force in it."""

    stretch: int
    percent: Decimal
    baseline: ArmSums = field(default_factory=ArmSums)
    candidate: ArmSums = field(default_factory=ArmSums)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a run has shown: its stretches, oldest first, and its newest window with its number."""

    stretches: tuple[StretchSums, ...] = ()
    window: StretchSums | None = None
    window_number: int = 0


def evidence(*, rollout: str, run: int, bins: Collection[BinsName] = ()) -> Evidence:
    """The sums of one run, with the histograms in ``bins``, at a cost that knows its stretches and not its calls."""
    windows = _windows(rollout, run)
    found: dict[tuple[str, int, str], ArmSums] = defaultdict(ArmSums)
    for scope, stretch, arm, sums in _arms(rollout, run, [name for name in BINS if name in bins]):
        found[scope, stretch, arm] = sums

    def of(scope: str, window: Window) -> StretchSums:
        return StretchSums(
            stretch=window.stretch,
            percent=window.percent,
            baseline=found[scope, window.stretch, Arm.BASELINE],
            candidate=found[scope, window.stretch, Arm.CANDIDATE],
        )

    if not windows:
        return Evidence()
    by_stretch = {window.stretch: window for window in windows}
    return Evidence(
        stretches=tuple(of(ArmSum.Scope.STRETCH, by_stretch[stretch]) for stretch in sorted(by_stretch)),
        window=of(ArmSum.Scope.WINDOW, windows[-1]),
        window_number=windows[-1].number,
    )


def call_totals() -> Iterator[tuple[TotalKey, Total]]:
    """All calls ever, by kind."""
    for row in CallTotal.objects.filter(deleted=False).order_by("pk"):
        yield TotalKey(**{name: getattr(row, name) for name in TotalKey._fields}), Total.from_json(row.sums)


def _windows(rollout: str, run: int) -> list[Window]:
    """The first of each stretch, and the newest of all: a run has another one for each 2,000 requests."""
    found = select(_WINDOWS, [rollout, run, rollout, run], Window, using=router.db_for_read(Window))
    return [window for (window,) in found]


def _arms(rollout: str, run: int, bins: Sequence[BinsName]) -> Iterator[tuple[str, int, str, ArmSums]]:
    """Scope, stretch, arm and sums, with these histograms."""
    statement = _ARMS.format("".join(f", {name}" for name in bins))
    rows = fetch(statement, [rollout, run], using=router.db_for_read(ArmSum), as_bytes=True)
    for scope, stretch, arm, numbers, *packed in rows:
        histograms: Histograms = {name: Packed(bytes(rows)) for name, rows in zip(bins, packed, strict=True)}
        yield scope, stretch, arm, ArmSums(numbers=whole_numbers(numbers), bins=histograms)
