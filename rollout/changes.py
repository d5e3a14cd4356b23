"""The one way to change a rollout. Admin, API, command line and autopilot all come through here.

Part of rollout's services: locks, validates, applies all or nothing, and writes the history. What can be changed, and
how it gets into the rows, is ``rollout.steering``'s; what a verb changes is ``rollout.ramp``'s.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from rollout import ramp
from rollout.actors import AUTOPILOT, Actor
from rollout.defaults import RAMP, START_PERCENT
from rollout.models import Evaluation, Proposal, RampState, Rollout, RolloutChange
from rollout.proposals import propose, takes_two
from rollout.ramp import Verb
from rollout.refusals import ChangeRefused, ChangeWaits, RolloutNotFound, VerbRefused, VersionConflict, not_found
from rollout.sharing import Splits, lock_baseline, moved, splits_of
from rollout.steering import STANDING, STEERING, apply, as_changes, describe, parse_percent, ramp_of, refuse_unknown

__all__ = [
    "AUTOPILOT",
    "RESET",
    "Actor",
    "ChangeRefused",
    "ChangeWaits",
    "RolloutNotFound",
    "VerbRefused",
    "VersionConflict",
    "act",
    "change_rollout",
    "changed_since",
    "create_rollout",
    "decide_proposal",
    "get_rollout",
    "parse_percent",
    "revert",
]

# A rollout's name is part of each person's hash, of log lines and of commands.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

# Back to the beginning of the ramp.
RESET: Mapping[str, Any] = {"enabled": True, "forced": False, "percent": START_PERCENT}


def change_rollout(
    name: str,
    changes: Mapping[str, Any],
    *,
    actor: Actor,
    why: str = "",
    expected_version: int | None = None,
    now: datetime | None = None,
) -> Rollout:
    """Apply ``changes`` to a rollout, all or none, and add a line to its history.

    ``changes`` may hold: ``enabled`` (bool), ``forced`` (bool, everyone gets the candidate),
    ``percent`` (see ``parse_percent``), ``priority`` (int, lower goes first), ``superusers``, ``staff`` (bool),
    ``languages``, ``note`` (str), the criteria fields, ``ramp_mode``, ``second_pair_above`` (a percentage or ``None``),
    ``users``, ``groups`` (whole sets), ``stages`` (the whole ramp: dicts of percent, min_days, min_sample, min_people,
    needs_approval) and ``rerandomise`` (True: a new salt). A stop always wins: disabling ends a force. Steering an
    automatic ramp by hand pauses it. Nothing to change leaves no line. Open rollouts of the same baseline whose
    expected split moves with it begin a stretch and get a line too.

    Raises ChangeRefused, RolloutNotFound, VersionConflict; ChangeWaits where a second person must approve it first.
    """
    refuse_unknown(changes)
    return _change(name, lambda rollout: changes, actor=actor, why=why, expected_version=expected_version, now=now)


def act(
    name: str,
    verb: Verb,
    *,
    actor: Actor,
    why: str = "",
    evidence: Mapping[str, Any] | None = None,
    expected_version: int | None = None,
    now: datetime | None = None,
) -> Rollout:
    """Take the ramp a step: one of ``rollout.ramp.VERBS``, planned under the rollout's lock. See ``change_rollout``.

    ``evidence`` are the figures that it is done for; without them the last decision's are kept. Raises VerbRefused
    besides, where the verb does not fit.
    """

    def changes(rollout: Rollout) -> Mapping[str, Any]:
        try:
            # What a person approves is what the autopilot may do then.
            return ramp.plan(ramp_of(rollout, by_autopilot=actor == AUTOPILOT or verb == "approve"), verb)
        except ramp.VerbRefused as refused:
            raise VerbRefused(why=refused.why, verb=verb, state=rollout.ramp_state) from None

    return _change(name, changes, actor=actor, why=why, evidence=evidence, expected_version=expected_version, now=now)


def revert(change_id: int, *, actor: Actor, why: str = "", now: datetime | None = None) -> Rollout:
    """Bring a rollout back to how it stood right before a line of its history. That is a change like any other.

    Where the ramp stands follows from it, as after any change by hand. Raises ChangeRefused, also for a first line.
    """
    line = RolloutChange.objects.filter(pk=change_id).first()
    if line is None:
        raise RolloutNotFound(_("There is no such change."), code="not_found")
    since = RolloutChange.objects.filter(rollout=line.rollout, pk__gte=line.pk).order_by("-pk")

    def changes(rollout: Rollout) -> Mapping[str, Any]:
        before: dict[str, Any] = {}
        for later in since:
            before.update({field: old for field, (old, _new) in later.changes.items()})
        if "baseline" in before:
            raise ChangeRefused(_("Before this change there was no rollout to go back to."))
        state = describe(rollout)
        kept = ("ramp_state", "approved_percent")
        return as_changes({field: old for field, old in before.items() if field in state and field not in kept})

    return _change(line.rollout, changes, actor=actor, why=why, now=now)


def decide_proposal(
    proposal_id: int, *, accept: bool, actor: Actor, why: str = "", now: datetime | None = None
) -> Rollout:
    """A second person accepts or refuses what waits for one. Returns the rollout as it is then.

    Raises ChangeRefused: it is no longer open, its proposer may refuse but not accept it, or the rollout was changed
    since; in the last case it waits no longer.
    """
    at = now or timezone.now()
    with transaction.atomic():
        asked = Proposal.objects.filter(pk=proposal_id).first()
        if asked is not None:
            # Rollouts first, as every change does: two that wait for each other would otherwise do so in a ring.
            lock_baseline(get_rollout(asked.rollout).baseline)
        proposal = Proposal.objects.select_for_update().filter(pk=proposal_id).first()
        if proposal is None or proposal.state != Proposal.State.OPEN:
            raise ChangeRefused(_("This proposal is no longer open."), code="not_open")
        if accept and actor.is_same_as(proposal.actor, proposal.user_id):
            raise ChangeRefused(_("Who proposes a change can't approve it."), code="own_proposal")
        proposal.decided_by, proposal.decided_at = actor.name, at
        proposal.state = Proposal.State.ACCEPTED if accept else Proposal.State.REFUSED
        proposal.save()
        if not accept:
            return get_rollout(proposal.rollout)
        new = {field: new for field, (_old, new) in proposal.changes.items()}
        try:
            return _change(
                proposal.rollout,
                lambda rollout: as_changes(new),
                actor=Actor(name=proposal.actor, source=proposal.source, user_id=proposal.user_id),
                why=proposal.why or why,
                approved_by=actor.name,
                expected_version=proposal.version,
                now=at,
            )
        except VersionConflict as conflict:
            outdated = conflict
            proposal.state = Proposal.State.OUTDATED
            proposal.save()
    raise outdated


def create_rollout(
    name: str,
    *,
    baseline: str,
    candidate: str,
    changes: Mapping[str, Any],
    actor: Actor,
    why: str = "",
    now: datetime | None = None,
) -> Rollout:
    """Make a rollout from the model key ``baseline`` to ``candidate``, and begin its history.

    ``changes`` says how it starts, as in ``change_rollout``; without ``stages`` it gets the guide's ramp. Raises
    ChangeRefused, also for a name that is taken or a model key that is not in the catalogue.
    """
    refuse_unknown(changes)
    if not _NAME.fullmatch(name):
        raise ChangeRefused(
            _("A name begins with a letter or digit and goes on with letters, digits, hyphens or underscores."),
            field="name",
        )
    for field, key in (("baseline", baseline), ("candidate", candidate)):
        if key not in settings.CHAT_MODELS:
            raise ChangeRefused(_("There is no model of that key."), field=field)
    # It has never run, so that one that starts off has not been rolled back either.
    rollout = Rollout(
        name=name, baseline=baseline, candidate=candidate, version=0, everyone=False, ramp_state=RampState.PENDING
    )
    at = now or timezone.now()
    with transaction.atomic():
        neighbours = lock_baseline(baseline)
        splits = splits_of(neighbours)
        apply(rollout, {"enabled": True, "stages": RAMP, **changes})
        start = {"baseline": baseline, "candidate": candidate, **describe(rollout)}
        diff = {field: [None, value] for field, value in start.items()}
        _shift(rollout, splits, [*neighbours, rollout], actor=actor, at=at)
        _record(rollout, diff, actor=actor, why=why, at=at)
    return rollout


def get_rollout(name: str, among: "QuerySet[Rollout] | None" = None) -> Rollout:
    """The rollout of that name. Raises RolloutNotFound."""
    rollout = (Rollout.objects.all() if among is None else among).filter(name=name).first()
    if rollout is None:
        raise not_found(name)
    return rollout


def changed_since(name: str, version: int) -> dict[str, list[Any]]:
    """What was changed since that version: ``{"field": [value then, value now]}``."""
    found: dict[str, list[Any]] = {}
    for line in RolloutChange.objects.filter(rollout=name, version__gt=version).order_by("version"):
        for field, (old, new) in line.changes.items():
            found[field] = [found.get(field, [old])[0], new]
    return {field: pair for field, pair in found.items() if pair[0] != pair[1]}


def _change(
    name: str,
    plan: Callable[[Rollout], Mapping[str, Any]],
    *,
    actor: Actor,
    why: str = "",
    evidence: Mapping[str, Any] | None = None,
    approved_by: str = "",
    expected_version: int | None = None,
    now: datetime | None = None,
) -> Rollout:
    at = now or timezone.now()
    with transaction.atomic():
        neighbours = lock_baseline(get_rollout(name).baseline)
        rollout = next(row for row in neighbours if row.name == name)
        if expected_version is not None and rollout.version != expected_version:
            raise VersionConflict(changed_since(name, expected_version))
        version, before, splits = rollout.version, describe(rollout), splits_of(neighbours)
        changes = plan(rollout)
        with transaction.atomic():
            apply(rollout, changes)
            after = describe(rollout)
            diff = {field: [before[field], after[field]] for field in after if before[field] != after[field]}
            waits = not approved_by and actor != AUTOPILOT and takes_two(before, after)
            if waits or not diff:
                transaction.set_rollback(True)
            else:
                shift = _shift(rollout, splits, neighbours, actor=actor, at=at)
                if not set(STEERING) & diff.keys():
                    diff |= shift
                _advance(rollout, diff)
                _record(rollout, diff, actor=actor, why=why, evidence=evidence, approved_by=approved_by, at=at)
        proposal = propose(name, diff, version, actor=actor, why=why, at=at) if waits else None
    if proposal is not None:
        raise ChangeWaits(proposal.pk)
    return get_rollout(name)


def _advance(rollout: Rollout, diff: Mapping[str, Sequence[Any]]) -> None:
    """Another share begins a stretch; a start, or people dealt anew, begins a run, where older figures don't count."""
    starts = diff.get("enabled") == [False, True] or diff.get("ramp_state") == ["completed", "running"]
    if not starts and not set(STANDING) & diff.keys():
        return
    rollout.stretch += 1
    if "salt" in diff or starts:
        rollout.run += 1
    rollout.save(update_fields=["run", "stretch"])


def _shift(
    rollout: Rollout, before: Splits, neighbours: Sequence[Rollout], *, actor: Actor, at: datetime
) -> dict[str, list[str]]:
    """What a change of ``rollout`` does to the expected splits: other ones begin a stretch and get a line of history;
    its own move is given back, as that line would have it.
    """
    splits = moved(before, splits_of(neighbours))
    own = splits.pop(rollout.name, None)
    why = _("Follows from a change of %(rollout)s.") % {"rollout": rollout.name}
    for neighbour in neighbours:
        if neighbour.name in splits:
            diff = {"split": splits[neighbour.name]}
            _advance(neighbour, diff)
            _record(neighbour, diff, actor=actor, why=why, at=at)
    return {} if own is None else {"split": own}


def _record(
    rollout: Rollout,
    diff: dict[str, Any],
    *,
    actor: Actor,
    why: str,
    evidence: Mapping[str, Any] | None = None,
    approved_by: str = "",
    at: datetime,
) -> None:
    RolloutChange.objects.create(
        rollout=rollout.name,
        version=rollout.version,
        changed_at=at,
        changed_by_id=actor.user_id,
        actor=actor.name,
        approved_by=approved_by,
        source=actor.source,
        changes=diff,
        evidence=_last_decision(rollout.name) if evidence is None else dict(evidence),
        why=Truncator(why).chars(500),
    )


def _last_decision(name: str) -> dict[str, Any]:
    """The figures at this moment, as they were last looked at; reading them costs a stop nothing."""
    last = Evaluation.objects.filter(rollout=name).first()
    if last is None:
        return {}
    return {"verdict": last.verdict, "as_of": last.last_at.isoformat(), "criteria": last.evidence.get("criteria", [])}
