"""The checklist of each stage. Thin: questions and answers are ``rollout.checklist``'s."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from metrics.read_only import ModelAdmin
from rollout import words
from rollout.changes import Actor
from rollout.checklist import Checklist, Question, answer_checklist, checklist
from rollout.models import Rollout, Source, Stage


class AnswerForm(forms.Form):
    """What a person says to one question."""

    is_ticked = forms.BooleanField(required=False)
    comment = forms.CharField(required=False, max_length=500, widget=forms.TextInput(attrs={"class": "vTextField"}))

    def __init__(self, question: Question, data: Any = None) -> None:
        said = question.entry
        initial = {"is_ticked": said is not None and said.is_ticked}
        super().__init__(data, prefix=question.code, initial=initial)
        self.question = question
        self.fields["is_ticked"].label = question.text
        self.fields["comment"].widget.attrs["placeholder"] = _("Comment")
        # The label of each row's field names its question too: there are as many comments as questions.
        self.fields["comment"].widget.attrs["aria-label"] = _("Comment on: %(question)s") % {"question": question.text}


class ChecklistPages(ModelAdmin):
    """Gives a rollout's admin a checklist for each stage. Who may see rollouts sees it, who may change them ticks."""

    def get_urls(self) -> list[URLPattern]:
        """Before admin's own, the last of which takes every path."""
        view = self.admin_site.admin_view(self.checklist_view)
        address = "<path:object_id>/checklist/<int:position>/"
        return [path(address, view, name="rollout_rollout_checklist"), *super().get_urls()]

    def checklist_view(self, request: HttpRequest, object_id: str, position: int) -> HttpResponse:
        """Show it, or keep what was said."""
        rollout: Any = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request):
            raise PermissionDenied
        stage = None if rollout is None else rollout.stages.filter(position=position).first()
        if stage is None:
            raise Http404(_("There is no such stage."))
        now = timezone.now()
        found = checklist(rollout, stage, now=now)
        rows = [AnswerForm(question, request.POST or None) for question in found.questions]
        if request.method == "POST":
            if not self.has_change_permission(request, rollout):
                raise PermissionDenied
            if all(row.is_valid() for row in rows):
                return self._keep(request, rollout, stage, rows)
        return self._show(request, rollout, found, rows)

    def _keep(self, request: HttpRequest, rollout: Rollout, stage: Stage, rows: list[AnswerForm]) -> HttpResponse:
        said = {row.question.code: (row.cleaned_data["is_ticked"], row.cleaned_data["comment"]) for row in rows}
        actor = Actor.of_account(request.user, Source.ADMIN)
        n = answer_checklist(rollout, stage, said, actor=actor, now=timezone.now())
        told = ngettext("%(n)d answer was kept.", "%(n)d answers were kept.", n) % {"n": n}
        messages.success(request, told) if n else messages.info(request, _("There was nothing new to keep."))
        return HttpResponseRedirect(request.path)

    def _show(
        self, request: HttpRequest, rollout: Rollout, found: Checklist, rows: list[AnswerForm]
    ) -> TemplateResponse:
        stages = rollout.stages.order_by("position")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Checklist of %(rollout)s at %(percent)s")
            % {"rollout": rollout.name, "percent": words.percentage(found.stage.percent)},
            "opts": self.opts,
            "original": rollout,
            "found": found,
            "rows": rows,
            "errors": any(row.errors for row in rows),
            "stages": [(stage, _address(rollout, stage)) for stage in stages],
            "has_change_permission": self.has_change_permission(request, rollout),
        }
        return TemplateResponse(request, "admin/rollout/rollout/checklist.html", context)


def _address(rollout: Rollout, stage: Stage) -> str:
    return reverse("admin:rollout_rollout_checklist", args=[rollout.pk, stage.position])
