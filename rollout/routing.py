"""Whose request goes where, and why. Part of rollout's services, which hand these on.

Knows rollouts and the rules of ``rollout.layers``; of people it knows their unit and whether they are testers.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.utils.translation import gettext as _

from metrics.statements import columns, select
from rollout import words
from rollout.bucketing import ArmName, Reason, bucket
from rollout.changes import get_rollout
from rollout.layers import assign, split_of
from rollout.models import Rollout
from rollout.sharing import layer_of

logger = logging.getLogger(__name__)

# As long as a call keeps it.
MAX_UNIT_CHARS = 64


class Route(NamedTuple):
    """Where one request goes. ``rollout`` and ``arm`` are "" where no rollout has a say.

    ``percent`` is the expected split: of the people who count for the rollout, the part that gets its candidate.
    """

    requested_model: str
    assigned_model: str
    baseline_model: str
    rollout: str
    arm: ArmName | str
    reason: Reason
    percent: Decimal | None
    run: int
    stretch: int


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a rollout does with a unit that asks for its baseline.

    ``arm`` is "" where the unit counts for another rollout, which ``rollout`` then names; ``model`` is what the unit
    gets in the end. ``reason`` is a route's, or ``other_rollout`` (its candidate takes the unit) or ``other_control``.
    ``bucket`` (0 to 100) and ``percent`` are the asked rollout's own.
    """

    unit: str
    arm: ArmName | str
    model: str
    reason: str
    reason_in_words: str
    bucket: float
    percent: Decimal
    rollout: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """Who asks for what. ``user`` is the Django account behind the unit, ``None`` for a program's end user; it and
    ``language`` only serve to find testers.
    """

    requested_model: str
    unit: str
    user: Any = None
    language: str = ""


def route(*, requested_model: str, unit: str, user: Any = None, language: str = "") -> Route:
    """Decide which model answers a request, from the database's rows as they are now, in one query.

    See ``Question``.
    """
    return routes([Question(requested_model=requested_model, unit=unit, user=user, language=language)])[0]


def routes(questions: Iterable[Question]) -> list[Route]:
    """The same for several requests at once, in order: one query for each model and account among them."""
    read = cache(_asked)
    return [
        _decide(question, *read(question.requested_model, None if question.user is None else question.user.pk))
        for question in questions
    ]


def _decide(question: Question, rows: Sequence[Rollout], wish: str) -> Route:
    requested_model = question.requested_model
    if not rows:
        return Route(
            requested_model=requested_model,
            assigned_model=requested_model,
            baseline_model=requested_model,
            rollout="",
            arm="",
            reason="not_in_rollout",
            percent=None,
            run=0,
            stretch=0,
        )
    testers = {row.name for row in rows if _is_tester(row, question.user, question.language)}
    layers = [layer_of(row) for row in rows]
    assignment = assign(layers, unit=question.unit, testers=testers, wish=wish)
    rollout = next(row for row in rows if row.name == assignment.rollout)
    return Route(
        requested_model=requested_model,
        assigned_model=rollout.candidate if assignment.arm == "candidate" else rollout.baseline,
        baseline_model=rollout.baseline,
        rollout=rollout.name,
        arm=assignment.arm,
        reason=assignment.reason,
        percent=split_of(layers, rollout.name) if rollout.is_on else rollout.percent,
        run=rollout.run,
        stretch=rollout.stretch,
    )


def explain(name: str, unit: str, *, user: Any = None, language: str = "") -> Explanation:
    """Which arm of a rollout a unit would get now, and why. Records nothing. Raises RolloutNotFound.

    ``user`` is the account behind the unit where there is one (see ``account_of``).
    """
    return explanation_of(get_rollout(name), unit, user=user, language=language)


def explanation_of(rollout: Rollout, unit: str, *, user: Any = None, language: str = "") -> Explanation:
    """The same, of a rollout that was read already."""
    found = route(requested_model=rollout.baseline, unit=unit, user=user, language=language)
    is_ours = found.rollout == rollout.name
    reason: str = found.reason
    if not rollout.is_on:
        reason = "disabled"
    elif not is_ours:
        reason = "other_rollout" if found.arm == "candidate" else "other_control"
    return Explanation(
        unit=unit,
        arm=found.arm if is_ours else "",
        model=found.assigned_model,
        reason=reason,
        reason_in_words=words.assignment_in_words(reason, arm=found.arm, counts_for=found.rollout),
        bucket=round(bucket(rollout=rollout.name, salt=rollout.salt, unit=unit), 4),
        percent=rollout.percent,
        rollout=found.rollout,
    )


class UnitRefused(ValueError):
    """Not a unit's name; the text says why."""


def parse_unit(given: object) -> str:
    """A unit's id as a program or a person gave it: text of 1 to 64 characters. Raises UnitRefused."""
    if not isinstance(given, str) or not 1 <= len(given) <= MAX_UNIT_CHARS:
        raise UnitRefused(_("A unit is a text of 1 to %(most)d characters.") % {"most": MAX_UNIT_CHARS})
    if not given.isprintable():
        raise UnitRefused(_("A unit has printable characters only."))
    return given


def account_of(unit: str) -> Any:
    """The account with that unit, or ``None``: programs bucket units of their own."""
    return accounts_of([unit]).get(unit)


def accounts_of(units: Collection[str]) -> dict[str, Any]:
    """The accounts among these units, by unit."""
    accounts: Any = get_user_model().objects
    return {account.unit: account for account in accounts.filter(unit__in=units)}


def find_unit(text: str) -> tuple[str, Any]:
    """The unit that a person means, by a unit's id or an account's name, with its account (``None`` for nobody's).

    Raises UnitRefused for what is neither.
    """
    accounts: Any = get_user_model().objects
    account = account_of(text) or accounts.filter(username__iexact=text).first()
    return (parse_unit(text), None) if account is None else (account.unit, account)


def log_route(route: Route, *, served_model: str, unit: str, call_id: object) -> None:
    """The one line an operator greps for: what was asked for, and which model is asked."""
    logger.info(
        "Model routing: %s → %s",
        route.requested_model,
        served_model,
        extra={"rollout": route.rollout, "reason": route.reason, "unit": unit, "call_id": call_id},
    )


@cache
def _asked_sql() -> str:
    """Asked for each request, and always the same: compiling it anew costs ten times what the database needs."""
    rollout: Any = Rollout
    named = {
        "columns": columns(rollout, "asked"),
        "rollout": rollout._meta.db_table,
        "users": rollout.users.through._meta.db_table,
        "groups": rollout.groups.through._meta.db_table,
        "members": get_user_model().groups.through._meta.db_table,
    }
    return """
        SELECT {columns},
            EXISTS (SELECT 1 FROM {users} named WHERE named.rollout_id = asked.id AND named.user_id = %s)
            OR EXISTS (
                SELECT 1 FROM {groups} named JOIN {members} member ON member.group_id = named.group_id
                WHERE named.rollout_id = asked.id AND member.user_id = %s
            ) AS names_user
        FROM {rollout} asked
        WHERE NOT asked.is_retired AND (
            asked.baseline = %s
            OR asked.baseline IN (
                SELECT wished.baseline FROM {rollout} wished WHERE wished.candidate = %s AND NOT wished.is_retired
            )
        )
    """.format(**named)  # noqa: S608


def _asked(model: str, account: int | None) -> tuple[Sequence[Rollout], str]:
    """All rollouts of the baseline that a request for ``model`` takes part in, in a single query, and the one whose
    candidate was asked for by that, or "". An open rollout goes before a closed one, a baseline before a candidate.
    """
    rows: list[Rollout] = []
    for row, names_user in select(_asked_sql(), [account, account, model, model], Rollout):
        row.names_user = bool(names_user)
        rows.append(row)
    first = min(
        (row for row in rows if model in (row.baseline, row.candidate)),
        key=lambda row: (not row.is_on, row.baseline != model, row.priority, row.name),
        default=None,
    )
    if first is None:
        return [], ""
    return [row for row in rows if row.baseline == first.baseline], first.name if first.candidate == model else ""


def _is_tester(rollout: Rollout, user: Any, language: str) -> bool:
    languages = {code.strip().lower() for code in rollout.languages.split(",") if code.strip()}
    if language and language.lower() in languages:
        return True
    if user is None:
        return False
    return bool(
        getattr(rollout, "names_user", False)
        or (rollout.superusers and user.is_superuser)
        or (rollout.staff and user.is_staff)
    )
