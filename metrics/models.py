"""What happened, one row a call, and its roll-ups: sums that are kept up as calls end.

Rollout, arm, model and unit are plain strings.
"""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from metrics.fields import UsdField
from metrics.ratings import HIGHEST_WITH_REASON
from metrics.slices import Grain
from metrics.sums import ERROR_OUTCOMES
from metrics.words import RATING_REASONS


class Outcome(models.TextChoices):
    """How a call ended. ``RUNNING`` until it has."""

    RUNNING = "running", _("running")
    OK = "ok", _("answered")
    ERROR = "error", _("failed")
    TIMEOUT = "timeout", _("timed out")
    REFUSED = "refused", _("refused")
    EMPTY = "empty", _("without text")
    CANCELLED = "cancelled", _("stopped by the person")
    ABANDONED = "abandoned", _("broken off by us")


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
    application = models.CharField(
        _("application"),
        max_length=20,
        blank=True,
        help_text=_("The prefix of the key that a program asked with."),
        default="",
        db_default="",
    )

    rollout = models.CharField(_("rollout"), max_length=100, blank=True)
    arm = models.CharField(_("arm"), max_length=10, choices=Arm, blank=True)
    reason = models.CharField(_("reason"), max_length=20)
    percent = models.DecimalField(
        _("share"), max_digits=5, decimal_places=2, null=True, help_text=_("The rollout's percentage at that moment.")
    )
    run = models.PositiveIntegerField(
        _("run"), default=0, help_text=_("Counts the rollout's starts: what came before a start decides nothing after.")
    )
    stretch = models.PositiveIntegerField(
        _("stretch"), default=0, help_text=_("Counts the rollout's stretches of one percentage and configuration.")
    )
    unit = models.CharField(_("unit"), max_length=64, help_text=_("The person, as a pseudonym."))

    requested_model = models.CharField(_("requested model"), max_length=100)
    assigned_model = models.CharField(_("assigned model"), max_length=100)
    served_model = models.CharField(_("served model"), max_length=100)
    provider = models.CharField(_("provider"), max_length=50, blank=True)
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
    rating_reason = models.CharField(
        _("reason for the rating"), max_length=20, choices=RATING_REASONS, blank=True, default="", db_default=""
    )
    is_demo = models.BooleanField(_("demo data"), default=False)

    # What the roll-ups hold of this call; written by ``rollup`` alone, but for ``pending``.
    pending = models.BooleanField(default=True, editable=False)
    counted = models.BooleanField(default=False, editable=False)
    counted_rating = models.PositiveSmallIntegerField(null=True, editable=False)
    counted_rating_reason = models.CharField(max_length=20, blank=True, editable=False, default="", db_default="")

    class Meta:
        verbose_name = _("model call")
        verbose_name_plural = _("model calls")
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(fields=["answer_id", "attempt"], name="one_row_per_attempt"),
            models.CheckConstraint(
                condition=models.Q(rating__isnull=True) | models.Q(rating__range=(1, 5)), name="rating_from_1_to_5"
            ),
            # A range alone would take null: a condition that is unknown holds.
            models.CheckConstraint(
                condition=models.Q(rating_reason="")
                | models.Q(rating__isnull=False, rating__range=(1, HIGHEST_WITH_REASON)),
                name="reason_of_a_rating_that_takes_one",
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
            models.Index(
                fields=["ended_at"], condition=models.Q(pending=True, ended_at__isnull=False), name="call_pending"
            ),
            models.Index(
                fields=["rollout", "-started_at"],
                condition=models.Q(outcome__in=sorted(ERROR_OUTCOMES)),
                name="call_failed",
            ),
            # What one person or one application got is looked up by staff, and never by an answer.
            models.Index(fields=["unit", "-started_at"], name="call_by_unit"),
            models.Index(
                fields=["application", "-started_at"],
                condition=models.Q(application__gt=""),
                name="call_by_application",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.served_model} {self.outcome} {self.id}"


class Slice(models.Model):
    """One arm of one rollout in one slice of time: see ``sums.Sums``. Kept up by ``rollup`` alone."""

    rollout = models.CharField(max_length=100)
    grain = models.PositiveIntegerField(choices=[(grain.value, grain.name) for grain in Grain])
    start = models.DateTimeField()
    arm = models.CharField(max_length=10, choices=Arm)
    reason = models.CharField(max_length=20)
    sums = models.JSONField(default=dict)
    people = models.PositiveIntegerField(null=True, help_text="Who was there; null until an hour or day is over.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "grain", "start", "arm", "reason"], name="one_slice_of_a_kind")
        ]
        indexes = [
            models.Index(
                fields=["start"],
                condition=models.Q(people__isnull=True, grain__in=[Grain.HOUR.value, Grain.DAY.value]),
                name="slice_of_uncounted_people",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rollout} {self.arm} {self.start:%Y-%m-%d %H:%M} {self.grain} s"


class Window(models.Model):
    """A restart of the evidence within a run: at each stretch, and each time 2,000 requests have come. Rows stay."""

    rollout = models.CharField(max_length=100)
    run = models.PositiveIntegerField()
    number = models.PositiveIntegerField(help_text="Counts from 0 over the run.")
    stretch = models.PositiveIntegerField()
    percent = models.DecimalField(max_digits=5, decimal_places=2, help_text="The percentage in force in the stretch.")
    starts_at = models.DateTimeField(null=True, help_text="Of the stretch's calls, those from then on; null: all.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "run", "number"], name="one_window_of_a_number")]
        indexes = [
            models.Index(
                fields=["rollout", "run"], condition=models.Q(starts_at__isnull=True), name="first_window_of_a_stretch"
            )
        ]

    def __str__(self) -> str:
        return f"{self.rollout} {self.run} {self.number}"


class ArmSum(models.Model):
    """One arm of a stretch, in all clusters of people: see ``arms.ArmSums``. Kept up by ``rollup`` alone.

    ``scope`` tells what the sums are over: the whole stretch; its newest window; or those of the stretch's calls whose
    rows are deleted, which are part of the whole and what a rebuild begins from.
    """

    class Scope(models.TextChoices):
        """See the class."""

        STRETCH = "stretch"
        WINDOW = "window"
        DELETED = "deleted"

    rollout = models.CharField(max_length=100)
    run = models.PositiveIntegerField()
    stretch = models.PositiveIntegerField()
    scope = models.CharField(max_length=10, choices=Scope)
    arm = models.CharField(max_length=10, choices=Arm)
    sums = models.JSONField(default=dict, help_text="Each number's list, one place for each cluster.")
    ttft_bins = models.BinaryField(default=bytes, help_text="See arms.pack.")
    latency_bins = models.BinaryField(default=bytes)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "run", "stretch", "scope", "arm"], name="one_sum_of_an_arm")
        ]

    def __str__(self) -> str:
        return f"{self.rollout} {self.stretch} {self.scope} {self.arm}"


class FirstSeen(models.Model):
    """A person's first request in a run: each is counted once, where they were first."""

    rollout = models.CharField(max_length=100)
    run = models.PositiveIntegerField()
    person = models.BigIntegerField(help_text="See sums.person_of.")
    arm = models.CharField(max_length=10, choices=Arm)
    stretch = models.PositiveIntegerField()
    started_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "run", "person"], name="first_seen_once")]

    def __str__(self) -> str:
        return f"{self.rollout} {self.run} {self.person}"


class LastSeen(models.Model):
    """The newest slice of five minutes in which a person asked something in an arm."""

    rollout = models.CharField(max_length=100)
    arm = models.CharField(max_length=10, choices=Arm)
    person = models.BigIntegerField(help_text="See sums.person_of.")
    start = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "arm", "person"], name="last_seen_once")]
        indexes = [models.Index(fields=["start"], name="last_seen_by_time")]

    def __str__(self) -> str:
        return f"{self.rollout} {self.arm} {self.person}"


class CallTotal(models.Model):
    """All calls of one kind ever, for counters that only rise: see ``totals.Total``. Kept up by ``rollup`` alone.

    ``deleted`` rows hold the part of the row beside them whose calls are deleted: what a rebuild begins from.
    """

    rollout = models.CharField(max_length=100)
    arm = models.CharField(max_length=10)
    reason = models.CharField(max_length=20)
    surface = models.CharField(max_length=20)
    provider = models.CharField(max_length=50)
    requested_model = models.CharField(max_length=100)
    served_model = models.CharField(max_length=100)
    upstream_model = models.CharField(max_length=200)
    outcome = models.CharField(max_length=10)
    error_class = models.CharField(max_length=50)
    deleted = models.BooleanField(default=False)
    sums = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "rollout",
                    "arm",
                    "reason",
                    "surface",
                    "provider",
                    "requested_model",
                    "served_model",
                    "upstream_model",
                    "outcome",
                    "error_class",
                    "deleted",
                ],
                name="one_total_of_a_kind",
            )
        ]

    def __str__(self) -> str:
        return f"{self.rollout} {self.arm} {self.served_model} {self.outcome}"


# Made of shorter ones, by the state's column that says which change they hold: a worker of a version that does not know
# them adds nothing to them.
MADE_OF_OTHERS = {Grain.SIX_HOURS: "six_hours_as_of", Grain.TEN_DAYS: "tens_as_of"}


class RollupState(models.Model):
    """How far the roll-ups are; one row, whose lock lets one process at a time write them."""

    rolled_at = models.DateTimeField(null=True, help_text="When nothing was left to roll up.")
    changed_at = models.DateTimeField(null=True, help_text="When calls were last added, or all was made anew.")
    horizon = models.DateTimeField(null=True, help_text="Calls that started before it are deleted.")
    six_hours_as_of = models.DateTimeField(
        null=True, help_text="The change that slices of six hours hold; another one than the last: they do not hold."
    )
    tens_as_of = models.DateTimeField(null=True, help_text="The same of slices of ten days.")
    rebuilding_until = models.DateTimeField(
        null=True, help_text="A rebuild is at work, and was alive two minutes before."
    )

    def __str__(self) -> str:
        return f"{self.rolled_at}"
