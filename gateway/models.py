"""Applications' keys, what they spend, and what their people say."""

from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from metrics.words import RATING_REASONS

PREFIX_CHARS = 15


def validate_models(keys: Any) -> None:
    """A list of keys of the catalogue."""
    if not isinstance(keys, list) or not set(keys) <= set(settings.CHAT_MODELS):
        raise ValidationError(
            _("Must be a list of any of: %(known)s."), params={"known": ", ".join(settings.CHAT_MODELS)}
        )


class ApiKey(models.Model):
    """One application's key. Only its SHA-256 is stored; 256 random bits need no salt or slow hash."""

    name = models.CharField(_("application"), max_length=100)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="api_keys",
        verbose_name=_("owner"),
        help_text=_("Whoever names no unit gets this account's arm."),
    )
    prefix = models.CharField(
        _("prefix"), max_length=20, help_text=_("The key's first characters, to tell them apart.")
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    may_name_units = models.BooleanField(
        _("may name units"),
        default=True,
        help_text=_("Whether X-Sluice-Unit and the body's user say who asks. Off: it is always the owner."),
    )
    models_allowed = models.JSONField(
        _("models"),
        default=list,
        blank=True,
        validators=[validate_models],
        help_text=_("Which it may ask for; none: all of them."),
    )
    requests_per_minute = models.PositiveIntegerField(
        _("requests a minute"), null=True, blank=True, validators=[MinValueValidator(1)]
    )
    tokens_per_minute = models.PositiveIntegerField(
        _("tokens a minute"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("A request counts for its prompt and its max_tokens (2,000 without) until it has ended."),
    )
    dollars_per_day = models.DecimalField(
        _("US dollars a day"),
        max_digits=10,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text=_(
            "Days are UTC's. A request counts for the most that it may cost until it has ended; an answer that sets no "
            "max_tokens gets 4,096. Empty: no limit."
        ),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["name", "-created_at"]

    def __str__(self) -> str:
        return f"{self.name} {self.prefix}…"

    def set_text(self, text: str) -> None:
        """Keep what may be kept of the key."""
        self.prefix, self.digest = text[:PREFIX_CHARS], self.digest_of(text)

    @staticmethod
    def digest_of(text: str) -> str:
        """What is stored of a key."""
        return sha256(text.encode()).hexdigest()


class Spending(models.Model):
    """What a key has spent on a day (UTC), and what is reserved for calls that still run; pico-dollars."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="spending", verbose_name=_("key"))
    day = models.DateField(_("day"))
    spent = models.BigIntegerField(_("spent"), default=0)
    reserved = models.BigIntegerField(_("reserved"), default=0)

    class Meta:
        verbose_name = _("spending")
        verbose_name_plural = _("spending")
        constraints = [models.UniqueConstraint(fields=["key", "day"], name="one_sum_of_a_day")]

    def __str__(self) -> str:
        return f"{self.key_id} {self.day}"


class Feedback(models.Model):
    """What a person said of an answer, through the application; one for each answer, and the newest counts."""

    answer_id = models.UUIDField(_("answer"), primary_key=True)
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="feedback", verbose_name=_("key"))
    rating = models.PositiveSmallIntegerField(_("rating"), null=True)
    reason = models.CharField(_("reason"), max_length=20, choices=RATING_REASONS, blank=True)
    comment = models.CharField(_("comment"), max_length=2000, blank=True)
    at = models.DateTimeField(_("when"))

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        ordering = ["-at"]

    def __str__(self) -> str:
        return str(self.answer_id)
