"""What is kept of a rollout's past: its changes, its decisions, what people said to its checklists."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Source(models.TextChoices):
    """Where a change came from."""

    ADMIN = "admin", _("admin")
    API = "api", _("API")
    CLI = "cli", _("command line")
    AUTOPILOT = "autopilot", _("autopilot")


class AppendOnly(ValueError):
    """History is added to, never changed."""


class _AddOnly(models.QuerySet["RolloutChange"]):
    def update(self, **_: Any) -> int:
        raise AppendOnly

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnly

    # Both would go around ``save``.
    def bulk_update(self, *_: Any, **__: Any) -> int:
        raise AppendOnly


class RolloutChange(models.Model):
    """One line of a rollout's history. Rows are added, never changed: the database refuses it too.

    See ``rollout.append_only``.
    """

    rollout = models.CharField(_("rollout"), max_length=100, db_index=True)
    changed_at = models.DateTimeField(_("when"), default=timezone.now)
    # Stays when the account goes: a line is never changed.
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        verbose_name=_("account"),
        related_name="+",
    )
    actor = models.CharField(_("who"), max_length=150, help_text=_("As named at the time; outlives the account."))
    source = models.CharField(_("where from"), max_length=10, choices=Source)
    changes = models.JSONField(_("changes"), help_text=_('{"field": [old, new]}'))
    why = models.CharField(_("why"), max_length=500, blank=True)
    version = models.PositiveIntegerField(
        _("version"), null=True, help_text=_("The rollout's, after this change; not known of old lines.")
    )
    approved_by = models.CharField(_("approved by"), max_length=150, blank=True)
    evidence = models.JSONField(_("evidence"), default=dict, help_text=_("The figures at that moment."))

    objects = _AddOnly.as_manager()

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        ordering = ["-changed_at", "-id"]

    def __str__(self) -> str:
        return f"{self.rollout} {self.changed_at:%Y-%m-%d %H:%M}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Once. Raises AppendOnly the second time."""
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Never: raises AppendOnly."""
        raise AppendOnly


class Proposal(models.Model):
    """A change that waits for a second person, or did."""

    class State(models.TextChoices):
        """What became of it."""

        OPEN = "open", _("Waiting")
        ACCEPTED = "accepted", _("Accepted")
        REFUSED = "refused", _("Refused")
        OUTDATED = "outdated", _("Overtaken by another change")

    rollout = models.CharField(_("rollout"), max_length=100, db_index=True)
    version = models.PositiveIntegerField(_("version"), help_text=_("The rollout's, when this was proposed."))
    changes = models.JSONField(_("changes"), help_text=_('{"field": [old, new]}'))
    actor = models.CharField(_("who"), max_length=150)
    user_id = models.BigIntegerField(_("account"), null=True)
    source = models.CharField(_("where from"), max_length=10, choices=Source)
    why = models.CharField(_("why"), max_length=500, blank=True)
    proposed_at = models.DateTimeField(_("when"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.OPEN)
    decided_by = models.CharField(_("decided by"), max_length=150, blank=True)
    decided_at = models.DateTimeField(_("decided"), null=True)

    class Meta:
        verbose_name = _("proposal")
        verbose_name_plural = _("proposals")
        ordering = ["-proposed_at", "-id"]

    def __str__(self) -> str:
        return f"{self.rollout} {self.proposed_at:%Y-%m-%d %H:%M}"


class AutopilotStep(models.Model):
    """What the autopilot would do next, or did; kept when it differs from the one before."""

    rollout = models.CharField(_("rollout"), max_length=100, db_index=True)
    action = models.CharField(_("action"), max_length=10)
    code = models.CharField(_("code"), max_length=15)
    reason = models.TextField(_("reason"))
    waiting_for = models.CharField(_("waiting for"), max_length=10, blank=True)
    next_check_at = models.DateTimeField(_("next look"))
    is_done = models.BooleanField(_("done"), default=False, help_text=_("The autopilot acted on it."))
    mode = models.CharField(_("ramp mode"), max_length=10)
    percent = models.DecimalField(_("percentage"), max_digits=5, decimal_places=2)
    run = models.PositiveIntegerField(_("run"))
    first_at = models.DateTimeField(_("since"))
    last_at = models.DateTimeField(_("last confirmed"))

    class Meta:
        verbose_name = _("autopilot step")
        verbose_name_plural = _("autopilot steps")
        ordering = ["-first_at", "-id"]

    def __str__(self) -> str:
        return f"{self.percent.normalize():f} %"


class Verdict(models.TextChoices):
    """What to do next."""

    GO = "GO", _("Go")
    HOLD = "HOLD", _("Hold")
    ROLLBACK = "ROLLBACK", _("Roll back")
    NOT_ENOUGH_DATA = "NOT_ENOUGH_DATA", _("Not enough data")


class Evaluation(models.Model):
    """A decision that was reached, kept when it differs from the one before."""

    rollout = models.CharField(_("rollout"), max_length=100, db_index=True)
    verdict = models.CharField(_("decision"), max_length=20, choices=Verdict)
    reason = models.TextField(_("reason"))
    percent = models.DecimalField(_("percentage"), max_digits=5, decimal_places=2)
    evidence = models.JSONField(_("evidence"))
    first_at = models.DateTimeField(_("since"))
    last_at = models.DateTimeField(_("last confirmed"))

    class Meta:
        verbose_name = _("evaluation")
        verbose_name_plural = _("evaluations")
        ordering = ["-first_at", "-id"]

    def __str__(self) -> str:
        return f"{self.rollout} {self.verdict}"


class ChecklistEntry(models.Model):
    """What a person said to one question of a stage's checklist. Rows are added, never changed; the newest counts."""

    rollout = models.CharField(_("rollout"), max_length=100)
    run = models.PositiveIntegerField(_("run"))
    percent = models.DecimalField(_("stage"), max_digits=5, decimal_places=2)
    question = models.CharField(_("question"), max_length=20)
    is_ticked = models.BooleanField(_("ticked"))
    comment = models.CharField(_("comment"), max_length=500, blank=True)
    actor = models.CharField(_("who"), max_length=150)
    at = models.DateTimeField(_("when"))

    class Meta:
        verbose_name = _("checklist entry")
        verbose_name_plural = _("checklist entries")
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["rollout", "run", "percent"], name="entries_of_a_stage")]

    def __str__(self) -> str:
        return f"{self.rollout} {self.percent} {self.question}"
