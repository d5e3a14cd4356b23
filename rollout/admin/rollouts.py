"""Rollouts in admin: steered through ``change_rollout`` like everywhere else, with their figures beside the form."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from rollout import rights, services, tables, text, words
from rollout.admin.checklist import ChecklistPages
from rollout.admin.dashboard import DashboardPages
from rollout.admin.ramp import RampPages
from rollout.changes import RESET, Actor, ChangeRefused, ChangeWaits, change_rollout, create_rollout
from rollout.forms import RolloutForm, StageFormSet
from rollout.models import Rollout, Source, Stage, Verdict
from rollout.serializers import document_of
from rollout.steering import STAGE_FIELDS

_NEW_RAMP = _("A new rollout gets the usual ramp (5, 15, 35, 100 %) unless stages are given below.")


class StageInline(admin.TabularInline):  # type: ignore[type-arg]
    """The ramp. It belongs to its rollout: whoever may change that may change it."""

    model = Stage
    formset = StageFormSet
    fields = STAGE_FIELDS
    extra = 0
    verbose_name_plural = _("Stages")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the rollout."""
        return request.user.has_perm("rollout.add_rollout" if obj is None else "rollout.change_rollout")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the rollout."""
        return self.has_add_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the rollout."""
        return self.has_add_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As the rollout."""
        return self.has_add_permission(request, obj) or request.user.has_perm("rollout.view_rollout")


@admin.register(Rollout)
class RolloutAdmin(DashboardPages, ChecklistPages, RampPages):
    """Nothing here writes a row by itself."""

    form = RolloutForm
    inlines = (StageInline,)
    autocomplete_fields = ("users", "groups")
    list_display = ("name", "models", "state", "traffic", "decision", "dashboard")
    list_filter = ("is_retired",)
    actions = ("enable", "disable", "reset")

    class Media:
        css = {"all": ["rollout/admin.css"]}

    # --- the list ---

    @admin.display(description=_("models"))
    def models(self, rollout: Rollout) -> str:
        """From which model to which."""
        return f"{rollout.baseline} → {rollout.candidate}"

    @admin.display(description=_("state"), ordering="everyone")
    def state(self, rollout: Rollout) -> str:
        """In words."""
        return words.state(rollout.everyone)

    @admin.display(description=_("percentage"), ordering="percent")
    def traffic(self, rollout: Rollout) -> str:
        """The share of people."""
        return words.percentage(rollout.percent)

    @admin.display(description=_("decision"))
    def decision(self, rollout: Rollout) -> str:
        """What today's figures say."""
        current = services.status(rollout.name, now=timezone.now())
        return str(Verdict(current.decision.verdict).label)

    @admin.display(description=_("dashboard"))
    def dashboard(self, rollout: Rollout) -> str:
        """Its link."""
        address = reverse("admin:rollout_rollout_dashboard", args=[rollout.pk])
        return format_html('<a href="{}">{}</a>', address, _("Dashboard"))

    def _change_each(self, request: HttpRequest, queryset: QuerySet[Any], changes: Mapping[str, Any], why: str) -> None:
        done = []
        for rollout in queryset.order_by("name"):
            try:
                changed = change_rollout(
                    rollout.name, changes, actor=Actor.of_account(request.user, Source.ADMIN), why=why
                )
            except ChangeRefused as refused:
                self.message_user(request, f"“{rollout.name}”: {refused.message}", messages.ERROR)
                continue
            if changed.version != rollout.version:
                done.append(rollout)
                self.log_change(request, rollout, [{"changed": {"fields": list(changes)}}])
        told = ngettext("%(n)d rollout was changed.", "%(n)d rollouts were changed.", len(done)) % {"n": len(done)}
        self.message_user(request, told, messages.SUCCESS if done else messages.INFO)

    @admin.action(description=_("Enable selected rollouts"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """On, at the percentage that each has."""
        self._change_each(request, queryset, {"enabled": True}, "")

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Turning off is a right of its own: people on call may have no other."""
        return rights.may_stop(request.user)

    @admin.action(description=_("Disable selected rollouts"), permissions=["stop"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Off, after a page that asks: it moves everyone back to the baseline."""
        if request.POST.get("confirmed"):
            self._change_each(request, queryset, {"enabled": False}, request.POST.get("why", ""))
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": _("Disable rollouts"),
            "opts": self.opts,
            "media": self.media,
            "rollouts": queryset.order_by("name"),
        }
        return TemplateResponse(request, "admin/rollout/rollout/disable.html", context)

    @admin.action(description=_("Reset selected rollouts (on, 5 %%, nothing forced)"), permissions=["change"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Back to the beginning of the ramp."""
        self._change_each(request, queryset, RESET, "")

    # --- the page of one ---

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may only look sees no fields that serve a change."""
        may_change = obj is None or self.has_change_permission(request, obj)
        steering: tuple[str, ...] = ("state", "percent", "priority")
        if may_change:
            runs_itself = obj is not None and obj.runs_itself
            steering += (*(["pause_ramp"] if runs_itself else []), "why", "expected_version")
        return (
            (None, {"fields": ("name", "baseline", "candidate")}),
            (_("Traffic"), {"fields": steering, "description": "" if obj else _NEW_RAMP}),
            (_("Testers"), {"fields": ("superusers", "staff", "languages", "users", "groups")}),
            (
                _("Criteria"),
                {
                    "fields": (
                        "max_error_increase",
                        ("latency_margin", "latency_measure"),
                        ("p95_margin", "p95_measure"),
                        ("min_cost_reduction", "cost_goal"),
                        "satisfaction_margin",
                        "min_sample",
                        "latency_target_ms",
                        "watch_only",
                        "signals",
                    )
                },
            ),
            (_("Ramp"), {"fields": ("ramp_mode", "second_pair_above")}),
            (_("Note"), {"fields": ("note", "is_retired")}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What everyone's bucket and the history hang on stays as it was made."""
        return () if obj is None else ("name", "baseline", "candidate")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form, told why this request's first try to save was refused."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.refused = getattr(request, "refused", None)
        return form

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Saving may be refused at the very end, in ``save_related``: then the form is shown again, as typed."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ChangeRefused as refused:
            request.refused = refused  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Nothing yet: the whole change is made at once, below."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """One change, with everything that the page holds."""
        changes = form.change()
        for formset in formsets:
            stages = [
                row.cleaned_data for row in formset.forms if row.cleaned_data and row not in formset.deleted_forms
            ]
            fields = StageInline.fields
            changes["stages"] = [
                {field: stage[field] for field in fields} for stage in sorted(stages, key=lambda row: row["percent"])
            ]
        made = {"actor": Actor.of_account(request.user, Source.ADMIN), "why": form.cleaned_data["why"]}
        if change:
            version = form.cleaned_data["expected_version"]
            try:
                change_rollout(form.instance.name, changes, expected_version=version, **made)
            except ChangeWaits as waits:
                # Not passed on: what waits is stored in this very transaction.
                request.waits = waits  # type: ignore[attr-defined]
            return
        models = {field: form.cleaned_data[field] for field in ("baseline", "candidate")}
        if not changes["stages"]:
            del changes["stages"]
        form.instance.pk = create_rollout(form.cleaned_data["name"], changes=changes, **models, **made).pk

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """Where a change waits for a second person, that is what is told."""
        waits = getattr(request, "waits", None)
        if waits is None:
            return super().response_change(request, obj)
        messages.warning(request, waits.message)
        return HttpResponseRedirect(reverse("admin:rollout_rollout_ramp", args=[obj.pk]))

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Admin's own log names what was done, not what waits."""
        return None if hasattr(request, "waits") else super().log_change(request, obj, message)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Only the form's: nothing was saved through the formsets."""
        return super().construct_change_message(request, form, [], add)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """With the figures and the history beside it."""
        rollout = kwargs.get("obj")
        if rollout is not None:
            context.update(_beside(rollout.name))
        return super().render_change_form(request, context, *args, **kwargs)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The true history: admin's own log knows nothing of the API and the command line."""
        rollout = self.get_object(request, unquote(object_id))
        if rollout is None:
            return super().history_view(request, object_id, extra_context)
        return HttpResponseRedirect(f"{reverse('admin:rollout_rolloutchange_changelist')}?rollout={rollout.name}")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: its calls and history would hang in the air. Disable it instead."""
        return False


def _beside(name: str) -> dict[str, Any]:
    """What the page of a rollout shows beside its form."""
    document = document_of(services.status(name, now=timezone.now()))
    return {
        "status": document,
        "verdict": Verdict(document["decision"]).label,
        "arm_rows": text.arm_rows(document),
        "other_rows": text.other_rows(document),
        "cost_rows": text.cost_rows(document),
        "split": text.split_in_words(document),
        "share_rows": tables.share_rows(document),
        "history": [(change, words.change_in_words(change.changes)) for change in services.history(name)],
    }
