"""What is kept of a rollout's past, to look at: its changes and what was decided."""

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.translation import gettext_lazy as _

from metrics.read_only import ReadOnlyAdmin
from rollout import words
from rollout.models import AutopilotStep, Evaluation, Proposal, RolloutChange


@admin.register(RolloutChange)
class RolloutChangeAdmin(ReadOnlyAdmin):
    """Who changed what, when, from where and why."""

    list_display = ("changed_at", "rollout", "actor", "source", "what", "why")
    list_filter = ("source", ("rollout", admin.AllValuesFieldListFilter))
    search_fields = ("actor", "why")
    fields = ("rollout", "changed_at", "actor", "approved_by", "source", "what", "why", "evidence")

    @admin.display(description=_("changes"))
    def what(self, change: RolloutChange) -> str:
        """Old → new, one a line."""
        return format_html_join("", "<div>{}: {} → {}</div>", words.change_in_words(change.changes))


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyAdmin):
    """What was decided, and since when."""

    list_display = ("first_at", "last_at", "rollout", "percent", "verdict", "reason")
    list_filter = ("verdict", ("rollout", admin.AllValuesFieldListFilter))


@admin.register(AutopilotStep)
class AutopilotStepAdmin(ReadOnlyAdmin):
    """What the autopilot said, and did."""

    list_display = ("first_at", "last_at", "rollout", "percent", "mode", "action", "is_done", "reason")
    list_filter = ("action", "is_done", ("rollout", admin.AllValuesFieldListFilter))


@admin.register(Proposal)
class ProposalAdmin(ReadOnlyAdmin):
    """What waited for a second person, and what became of it."""

    list_display = ("proposed_at", "rollout", "actor", "what", "why", "state", "decided_by", "decided_at")
    list_filter = ("state", ("rollout", admin.AllValuesFieldListFilter))
    fields = ("rollout", "proposed_at", "actor", "source", "what", "why", "state", "decided_by", "decided_at")

    @admin.display(description=_("changes"))
    def what(self, proposal: Proposal) -> str:
        """Old → new, one a line."""
        return format_html_join("", "<div>{}: {} → {}</div>", words.change_in_words(proposal.changes))
