"""A rollout (a django-waffle flag of our own), its ramp, its history and its decisions."""

import secrets
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from waffle.models import AbstractUserFlag

from rollout.bucketing import in_candidate


def new_salt() -> str:
    """A fresh random salt, 16 hex digits."""
    return secrets.token_hex(8)


CRITERIA = ("errors", "latency", "p95_latency", "cost", "satisfaction")


def validate_criteria(names: Any) -> None:
    """A list of criteria's names."""
    if not isinstance(names, list) or not set(names) <= set(CRITERIA):
        raise ValidationError(_("Must be a list of any of: %(known)s."), params={"known": ", ".join(CRITERIA)})


class LatencyMeasure(models.TextChoices):
    """Which latency a criterion looks at."""

    TTFT = "ttft", _("Time to first token")
    LATENCY = "latency", _("Whole answer")


class Rollout(AbstractUserFlag):
    """Moves people from the baseline model key to the candidate model key.

    waffle's fields keep their meaning; ``percent`` allows 0 to 100 with two decimals (waffle's own
    stops at 99.9), and its dice and cookie are replaced by the unit's bucket. Rows are changed by
    ``services.change_rollout`` only, which writes the history.
    """

    percent = models.DecimalField(
        _("percentage"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
        help_text=_("0 to 100: the share of people who get the candidate."),
    )
    superusers = models.BooleanField(
        _("superusers"), default=False, help_text=_("Superusers get the candidate early, as testers.")
    )
    baseline = models.CharField(_("baseline model"), max_length=100)
    candidate = models.CharField(_("candidate model"), max_length=100)
    salt = models.CharField(
        _("salt"),
        max_length=64,
        default=new_salt,
        blank=True,
        editable=False,
        help_text=_("Fixes who is in at which percentage. Changing it assigns everyone anew."),
    )
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    run = models.PositiveIntegerField(
        _("run"),
        default=1,
        editable=False,
        help_text=_("Counts the starts. What was measured before a start decides nothing after it."),
    )
    stretch = models.PositiveIntegerField(
        _("stretch"),
        default=1,
        editable=False,
        help_text=_("Counts the stretches of one percentage and configuration, over all runs."),
    )

    latency_target_ms = models.PositiveIntegerField(
        _("latency target (ms)"),
        default=140,
        validators=[MinValueValidator(1)],
        help_text=_("Time to first token to stay within where the baseline has no traffic to compare with."),
    )
    latency_measure = models.CharField(
        _("what latency is"), max_length=10, choices=LatencyMeasure, default=LatencyMeasure.TTFT
    )
    latency_margin = models.DecimalField(
        _("latency margin (%)"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(10),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(500))],
        help_text=_("By how much the candidate's typical latency may be above the baseline's."),
    )
    p95_measure = models.CharField(
        _("what p95 latency is"), max_length=10, choices=LatencyMeasure, default=LatencyMeasure.TTFT
    )
    p95_margin = models.DecimalField(
        _("p95 latency margin (%)"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(15),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(500))],
        help_text=_("By how much the candidate's slowest twentieth may be above the baseline's."),
    )
    satisfaction_margin = models.DecimalField(
        _("satisfaction margin (points of 5)"),
        max_digits=4,
        decimal_places=2,
        default=Decimal("0.2"),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(4))],
        help_text=_("By how much the candidate's mean rating may be below the baseline's."),
    )
    min_cost_reduction = models.DecimalField(
        _("minimum cost reduction (%)"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(20),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal("99.99"))],
    )
    max_error_increase = models.DecimalField(
        _("maximum error increase (points)"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(2),
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(Decimal(100))],
    )
    min_sample = models.PositiveIntegerField(
        _("minimum sample"),
        default=100,
        validators=[MinValueValidator(1)],
        help_text=_("Requests that each arm needs before anything is decided; 50 at least."),
    )
    cost_goal = models.DecimalField(
        _("cost goal (%)"),
        max_digits=5,
        decimal_places=2,
        default=Decimal(75),
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
        help_text=_("The saving that is hoped for. Shown, and decides nothing."),
    )
    watch_only = models.JSONField(
        _("watch only"),
        default=list,
        blank=True,
        validators=[validate_criteria],
        help_text=_("Criteria that are measured and shown, and decide nothing."),
    )

    class Meta:
        verbose_name = _("rollout")
        verbose_name_plural = _("rollouts")
        constraints = [
            models.UniqueConstraint(
                fields=["baseline"],
                condition=models.Q(everyone__isnull=True) | models.Q(everyone=True),
                name="one_open_rollout_per_baseline",
                violation_error_message=_("Another rollout of the same baseline model is on. Disable it first."),
            ),
            models.CheckConstraint(
                condition=models.Q(percent__gte=0) & models.Q(percent__lte=100),
                name="percent_from_0_to_100",
                violation_error_message=_("The percentage is a number from 0 to 100."),
            ),
            models.CheckConstraint(
                condition=~models.Q(baseline=models.F("candidate")),
                name="candidate_is_not_the_baseline",
                violation_error_message=_("The candidate must be another model than the baseline."),
            ),
        ]

    @property
    def is_on(self) -> bool:
        """Whether anybody can be moved to the candidate at all."""
        return self.everyone is not False

    @property
    def force_model(self) -> str | None:
        """The candidate's key while everyone gets it."""
        return self.candidate if self.everyone is True else None

    def is_active_for_user(self, user: Any) -> bool:
        """waffle's question, answered by the bucket: is this person in the candidate arm?"""
        if self.everyone is not None:
            return self.everyone
        if not user.is_authenticated:
            return False
        if super().is_active_for_user(user):
            return True
        return in_candidate(rollout=self.name, salt=self.salt, unit=user.unit, percent=self.percent)

    def is_active(self, request: HttpRequest, read_only: bool = False) -> bool:
        """waffle's entry point. No cookie, query string or dice takes part."""
        return self.is_active_for_user(request.user)


class Stage(models.Model):
    """One step of the ramp."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="stages", verbose_name=_("rollout"))
    position = models.PositiveSmallIntegerField(_("position"))
    percent = models.DecimalField(
        _("percentage"),
        max_digits=5,
        decimal_places=2,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
    )
    min_days = models.PositiveSmallIntegerField(_("minimum days"), default=7)
    min_sample = models.PositiveIntegerField(_("minimum sample"), default=100)

    class Meta:
        verbose_name = _("stage")
        verbose_name_plural = _("stages")
        ordering = ["rollout", "position"]
        constraints = [models.UniqueConstraint(fields=["rollout", "position"], name="one_stage_per_position")]

    def __str__(self) -> str:
        return f"{self.percent.normalize():f} %"


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


class Report(models.Model):
    """What a day or week of a rollout came to. Frozen once built; other figures are a new version."""

    class Kind(models.TextChoices):
        """How long."""

        DAILY = "daily", _("daily")
        WEEKLY = "weekly", _("weekly")

    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    rollout = models.CharField(_("rollout"), max_length=100)
    first_day = models.DateField(_("first day"), help_text=_("In TIME_ZONE; weeks begin on Monday."))
    version = models.PositiveIntegerField(_("version"))
    is_newest = models.BooleanField(_("newest version"), default=True)
    built_at = models.DateTimeField(_("built"))
    document = models.JSONField(_("figures"))

    class Meta:
        verbose_name = _("report")
        verbose_name_plural = _("reports")
        ordering = ["-first_day", "kind", "rollout", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "rollout", "first_day", "version"], name="one_report_of_a_version"),
            models.UniqueConstraint(
                fields=["kind", "rollout", "first_day"],
                condition=models.Q(is_newest=True),
                name="one_newest_report_of_a_period",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rollout} {self.first_day} {self.kind} {self.version}"


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
