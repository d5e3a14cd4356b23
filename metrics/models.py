"""What happened: one row a call, one report a day. Rollout, arm, model and unit are plain strings."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from metrics.fields import UsdField


class Outcome(models.TextChoices):
    """How a call ended. ``RUNNING`` until it has."""

    RUNNING = "running", _("running")
    OK = "ok", _("ok")
    ERROR = "error", _("error")
    TIMEOUT = "timeout", _("timeout")
    REFUSED = "refused", _("refused")
    EMPTY = "empty", _("empty")
    CANCELLED = "cancelled", _("cancelled")
    ABANDONED = "abandoned", _("abandoned")


class Arm(models.TextChoices):
    """Where the unit was assigned; blank for calls outside any rollout."""

    BASELINE = "baseline", _("baseline")
    CANDIDATE = "candidate", _("candidate")


class ModelCall(models.Model):
    """One request to a provider: one attempt at one answer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    answer_id = models.UUIDField(_("answer"), help_text=_("The answer that this attempt was made for."))
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=1, help_text=_("1 is the request; 2 a fallback."))
    surface = models.CharField(_("surface"), max_length=20, help_text=_("Where the request came in."))

    rollout = models.CharField(_("rollout"), max_length=100, blank=True)
    arm = models.CharField(_("arm"), max_length=10, choices=Arm, blank=True)
    reason = models.CharField(_("reason"), max_length=20)
    percent = models.DecimalField(
        _("share"), max_digits=5, decimal_places=2, null=True, help_text=_("The rollout's percentage at that moment.")
    )
    unit = models.CharField(_("unit"), max_length=64, help_text=_("The person, as a pseudonym."))

    requested_model = models.CharField(_("requested model"), max_length=100)
    assigned_model = models.CharField(_("assigned model"), max_length=100)
    served_model = models.CharField(_("served model"), max_length=100)
    upstream_model = models.CharField(_("upstream model"), max_length=200, blank=True)

    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome, default=Outcome.RUNNING)
    error_class = models.CharField(_("error class"), max_length=50, blank=True)
    error_detail = models.CharField(_("error"), max_length=300, blank=True)
    http_status = models.PositiveSmallIntegerField(_("HTTP status"), null=True)
    finish_reason = models.CharField(_("finish reason"), max_length=20, blank=True)

    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"), null=True)
    ttft_ms = models.PositiveIntegerField(_("time to first token (ms)"), null=True)
    latency_ms = models.PositiveIntegerField(_("latency (ms)"), null=True)

    input_tokens = models.BigIntegerField(_("input tokens"), null=True)
    output_tokens = models.BigIntegerField(_("output tokens"), null=True)
    cached_tokens = models.BigIntegerField(_("cached tokens"), null=True)
    reasoning_tokens = models.BigIntegerField(_("reasoning tokens"), null=True)
    cost_usd = UsdField(_("cost (USD)"), null=True)
    baseline_cost_usd = UsdField(_("cost at the baseline's price (USD)"), null=True)

    rating = models.PositiveSmallIntegerField(_("rating"), null=True, help_text=_("1 to 5."))
    is_demo = models.BooleanField(_("demo data"), default=False)

    class Meta:
        verbose_name = _("model call")
        verbose_name_plural = _("model calls")
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(fields=["answer_id", "attempt"], name="one_row_per_attempt"),
            models.CheckConstraint(
                condition=models.Q(rating__isnull=True) | models.Q(rating__range=(1, 5)), name="rating_from_1_to_5"
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="running", ended_at__isnull=True)
                | (~models.Q(outcome="running") & models.Q(ended_at__isnull=False)),
                name="ended_calls_have_an_outcome",
            ),
        ]
        indexes = [
            models.Index(fields=["rollout", "started_at"], name="call_by_rollout"),
            models.Index(fields=["-started_at"], name="call_by_time"),
            models.Index(fields=["started_at"], condition=models.Q(outcome="running"), name="call_running"),
        ]

    def __str__(self) -> str:
        return f"{self.served_model} {self.outcome} {self.id}"


class DailyReport(models.Model):
    """One UTC day of one rollout and arm, rebuilt whole from its calls."""

    day = models.DateField(_("day"), help_text=_("UTC."))
    rollout = models.CharField(_("rollout"), max_length=100)
    arm = models.CharField(_("arm"), max_length=10, choices=Arm)
    requests = models.PositiveIntegerField(_("requests"))
    people = models.PositiveIntegerField(_("people"))
    expected_requests = models.DecimalField(_("expected requests"), max_digits=14, decimal_places=4)
    outcomes = models.JSONField(_("outcomes"), help_text=_("Requests by outcome."))
    ttft_mean_ms = models.FloatField(_("mean time to first token (ms)"), null=True)
    latency_mean_ms = models.FloatField(_("mean latency (ms)"), null=True)
    input_tokens = models.BigIntegerField(_("input tokens"))
    output_tokens = models.BigIntegerField(_("output tokens"))
    cost_usd = UsdField(_("cost (USD)"))
    baseline_cost_usd = UsdField(_("cost at the baseline's price (USD)"))
    cost_unknown = models.PositiveIntegerField(_("calls of unknown cost"))
    ratings = models.PositiveIntegerField(_("ratings"))
    rating_mean = models.FloatField(_("mean rating"), null=True)
    fallbacks = models.PositiveIntegerField(_("fallbacks"))
    built_at = models.DateTimeField(_("built"))

    class Meta:
        verbose_name = _("daily report")
        verbose_name_plural = _("daily reports")
        ordering = ["-day", "rollout", "arm"]
        constraints = [models.UniqueConstraint(fields=["day", "rollout", "arm"], name="one_report_per_day_and_arm")]

    def __str__(self) -> str:
        return f"{self.day} {self.rollout} {self.arm}"
