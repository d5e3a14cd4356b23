"""Reports, and what is sent to people and programs."""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _


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


class Delivery(models.Model):
    """One message to one target: sent at least once, tried again until it is taken. ``id`` goes along with it."""

    class Channel(models.TextChoices):
        """By which way."""

        EMAIL = "email", _("e-mail")
        WEBHOOK = "webhook", _("webhook")
        SLACK = "slack", _("Slack")

    class State(models.TextChoices):
        """How far it is."""

        PENDING = "pending", _("waiting")
        SENT = "sent", _("sent")
        FAILED = "failed", _("given up")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rollout = models.CharField(_("rollout"), max_length=100)
    event = models.CharField(_("event"), max_length=30)
    channel = models.CharField(_("channel"), max_length=10, choices=Channel)
    target = models.CharField(_("target"), max_length=600)
    is_notice = models.BooleanField(default=False, help_text=_("To a notice target, and not to a person by itself."))
    notice_target = models.ForeignKey(
        "rollout.NoticeTarget",
        null=True,
        on_delete=models.SET_NULL,
        related_name="deliveries",
        verbose_name=_("notice target"),
        help_text=_("Where the address and the secret are."),
    )
    key = models.CharField(_("key"), max_length=200, help_text=_("A target gets what has this key once."))
    message = models.JSONField(_("message"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    error = models.CharField(_("last error"), max_length=300, blank=True)
    created_at = models.DateTimeField(_("created"))
    next_try_at = models.DateTimeField(_("next try"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["key", "channel", "target"], name="one_delivery_of_a_key")]
        indexes = [
            models.Index(fields=["next_try_at"], condition=models.Q(state="pending"), name="delivery_due"),
            models.Index(fields=["rollout", "-created_at"], name="deliveries_of_a_rollout"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.target}"
