"""A ramp as text for a terminal. Knows ``rollout.schedule`` and Django's terminal styles; asks nobody for figures."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from django.core.management.color import no_style
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from rollout import ramp_words, words
from rollout.models import RolloutChange
from rollout.schedule import Schedule
from rollout.text import columns, page
from rollout.words import percentage


def schedule_text(found: Schedule, standing: str, style: Any = None) -> str:
    """The ramp by week, where the rollout stands (in a sentence), what comes next and what it waits for."""
    style = style or no_style()
    days = accumulate((stage.min_days for stage in found.stages), initial=0)
    rows = [
        (
            _("Week %(n)d") % {"n": before // 7 + 1},
            percentage(stage.percent),
            ngettext(
                "at least %(days)d day, %(n)d requests and %(people)d people an arm",
                "at least %(days)d days, %(n)d requests and %(people)d people an arm",
                stage.min_days,
            )
            % {"days": stage.min_days, "n": stage.min_sample, "people": stage.min_people},
            _("needs approval") if stage.needs_approval else "",
        )
        for stage, before in zip(found.stages, days, strict=False)
    ]
    lines = [
        style.SUCCESS(f"→ {line}".rstrip()) if found.stage == stage else f"  {line}"
        for stage, line in zip(found.stages, columns(rows), strict=True)
    ]
    percents = " → ".join(percentage(stage.percent) for stage in found.stages)
    return page(style, (_("SCHEDULE"), [percents, "", *lines, "", standing, _since(found), *_next(found, style)]))


def history_text(lines: Sequence[RolloutChange], style: Any = None) -> str:
    """Changes, newest first, each with the number by which ``rollout undo`` takes it."""
    style = style or no_style()
    said = []
    for line in lines:
        approved = _(", approved by %(who)s") % {"who": line.approved_by} if line.approved_by else ""
        at = line.changed_at.strftime("%Y-%m-%d %H:%M UTC")
        said.append(f"{line.pk}  {at}  {line.actor} ({line.get_source_display()}){approved}")
        said += [f"    {label}: {old} → {new}" for label, old, new in words.change_in_words(line.changes)]
        said += [f"    {line.why}"] if line.why else []
    return page(style, (_("HISTORY"), said or [_("No changes yet.")]))


def _since(found: Schedule) -> str:
    days = (found.now - found.since).days
    return ngettext("It has been so for %(days)d day.", "It has been so for %(days)d days.", days) % {"days": days}


def _next(found: Schedule, style: Any) -> list[str]:
    state = _("The ramp is %(state)s. %(mode)s.") % {
        "state": ramp_words.ramp_state(found.ramp.state),
        "mode": found.rollout.get_ramp_mode_display(),
    }
    said = [state]
    if found.next_percent is not None and found.earliest is not None:
        at = formats.date_format(timezone.localtime(found.earliest), "DATETIME_FORMAT")
        said.append(
            _("Next is %(percent)s, %(at)s at the earliest.") % {"percent": percentage(found.next_percent), "at": at}
        )
    if found.step is not None:
        said.append(found.step.reason)
    if found.is_stale:
        said.append(style.WARNING(_("The autopilot has not looked lately: are a Celery worker and beat running?")))
    if found.proposals:
        n = len(found.proposals)
        waits = ngettext("%(n)d change waits for a second person.", "%(n)d changes wait for a second person.", n)
        said.append(waits % {"n": n})
    return said
