"""A rollout (a django-waffle flag of our own) and its ramp."""

import secrets
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from waffle.models import AbstractUserFlag

from rollout.ramp import OFF


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


class RampMode(models.TextChoices):
    """Who takes the ramp's steps."""

    MANUAL = "manual", _("Manual: what comes next is shown, people act")
    ASSISTED = "assisted", _("Assisted: steps are proposed, people accept them")
    AUTOMATIC = "automatic", _("Automatic: the autopilot acts")


class RampState(models.TextChoices):
    """Where a rollout is in its ramp."""

    PENDING = "pending", _("Not started")
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    COMPLETED = "completed", _("Completed")
    ROLLED_BACK = "rolled_back", _("Rolled back")


# A check holds where it is not known, as NULL = false is: so it is said that there is a value.
_OFF = models.Q(everyone__isnull=False) & models.Q(everyone=False)


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
    priority = models.PositiveSmallIntegerField(
        _("priority"),
        default=100,
        help_text=_(
            "Among rollouts that are on for the same baseline model, lower goes first: it takes its percentage of "
            "people, the next takes its own of the rest."
        ),
    )
    is_retired = models.BooleanField(
        _("retired"),
        default=False,
        help_text=_("Over for good: it takes no requests, and its history and reports stay. It must be off."),
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
    signals = models.JSONField(
        _("signals"),
        default=list,
        blank=True,
        validators=[validate_criteria],
        help_text=_("Criteria that only hold when they are proven to be outside; all others turn back."),
    )

    ramp_mode = models.CharField(_("ramp mode"), max_length=10, choices=RampMode, default=RampMode.MANUAL)
    ramp_state = models.CharField(
        _("ramp state"), max_length=12, choices=RampState, default=RampState.RUNNING, editable=False
    )
    approved_percent = models.DecimalField(
        _("approved next percentage"), max_digits=5, decimal_places=2, null=True, blank=True, editable=False
    )
    second_pair_above = models.DecimalField(
        _("second person above (%)"),
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(Decimal(100))],
        help_text=_("Raising the percentage above this waits for a second person. Empty: it never does."),
    )

    class Meta:
        verbose_name = _("rollout")
        verbose_name_plural = _("rollouts")
        permissions = [
            ("approve_rollout", _("Can approve the steps of rollouts and what others propose")),
            ("stop_rollout", _("Can stop rollouts")),
        ]
        constraints = [
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
            models.CheckConstraint(
                condition=_OFF & models.Q(ramp_state__in=("pending", "rolled_back"))
                | ~_OFF & models.Q(ramp_state__in=("running", "paused", "completed")),
                name="off_is_pending_or_rolled_back",
            ),
            models.CheckConstraint(
                condition=models.Q(is_retired=False) | _OFF,
                name="retired_is_off",
                violation_error_message=_("A retired rollout is off. Disable it first, or take it out of retirement."),
            ),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """waffle's ``override_flag`` sets ``everyone`` alone: where the ramp stands follows from it."""
        if self.is_on == (self.ramp_state in OFF):
            self.ramp_state = RampState.RUNNING if self.is_on else RampState.ROLLED_BACK
        super().save(*args, **kwargs)

    @property
    def is_on(self) -> bool:
        """Whether anybody can be moved to the candidate at all."""
        return self.everyone is not False

    @property
    def runs_itself(self) -> bool:
        """Whether the autopilot takes the ramp on now: steering by hand pauses it."""
        return (self.ramp_mode, self.ramp_state) == (RampMode.AUTOMATIC, RampState.RUNNING)

    @property
    def force_model(self) -> str | None:
        """The candidate's key while everyone gets it."""
        return self.candidate if self.everyone is True else None

    def is_active_for_user(self, user: Any, language: str = "") -> bool:
        """waffle's question, answered by the route of this person's requests: is it this rollout's candidate?

        Somebody without a row has no unit yet: no percentage decides for them, on or off.
        """
        # Routes are made of these rows.
        from rollout.routing import route

        known = user.is_authenticated
        found = route(
            requested_model=self.baseline,
            unit=user.unit if known else "",
            user=user if known else None,
            language=language,
        )
        is_ours = found.rollout == self.name and found.arm == "candidate"
        return is_ours and (known or found.reason != "percentage")

    def is_active(self, request: HttpRequest, read_only: bool = False) -> bool:
        """waffle's entry point. No cookie, query string or dice takes part."""
        return self.is_active_for_user(request.user, getattr(request, "LANGUAGE_CODE", ""))


def live_rollouts() -> "models.QuerySet[Rollout]":
    """Those that are not retired."""
    rollouts: models.QuerySet[Rollout] = Rollout.objects.all()
    return rollouts.filter(is_retired=False)


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
    min_sample = models.PositiveIntegerField(
        _("minimum sample"), default=100, help_text=_("Requests that each arm needs in this stage.")
    )
    min_people = models.PositiveIntegerField(
        _("minimum people"), default=20, help_text=_("People that each arm needs in this stage.")
    )
    needs_approval = models.BooleanField(
        _("needs approval"), default=False, help_text=_("Somebody must agree before this stage begins.")
    )

    class Meta:
        verbose_name = _("stage")
        verbose_name_plural = _("stages")
        ordering = ["rollout", "position"]
        constraints = [models.UniqueConstraint(fields=["rollout", "position"], name="one_stage_per_position")]

    def __str__(self) -> str:
        return f"{self.percent.normalize():f} %"
