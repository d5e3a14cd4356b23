"""The dashboard of a rollout and the page that explains its terms. Thin: the figures are ``rollout.dashboard``'s."""

from datetime import UTC
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from metrics.read_only import ModelAdmin
from rollout import ramp_words, services, tables, text, words
from rollout.dashboard import DEFAULT_RANGE, RANGES, Range, dashboard, fingerprint
from rollout.forms import ExplainForm
from rollout.glossary import glossary
from rollout.models import Rollout, Verdict


class DashboardPages(ModelAdmin):
    """Gives a rollout's admin its dashboard and glossary. Whoever may see rollouts may see them."""

    def get_urls(self) -> list[URLPattern]:
        """Before admin's own, the last of which takes every path."""
        view = self.admin_site.admin_view
        return [
            path("glossary/", view(self.glossary_view), name="rollout_rollout_glossary"),
            path("<path:object_id>/dashboard/", view(self.dashboard_view), name="rollout_rollout_dashboard"),
            path("<path:object_id>/dashboard/live/", view(self.live_view), name="rollout_rollout_dashboard_live"),
            *super().get_urls(),
        ]

    def dashboard_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The whole page."""
        rollout, chosen = self._asked_for(request, object_id)
        return self._render(request, "dashboard.html", rollout, chosen, **_explained(request, rollout))

    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The part of the page that changes; 304 while it has not."""
        rollout, chosen = self._asked_for(request, object_id)
        etag = _etag(fingerprint(rollout.name, now=timezone.now()), chosen)
        response = get_conditional_response(request, etag=etag) or self._render(
            request, "_dashboard_live.html", rollout, chosen
        )
        response["ETag"] = etag
        patch_cache_control(response, private=True, no_cache=True)
        return response

    def glossary_view(self, request: HttpRequest) -> HttpResponse:
        """Each term in a sentence."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {**self._page(request, _("What the words mean")), "terms": glossary()}
        return TemplateResponse(request, "admin/rollout/rollout/glossary.html", context)

    def _asked_for(self, request: HttpRequest, object_id: str) -> tuple[Rollout, Range]:
        if not self.has_view_permission(request):
            raise PermissionDenied
        rollout: Any = self.get_object(request, unquote(object_id))
        chosen = RANGES.get(request.GET.get("range", DEFAULT_RANGE))
        if rollout is None:
            raise Http404(_("There is no such rollout."))
        if chosen is None:
            raise Http404(_("There is no such range. Known are: %(known)s.") % {"known": ", ".join(RANGES)})
        return rollout, chosen

    def _render(
        self, request: HttpRequest, template: str, rollout: Rollout, chosen: Range, **more: Any
    ) -> HttpResponse:
        shown = dashboard(rollout.name, chosen, now=timezone.now())
        document = shown.document
        context = {
            **self._page(request, rollout.name),
            **more,
            "original": rollout,
            "ranges": RANGES.values(),
            "chosen": chosen,
            "etag": _etag(shown.fingerprint, chosen),
            "shown": shown,
            "status": document,
            "stage": shown.current.stage or shown.current.next_stage,
            "state": words.state(rollout.everyone),
            "ramp_state": ramp_words.ramp_state(rollout.ramp_state),
            "percent": words.percentage(rollout.percent),
            "verdict": Verdict(document["decision"]).label,
            "arm_rows": text.arm_rows(document),
            "other_rows": text.other_rows(document),
            "percentile_rows": tables.percentile_rows(document),
            "cost_rows": text.cost_rows(document),
            "saving_rows": tables.saving_rows(document),
            "rating_rows": tables.rating_rows(document),
            "rating_reason_rows": tables.rating_reason_rows(document),
            "split": text.split_in_words(document),
            "share_rows": tables.share_rows(document),
            "history": [(change, words.change_in_words(change.changes)) for change in shown.changes],
            "charts_json": {
                "labels": shown.labels,
                "marks": [vars(mark) for mark in shown.marks],
                "charts": [chart.to_json() for chart in shown.charts if not chart.is_empty],
            },
            "days_in_utc": chosen.grain.length.days and timezone.get_current_timezone() != UTC,
        }
        return TemplateResponse(request, f"admin/rollout/rollout/{template}", context)

    def _page(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "has_change_permission": self.has_change_permission(request),
        }


def _explained(request: HttpRequest, rollout: Rollout) -> dict[str, Any]:
    """The form that asks which arm a person would get, and the answer where it was asked."""
    asked = ExplainForm(request.GET if "person" in request.GET else None)
    if not asked.is_valid():
        return {"asked": asked}
    unit, account = asked.cleaned_data["person"]
    found = services.explain(rollout.name, unit, user=account, language=asked.cleaned_data["language"])
    return {
        "asked": asked,
        "account": account,
        "explanation": found,
        "explanation_arm": words.arm(found.arm),
        "explanation_percent": words.percentage(found.percent),
    }


def _etag(seen: str, chosen: Range) -> str:
    return quote_etag(f"{seen}-{chosen.key}-{get_language()}".replace(" ", "T"))
