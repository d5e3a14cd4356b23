"""From the roll-ups to a decision, and the decisions that were reached. Part of rollout's services; told the time."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from metrics import reading
from metrics.arms import ArmSums, BinsName
from metrics.reading import StretchSums, UpTo
from metrics.sums import MICRO, PICO
from rollout import words
from rollout.criteria import MeasureName
from rollout.decisions import Config, Decider, Decision
from rollout.evidence import Arm, Measure, Snapshot, StageSums
from rollout.glance import Glance, Kept, newest_kept
from rollout.models import Evaluation, Rollout
from rollout.notices import notify_decision

logger = logging.getLogger(__name__)

_BINS: Mapping[MeasureName, BinsName] = {"ttft": "ttft_bins", "latency": "latency_bins"}


def decide_on(rollout: Rollout, *, now: datetime, glance: Glance | None = None) -> Decision:
    """What the present run's sums say, by the rollout's own margins; ``glance``: what was read of it already."""
    config = config_of(rollout)
    seen = UpTo(rollout=rollout.name, until=now) if glance is None else glance.seen
    kept = newest_kept(rollout.name) if glance is None else glance.kept
    today = seen.requests(since=now - timedelta(days=1))
    return Decider(config).decide(_snapshot(rollout, config.p95_measure, today, _srm_peak(rollout, kept)))


def config_of(rollout: Rollout) -> Config:
    """A rollout's margins as the decision takes them."""
    measures: Mapping[str, MeasureName] = {"ttft": "ttft", "latency": "latency"}
    return Config(
        errors=float(rollout.max_error_increase) / 100,
        latency=float(rollout.latency_margin) / 100,
        p95_latency=float(rollout.p95_margin) / 100,
        cost=float(rollout.min_cost_reduction) / 100,
        satisfaction=float(rollout.satisfaction_margin),
        watch_only=frozenset(rollout.watch_only),
        signals=frozenset(rollout.signals),
        latency_measure=measures[rollout.latency_measure],
        p95_measure=measures[rollout.p95_measure],
        min_sample=rollout.min_sample,
        latency_target_ms=float(rollout.latency_target_ms),
    )


def evaluate(rollout: Rollout, *, now: datetime) -> Decision:
    """Decide on an open rollout and keep it; a decision that repeats only renews its last row."""
    decision = decide_on(rollout, now=now)
    _keep(rollout, decision, now)
    return decision


def newest_evaluation(rollout: Rollout, decision: Decision) -> Evaluation | None:
    """What is kept of this decision, of the present run and percentage; ``None`` where that is not kept yet."""
    last = Evaluation.objects.filter(rollout=rollout.name).first()
    return last if last is not None and _is_same(last, rollout, decision) else None


def evidence_of(decision: Decision) -> list[dict[str, Any]]:
    """Each criterion's figures as JSON values, with its words."""
    return [
        {
            **asdict(criterion),
            "requests": criterion.requests._asdict(),
            "people": criterion.people._asdict(),
            "title": words.criterion_title(criterion.name),
            "words": words.criterion_in_words(criterion),
        }
        for criterion in decision.criteria
    ]


def figures_of(decision: Decision) -> dict[str, Any]:
    """``verdict`` and ``criteria``, as a history and a notice have them."""
    return {"verdict": decision.verdict, "criteria": evidence_of(decision)}


def _keep(rollout: Rollout, decision: Decision, now: datetime) -> None:
    reached = {
        "reason": words.reason(decision),
        "evidence": {
            "run": rollout.run,
            "srm_peak": decision.srm_peak,
            "srm": decision.srm,
            "criteria": evidence_of(decision),
        },
        "last_at": now,
    }
    last = Evaluation.objects.filter(rollout=rollout.name).first()
    if last is not None and _is_same(last, rollout, decision):
        for field, value in reached.items():
            setattr(last, field, value)
        last.save(update_fields=list(reached))
        return
    logger.info("Decision: %s", decision.verdict, extra={"rollout": rollout.name, "why": reached["reason"]})
    with transaction.atomic():
        made = Evaluation.objects.create(
            rollout=rollout.name, verdict=decision.verdict, percent=rollout.percent, first_at=now, **reached
        )
        if last is None or last.verdict != made.verdict:
            notify_decision(
                rollout,
                number=made.pk,
                before="" if last is None else last.verdict,
                reason=words.reason(decision),
                figures=figures_of(decision),
                now=now,
            )


def _is_same(last: Evaluation, rollout: Rollout, decision: Decision) -> bool:
    kept = (last.verdict, last.percent, last.evidence.get("run"))
    return kept == (decision.verdict, rollout.percent, rollout.run)


def _snapshot(rollout: Rollout, slow: MeasureName, today: Mapping[str, int], srm_peak: float) -> Snapshot:
    # Bins of the one measure whose slowest twentieth is judged: they are most of what there is to read.
    found = reading.evidence(rollout=rollout.name, run=rollout.run, bins=[_BINS[slow]])
    return Snapshot(
        stages=[_stage(stretch) for stretch in found.stretches],
        window=None if found.window is None else _stage(found.window),
        window_number=found.window_number,
        srm_peak=srm_peak,
        candidate_per_day=today.get("candidate") or None,
        baseline_per_day=today.get("baseline") or None,
    )


def _srm_peak(rollout: Rollout, kept: Kept | None) -> float:
    """The largest evidence of a wrong split that was seen in this run."""
    return float(kept.srm_peak or 0) if kept is not None and kept.run == rollout.run else 0.0


def _stage(stretch: StretchSums) -> StageSums:
    return StageSums(
        percent=float(stretch.percent),
        baseline=_arm(stretch.baseline),
        candidate=_arm(stretch.candidate),
        baseline_people=stretch.baseline.total("people"),
        candidate_people=stretch.candidate.total("people"),
    )


def _arm(sums: ArmSums) -> Arm:
    return Arm(
        n=sums.each("n"),
        errors=sums.each("errors"),
        ttft=_measure(sums, "ttft"),
        latency=_measure(sums, "latency"),
        cost_n=sums.each("cost_n"),
        sum_cost=[cost / PICO for cost in sums.each("sum_cost")],
        rating_n=sums.each("rating_n"),
        rating_sum=sums.each("rating_sum"),
    )


def _measure(sums: ArmSums, name: MeasureName) -> Measure:
    return Measure(
        n=sums.each(f"{name}_n"),
        sum_log=[log / MICRO for log in sums.each(f"sum_log_{name}")],
        bins=sums.bins.get(_BINS[name], {}),
    )
