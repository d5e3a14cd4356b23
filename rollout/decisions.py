"""Sums in, decision out: GO, HOLD, ROLLBACK or NOT_ENOUGH_DATA, always with its evidence.

The method is anytime-valid: it may be looked at each minute, and people, not requests, are the sampling unit. Order:
harm, split, worse than the baseline, go, wait. Knows numbers only: no Django, no clock, no storage, no words; the words
for each code are in ``rollout.words``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from metrics.stats import e_value_margin, log_e_value, log_srm_e_value, log_sum, mixture_rho
from rollout import criteria as measured
from rollout.criteria import Finding, MeasureName, PerArm
from rollout.evidence import Snapshot, StageSums

VerdictName = Literal["GO", "HOLD", "ROLLBACK", "NOT_ENOUGH_DATA"]
CriterionName = Literal["errors", "latency", "p95_latency", "cost", "satisfaction"]
StateName = Literal["inside", "harm", "unproven", "not_measured", "waived"]

CRITERIA: tuple[CriterionName, ...] = ("errors", "latency", "p95_latency", "cost", "satisfaction")

# How much each criterion has to say when harm is weighed.
HARM_WEIGHTS: Mapping[CriterionName, float] = {
    "errors": 0.40,
    "latency": 0.30,
    "p95_latency": 0.15,
    "satisfaction": 0.10,
    "cost": 0.05,
}
WORSE: tuple[CriterionName, ...] = ("errors", "latency", "satisfaction")
# The distance from the margin, on each criterion's own scale, that should be seen fast.
HARM_DISTANCE: Mapping[CriterionName, float] = {
    "errors": 0.04,
    "latency": math.log(1.3 / 1.1),
    "p95_latency": 0.05,
    "cost": 0.3,
    "satisfaction": 0.3,
}
INSIDE_DISTANCE: Mapping[CriterionName, float] = {
    "errors": 0.02,
    "latency": math.log(1.1),
    "p95_latency": 0.02,
    "cost": 0.5,
    "satisfaction": 0.2,
}
# How much of α goes to the whole run; the rest to the windows.
WHOLE_SHARE = 0.6
SRM_LIMIT = 100.0
MIN_PEOPLE = 20
MIN_CALLS = 50
# Beyond this many times today's sample nobody can tell.
LONGEST_WAIT = 1000.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a candidate must keep to. Each margin is how much worse it may be before that is harm.

    ``errors`` is a share (.02 is two points), ``latency`` and ``p95_latency`` are relative (.10 is 10 % slower),
    ``cost`` is the share that must be saved at least (.20; less than 1), ``satisfaction`` points of a rating of 1 to 5.
    All must be above 0, but ``cost`` may be 0. ``watch_only`` criteria are measured and decide nothing; ``signals``
    hold where they are proven to be outside, and all others, the guardrails, turn back. ``min_sample`` is requests an
    arm (never fewer than 50); ``latency_target_ms`` serves where no baseline has any traffic.
    """

    errors: float = 0.02
    latency: float = 0.10
    p95_latency: float = 0.15
    cost: float = 0.20
    satisfaction: float = 0.2
    watch_only: frozenset[CriterionName] = frozenset()
    signals: frozenset[CriterionName] = frozenset()
    latency_measure: MeasureName = "ttft"
    p95_measure: MeasureName = "ttft"
    min_sample: int = MIN_CALLS
    latency_target_ms: float = 140.0
    alpha: float = 0.05

    def __post_init__(self) -> None:
        positive = (self.errors, self.latency, self.p95_latency, self.satisfaction, self.latency_target_ms)
        if not all(math.isfinite(value) and value > 0 for value in positive) or not 0 <= self.cost < 1:
            raise ValueError("margins must be positive and finite, cost from 0 to below 1")
        if not 0 < self.alpha < 0.5:
            raise ValueError("alpha must lie between 0 and 0.5")


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One criterion's evidence.

    ``estimate``, its interval ``low`` to ``high`` and ``margin`` are in units for people: errors: candidate minus
    baseline in points of 100; latency: the candidate slower by this many percent; p95_latency: this many points of
    requests more than 5 of 100 lie beyond the limit, margin 0; cost: percent saved, more is better; satisfaction: the
    baseline's mean rating minus the candidate's. ``e_harm``, ``e_worse`` and ``e_inside`` are ln of the evidence for
    "beyond the margin", "worse than the baseline" and "inside the margin"; ln 20 proves it, at α = .05. ``None`` is
    "not measured". ``more_calls`` is how many more requests in both arms would prove "inside" if the estimate stays,
    ``days`` how long they take at today's traffic.
    """

    name: CriterionName
    state: StateName
    margin: float
    requests: PerArm
    people: PerArm
    watch_only: bool = False
    is_signal: bool = False
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    e_harm: float | None = None
    e_worse: float | None = None
    e_inside: float | None = None
    more_calls: int | None = None
    days: float | None = None

    @property
    def passed(self) -> bool | None:
        """True where it is proven to be inside the margin, False where it is proven not to be."""
        return {"inside": True, "harm": False}.get(self.state)

    @property
    def decides(self) -> bool:
        """Whether it has a say."""
        return not self.watch_only and self.state != "waived"


Missing = Literal["candidate_requests", "baseline_requests", "candidate_people", "baseline_people"]


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """A minimum that is not reached: how many there are, how many are needed, and how long that takes now."""

    what: Missing
    have: int
    need: int
    days: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The verdict with all that it rests on.

    ``harm``: whether the guardrails together prove it; ``signalled``: whether the signals do, which only holds;
    ``worse``: whether the criteria together prove that the candidate is worse than the baseline;
    ``slower_than_target``: the same of the latency target, where there never was a baseline;
    ``window_inside``: whether the newest window's estimates are inside too, ``None`` while it says nothing yet.
    ``srm``: people did not come to the arms as the percentage says; ``srm_e`` is ln of its evidence now, ``srm_peak``
    the largest so far (hand it to the next snapshot). ``no_concurrent_baseline``: the present stage has one arm only.
    """

    verdict: VerdictName
    criteria: tuple[Criterion, ...]
    missing: tuple[Shortfall, ...] = field(default=())
    harm: bool = False
    signalled: bool = False
    worse: bool = False
    slower_than_target: bool = False
    window_inside: bool | None = None
    srm: bool = False
    srm_e: float = 0.0
    srm_peak: float = 0.0
    no_concurrent_baseline: bool = False


class Decider:
    """Decides from sums, as often as one likes.

    ``Decider(Config(...)).decide(snapshot)`` takes a ``rollout.evidence.Snapshot``: the run's stages (stretches of
    constant percentage), oldest first, each with the sums of both arms in 128 clusters of people side by side
    (``rollout.evidence.Arm``; a cluster is a hash of the person, so one person's calls all lie in one), and the sums
    since the last restart of the evidence (``window``). ``rollout.evidence.Stream`` makes snapshots from single calls.
    It keeps nothing between calls: ``Decision.srm_peak`` goes into the next snapshot's ``srm_peak``.

    >>> from rollout.evidence import Stream
    >>> stream = Stream()
    >>> stream.begin_stage(percent=50)
    >>> for number in range(4000):
    ...     stream.add(
    ...         person=str(number % 400), arm="candidate" if number % 2 else "baseline",
    ...         ttft_ms=100 + number % 7, latency_ms=900, cost=0.001 if number % 2 else 0.01,
    ...     )
    >>> Decider(Config()).decide(stream.snapshot()).verdict
    'GO'
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    def decide(self, snapshot: Snapshot) -> Decision:
        """Everything is looked at each time; ValueError for sums that are not finite."""
        people, requests = measured.people(snapshot.stages), measured.requests(snapshot.stages)
        enough = min(people) >= MIN_PEOPLE and min(requests) >= MIN_CALLS
        findings = self._findings(snapshot.stages) if enough else {}
        window = () if snapshot.window is None else (snapshot.window,)
        in_window = self._findings(window) if enough and min(measured.requests(window)) >= MIN_CALLS else {}
        criteria = tuple(self._criterion(name, findings.get(name), snapshot, people) for name in CRITERIA)
        srm_e = sum(
            log_srm_e_value(stage.candidate_people, stage.baseline_people, stage.percent / 100)
            for stage in snapshot.stages
        )
        srm_peak = max(srm_e, snapshot.srm_peak)
        guardrails, signals = (
            [name for name in CRITERIA if (name in self.config.signals) is signal] for signal in (False, True)
        )
        evidence = Decision(
            verdict="NOT_ENOUGH_DATA",
            criteria=criteria,
            missing=tuple(self._missing(snapshot, requests, people)),
            harm=self._proven(findings, in_window, snapshot.window_number, guardrails, at_zero=False),
            signalled=self._proven(findings, in_window, snapshot.window_number, signals, at_zero=False),
            worse=self._proven(findings, in_window, snapshot.window_number, WORSE, at_zero=True),
            slower_than_target=self._slower_than_target(snapshot),
            window_inside=self._window_inside(in_window),
            srm=srm_peak >= math.log(SRM_LIMIT),
            srm_e=srm_e,
            srm_peak=srm_peak,
            no_concurrent_baseline=bool(snapshot.stages) and not measured.both_arms(snapshot.stages[-1]),
        )
        return replace(evidence, verdict=_verdict(evidence))

    def _findings(self, stages: Sequence[StageSums]) -> dict[CriterionName, Finding]:
        config = self.config
        found: dict[CriterionName, Finding | None] = {
            "errors": measured.errors(stages, config.errors),
            "latency": measured.latency(stages, config.latency, config.latency_measure),
            "p95_latency": measured.p95_latency(stages, config.p95_latency, config.p95_measure),
            "cost": measured.cost(stages, config.cost),
            "satisfaction": measured.satisfaction(stages, config.satisfaction),
        }
        return {name: finding for name, finding in found.items() if finding is not None}

    def _rho(self, distances: Mapping[CriterionName, float], name: CriterionName) -> float:
        return mixture_rho(distances[name], self.config.alpha)

    def _proven(
        self,
        findings: Mapping[CriterionName, Finding],
        in_window: Mapping[CriterionName, Finding],
        window_number: int,
        among: Sequence[CriterionName],
        *,
        at_zero: bool,
    ) -> bool:
        """Whether the criteria together prove it, over the whole run or in the newest window."""
        alpha = self.config.alpha
        of_window = (1 - WHOLE_SHARE) * alpha * 6 / (math.pi**2 * (window_number + 1) ** 2)
        return any(
            self._log_evidence(found, among, at_zero=at_zero) >= -math.log(level)
            for found, level in ((findings, WHOLE_SHARE * alpha), (in_window, of_window))
        )

    def _log_evidence(
        self, findings: Mapping[CriterionName, Finding], among: Sequence[CriterionName], *, at_zero: bool
    ) -> float:
        """ln Σ w·e. A criterion without data has e = 1: it has bet nothing yet."""
        deciding = [name for name in among if name not in self.config.watch_only]
        whole = sum(HARM_WEIGHTS[name] for name in deciding)
        logs = []
        for name in deciding:
            log_e = 0.0
            if name in findings:
                found = findings[name]
                theta, variance = found[2:4] if at_zero else found[:2]
                log_e = log_e_value(theta, variance, self._rho(HARM_DISTANCE, name))
            logs.append(math.log(HARM_WEIGHTS[name] / whole) + log_e)
        return log_sum(logs)

    def _window_inside(self, in_window: Mapping[CriterionName, Finding]) -> bool | None:
        deciding = [found for name, found in in_window.items() if name not in self.config.watch_only]
        return all(found.theta < 0 for found in deciding) if deciding else None

    def _slower_than_target(self, snapshot: Snapshot) -> bool:
        """Only where no stage ever had a baseline: a fixed target knows nothing of the hour, so it only ever holds."""
        if any(measured.both_arms(stage) for stage in snapshot.stages):
            return False
        config = self.config
        n = sum(sum(stage.candidate.n) for stage in snapshot.stages)
        if n < MIN_CALLS or measured.people(snapshot.stages).candidate < MIN_PEOPLE:
            return False
        found = measured.against_target(
            snapshot.stages, config.latency_target_ms, config.latency, config.latency_measure
        )
        if found is None:
            return False
        log_e = log_e_value(found.theta, found.variance, self._rho(HARM_DISTANCE, "latency"))
        return log_e >= -math.log(config.alpha)

    def _criterion(self, name: CriterionName, found: Finding | None, snapshot: Snapshot, people: PerArm) -> Criterion:
        rated = name == "satisfaction"
        counts = measured.ratings(snapshot.stages) if rated else measured.requests(snapshot.stages)
        state: StateName = "waived" if rated else "not_measured"
        criterion = Criterion(
            name=name,
            state=state,
            margin=self._margin(name),
            requests=counts,
            people=people,
            watch_only=name in self.config.watch_only,
            is_signal=name in self.config.signals,
        )
        return criterion if found is None else replace(criterion, **self._evidence(name, found, snapshot))

    def _evidence(self, name: CriterionName, found: Finding, snapshot: Snapshot) -> dict[str, Any]:
        alpha = self.config.alpha
        rho_harm, rho_inside = self._rho(HARM_DISTANCE, name), self._rho(INSIDE_DISTANCE, name)
        harm = log_e_value(found.theta, found.variance, rho_harm)
        inside = log_e_value(-found.theta, found.variance, rho_inside)
        state: StateName = (
            "inside" if inside >= -math.log(alpha) else "harm" if harm >= -math.log(alpha) else "unproven"
        )
        low = found.theta - e_value_margin(found.variance, rho_harm, alpha)
        high = found.theta + e_value_margin(found.variance, rho_inside, alpha)
        bounds = sorted(self._in_units(name, value) for value in (low, high))
        more = None if state == "inside" else _more_calls(found, rho_inside, alpha)
        return {
            "state": state,
            "estimate": self._in_units(name, found.theta),
            "low": bounds[0],
            "high": bounds[1],
            "e_harm": harm,
            "e_worse": log_e_value(found.theta_at_zero, found.variance_at_zero, rho_harm),
            "e_inside": inside,
            "more_calls": more,
            "days": _days(more, snapshot),
        }

    def _margin(self, name: CriterionName) -> float:
        return 0.0 if name == "p95_latency" else self._in_units(name, 0.0)

    def _in_units(self, name: CriterionName, theta: float) -> float:
        """θ as people read it: see ``Criterion``."""
        config = self.config
        # Far outside nobody needs the digits, and exp must not overflow.
        theta = max(-20.0, min(20.0, theta))
        return {
            "errors": 100 * (theta + config.errors),
            "latency": 100 * math.expm1(theta + math.log1p(config.latency)),
            "p95_latency": 100 * theta,
            "cost": -100 * math.expm1(theta + math.log1p(-config.cost)),
            "satisfaction": theta + config.satisfaction,
        }[name]

    def _missing(self, snapshot: Snapshot, requests: PerArm, people: PerArm) -> list[Shortfall]:
        needed = max(self.config.min_sample, MIN_CALLS)
        wanted: tuple[tuple[Missing, int, int, float | None], ...] = (
            ("candidate_requests", requests.candidate, needed, snapshot.candidate_per_day),
            ("candidate_people", people.candidate, MIN_PEOPLE, None),
            ("baseline_requests", requests.baseline, needed, snapshot.baseline_per_day),
            ("baseline_people", people.baseline, MIN_PEOPLE, None),
        )
        return [
            Shortfall(what=what, have=have, need=need, days=(need - have) / per_day if per_day else None)
            for what, have, need, per_day in wanted
            if have < need
        ]


def _verdict(evidence: Decision) -> VerdictName:
    if evidence.harm:
        return "ROLLBACK"
    if evidence.srm or evidence.signalled or evidence.worse or evidence.slower_than_target:
        return "HOLD"
    if evidence.missing:
        return "NOT_ENOUGH_DATA"
    deciding = [criterion for criterion in evidence.criteria if criterion.decides]
    if any(criterion.state == "harm" for criterion in deciding):
        return "HOLD"
    proven = bool(deciding) and all(criterion.state == "inside" for criterion in deciding)
    return "GO" if proven and evidence.window_inside is not False else "NOT_ENOUGH_DATA"


def _more_calls(found: Finding, rho: float, alpha: float) -> int | None:
    """How many more calls prove "inside" if the estimate stays; ``None`` where nobody can wait for it."""
    wanted = -math.log(alpha)

    def proves(times: float) -> bool:
        return log_e_value(-found.theta, found.variance / times, rho) >= wanted

    if found.theta >= 0 or not proves(LONGEST_WAIT):
        return None
    low, high = 1.0, LONGEST_WAIT
    # To a ten-thousandth; people are told two digits.
    for _ in range(16):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if proves(middle) else (middle, high)
    return math.ceil((high - 1) * found.calls)


def _days(calls: int | None, snapshot: Snapshot) -> float | None:
    per_day = (snapshot.candidate_per_day or 0) + (snapshot.baseline_per_day or 0)
    return calls / per_day if calls is not None and per_day else None
