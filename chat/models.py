"""People (guests included), their conversations and messages, and programs' tokens."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from metrics.words import RATING_REASONS


def new_unit() -> str:
    """A fresh unit id: 32 hex digits, unrelated to anything about the person."""
    return uuid.uuid4().hex


class User(AbstractUser):
    """A person. A guest is a row too, which signing up turns into a full account, chats and arm kept.

    ``unit`` is what rollouts bucket by; it never changes and says nothing about the person.
    """

    unit = models.CharField(_("unit"), max_length=32, unique=True, default=new_unit, editable=False)
    is_guest = models.BooleanField(_("guest"), default=False)
    is_demo = models.BooleanField(_("demo data"), default=False, editable=False)

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="username_unique_whatever_the_case",
                violation_error_message=_("That name is taken."),
            )
        ]


class Conversation(models.Model):
    """One chat of one person, answered by one model key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(_("title"), max_length=200)
    model = models.CharField(_("model"), max_length=100)
    created_at = models.DateTimeField(_("created"))
    updated_at = models.DateTimeField(_("updated"))

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["user", "-updated_at"], name="conversation_history")]

    def __str__(self) -> str:
        # Not the title: that is a person's text, and this shows up in admin and logs.
        return str(self.id)


class Message(models.Model):
    """One turn. A reply starts empty and ``running``; a retried reply stays, marked as replaced."""

    class Role(models.TextChoices):
        USER = "user", _("person")
        ASSISTANT = "assistant", _("assistant")

    class State(models.TextChoices):
        """Where a reply stands: ``STOPPED`` by the person, ``FAILED`` with or without some text."""

        RUNNING = "running", _("running")
        COMPLETE = "complete", _("complete")
        STOPPED = "stopped", _("stopped")
        FAILED = "failed", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    role = models.CharField(_("role"), max_length=10, choices=Role)
    text = models.TextField(_("text"), blank=True)
    created_at = models.DateTimeField(_("created"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.COMPLETE)
    error = models.CharField(_("error"), max_length=30, blank=True, help_text=_("A code; pages show it in words."))
    reply_to = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="replies")
    replaced = models.BooleanField(_("replaced"), default=False)
    served_model = models.CharField(_("served model"), max_length=100, blank=True)
    rating = models.PositiveSmallIntegerField(
        _("rating"), null=True, validators=[MinValueValidator(1), MaxValueValidator(5)]
    )
    rating_reason = models.CharField(
        _("reason for the rating"), max_length=20, choices=RATING_REASONS, blank=True, default="", db_default=""
    )
    alive_at = models.DateTimeField(
        null=True, editable=False, help_text=_("When the process that writes this reply last said so.")
    )
    client_id = models.UUIDField(
        null=True, unique=True, editable=False, help_text=_("Made by the page: one send, one message.")
    )

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["created_at", "role", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=models.Q(state="running"),
                name="one_running_reply_per_conversation",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"


class ApiToken(models.Model):
    """A program's key. Only its SHA-256 is stored; 256 random bits need no salt or slow hash."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens", verbose_name=_("account")
    )
    name = models.CharField(_("name"), max_length=100, blank=True)
    prefix = models.CharField(
        _("prefix"), max_length=16, help_text=_("The token's first characters, to tell them apart.")
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    revoked_at = models.DateTimeField(_("revoked"), null=True, editable=False)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True, help_text=_("Empty: it never does."))
    is_read_only = models.BooleanField(
        _("read-only"), default=False, help_text=_("It can look and change nothing, whatever its account may do.")
    )

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}".strip()


class BreakerChange(models.Model):
    """An upstream's breaker changed its state. The newest row of an upstream says how it stands."""

    class State(models.TextChoices):
        """``OPEN``: nobody is sent there; ``HALF_OPEN``: one attempt tries it out."""

        CLOSED = "closed", _("closed")
        OPEN = "open", _("open")
        HALF_OPEN = "half_open", _("half-open")

    class Why(models.TextChoices):
        """What led to the change."""

        FAILURES = "failures", _("too many of the last attempts failed")
        COOLED_DOWN = "cooled_down", _("its cool-down was over: one attempt may try")
        PROBE_FAILED = "probe_failed", _("the attempt that tried failed too")
        PROBE_ANSWERED = "probe_answered", _("the attempt that tried was answered")

    upstream = models.CharField(_("upstream"), max_length=100, help_text=_("The model's key."))
    state = models.CharField(_("state"), max_length=10, choices=State)
    why = models.CharField(_("why"), max_length=20, choices=Why)
    failures = models.PositiveIntegerField(_("failures"), help_text=_("Among the last attempts before it opened."))
    changed_at = models.DateTimeField(_("since"))
    until = models.DateTimeField(_("cools down until"), null=True)

    class Meta:
        verbose_name = _("breaker change")
        verbose_name_plural = _("breaker changes")
        ordering = ["-changed_at", "-id"]
        indexes = [models.Index(fields=["-changed_at"], name="breaker_by_time")]

    def __str__(self) -> str:
        return f"{self.upstream} {self.state}"
