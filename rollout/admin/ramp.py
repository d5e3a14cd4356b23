"""The ramp's page: where it stands, what comes next, and the verbs as buttons. Thin: ``rollout.changes`` acts."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from metrics.read_only import ModelAdmin
from rollout import pilot, ramp_words, rights, services, words
from rollout.changes import Actor, ChangeRefused, ChangeWaits, act, decide_proposal, revert
from rollout.models import Proposal, Rollout, Source
from rollout.ramp import VERBS
from rollout.schedule import Schedule, schedule


class RampPages(ModelAdmin):
    """Gives a rollout's admin a page for its ramp. Who may see rollouts sees it; each button asks for its own right."""

    def get_urls(self) -> list[URLPattern]:
        """Before admin's own, the last of which takes every path."""
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/ramp/", view(self.ramp_view), name="rollout_rollout_ramp"),
            *super().get_urls(),
        ]

    def ramp_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show it, or do what a button says."""
        if not (self.has_view_permission(request) or rights.may_stop(request.user)):
            raise PermissionDenied
        rollout: Any = self.get_object(request, unquote(object_id))
        if rollout is None:
            raise Http404(_("There is no such rollout."))
        if request.method != "POST":
            return self._show_ramp(request, rollout)
        if "proposal" in request.POST:
            return self._decide(request, rollout)
        if "undo" in request.POST:
            return self._undo(request, rollout)
        return self._take(request, rollout)

    def _take(self, request: HttpRequest, rollout: Rollout) -> HttpResponse:
        verb = next((verb for verb in VERBS if verb == request.POST.get("verb")), None)
        version, why = request.POST.get("expected_version", ""), request.POST.get("why", "").strip()
        if verb is None or not (version.isascii() and version.isdigit() and len(version) < 10):
            return self._show_ramp(request, rollout, error=_("Choose one of the buttons."), status=400)
        if not rights.may_take(request.user, verb):
            raise PermissionDenied
        if verb == "roll_back" and not why:
            return self._show_ramp(request, rollout, error=_("Say why: it stands in the history."), why=why, status=400)
        try:
            act(
                rollout.name,
                verb,
                actor=Actor.of_account(request.user, Source.ADMIN),
                why=why,
                # A stop is never refused because somebody else was at it too.
                expected_version=None if verb == "roll_back" else int(version),
            )
        except ChangeWaits as waits:
            messages.warning(request, waits.message)
        except ChangeRefused as refused:
            return self._show_ramp(request, rollout, error=refused.message, why=why, status=409)
        else:
            self.log_change(request, rollout, [{"changed": {"name": "ramp", "object": verb}}])
            messages.success(request, _("Done: %(verb)s.") % {"verb": ramp_words.verb(verb)})
        return HttpResponseRedirect(request.path)

    def _undo(self, request: HttpRequest, rollout: Rollout) -> HttpResponse:
        """Go back to before a line of this rollout's history."""
        if not rights.may_change(request.user):
            raise PermissionDenied
        try:
            line = services.find_change(rollout.name, request.POST["undo"])
        except ChangeRefused as refused:
            raise Http404(refused.message) from None
        try:
            revert(
                line.pk,
                actor=Actor.of_account(request.user, Source.ADMIN),
                why=_("Back to before %(at)s") % {"at": _moment(line.changed_at)},
            )
        except ChangeWaits as waits:
            messages.warning(request, waits.message)
        except ChangeRefused as refused:
            return self._show_ramp(request, rollout, error=refused.message, status=409)
        else:
            messages.success(request, _("It is as it was before that change."))
        return HttpResponseRedirect(request.path)

    def _decide(self, request: HttpRequest, rollout: Rollout) -> HttpResponse:
        accept = request.POST.get("decide") == "accept"
        proposal = Proposal.objects.filter(rollout=rollout.name, pk=_number(request.POST["proposal"])).first()
        if proposal is None:
            raise Http404(_("There is no such proposal."))
        is_mine = Actor.of_account(request.user, Source.ADMIN).is_same_as(proposal.actor, proposal.user_id)
        if not (rights.may_approve(request.user) or (is_mine and not accept)):
            raise PermissionDenied
        try:
            decide_proposal(proposal.pk, accept=accept, actor=Actor.of_account(request.user, Source.ADMIN))
        except ChangeRefused as refused:
            return self._show_ramp(request, rollout, error=refused.message, status=409)
        messages.success(request, _("The change is made.") if accept else _("The proposal is refused."))
        return HttpResponseRedirect(request.path)

    def _show_ramp(
        self, request: HttpRequest, rollout: Rollout, *, error: str = "", why: str = "", status: int = 200
    ) -> HttpResponse:
        found = schedule(rollout.name, now=timezone.now())
        context = {
            **self.admin_site.each_context(request),
            "title": _("Ramp of %(rollout)s") % {"rollout": rollout.name},
            "opts": self.opts,
            "original": found.rollout,
            "found": found,
            "error": error,
            "why": why,
            "state": ramp_words.ramp_state(found.ramp.state),
            "percent": words.percentage(found.rollout.percent),
            "following": "" if found.next_percent is None else words.percentage(found.next_percent),
            "buttons": _buttons(request, found),
            "proposals": [(each, words.change_in_words(each.changes)) for each in found.proposals],
            "may_approve": rights.may_approve(request.user),
            "me": Actor.of_account(request.user, Source.ADMIN).name,
            "steps": pilot.steps(rollout.name),
            "history": [(line, words.change_in_words(line.changes)) for line in services.history(rollout.name)],
            "has_change_permission": self.has_change_permission(request, rollout),
        }
        return TemplateResponse(request, "admin/rollout/rollout/ramp.html", context, status=status)


def _buttons(request: HttpRequest, found: Schedule) -> list[tuple[str, str, bool]]:
    """Verb, what it says, and whether the autopilot proposes it."""
    return [
        (verb, ramp_words.verb(verb), verb == found.proposed)
        for verb in found.verbs
        if rights.may_take(request.user, verb)
    ]


def _moment(at: datetime) -> str:
    return formats.date_format(timezone.localtime(at), "DATETIME_FORMAT")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
