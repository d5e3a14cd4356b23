"""What is kept of a rollout's past: its changes, its decisions, what people said to its checklists."""

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


class RolloutChange(models.Model):
    """One line of a rollout's history. Rows are added, never changed."""

    rollout = models.CharField(_("rollout"), max_length=100, db_index=True)
    changed_at = models.DateTimeField(_("when"), default=timezone.now)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        verbose_name=_("account"),
        related_name="+",
    )
    actor = models.CharField(_("who"), max_length=150, help_text=_("As named at the time; outlives the account."))
    source = models.CharField(_("where from"), max_length=10, choices=Source)
    changes = models.JSONField(_("changes"), help_text=_('{"field": [old, new]}'))
    why = models.CharField(_("why"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")
        ordering = ["-changed_at", "-id"]

    def __str__(self) -> str:
        return f"{self.rollout} {self.changed_at:%Y-%m-%d %H:%M}"


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
