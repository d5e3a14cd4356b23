"""Where notices of a rollout go."""

import base64
import secrets
from urllib.parse import urlsplit

from django.db import models
from django.utils.translation import gettext_lazy as _

from rollout.models.reports import Delivery
from rollout.models.rollouts import Rollout

# How Standard Webhooks marks a secret; what follows is base64 of 24 to 64 bytes.
KEY_MARK = "whsec_"


def new_secret() -> str:
    """A fresh secret of 32 random bytes."""
    return KEY_MARK + base64.b64encode(secrets.token_bytes(32)).decode()


class NoticeTarget(models.Model):
    """One address that gets the notices of one rollout. A Slack address is a credential, and so is the secret."""

    rollout = models.ForeignKey(
        Rollout, on_delete=models.CASCADE, related_name="notice_targets", verbose_name=_("rollout")
    )
    channel = models.CharField(_("channel"), max_length=10, choices=Delivery.Channel)
    address = models.CharField(
        _("address"), max_length=500, help_text=_("An e-mail address, or the URL that is called: https only.")
    )
    secret = models.CharField(
        _("secret"),
        max_length=100,
        default=new_secret,
        help_text=_("Webhooks are signed with it, after Standard Webhooks (standardwebhooks.com)."),
    )
    is_on = models.BooleanField(_("on"), default=True)
    note = models.CharField(_("note"), max_length=200, blank=True)

    class Meta:
        verbose_name = _("notice target")
        verbose_name_plural = _("notice targets")
        ordering = ["rollout", "pk"]

    def __str__(self) -> str:
        return f"#{self.pk} {self.masked}"

    @property
    def masked(self) -> str:
        """The address without what lets others write to it."""
        if self.channel == Delivery.Channel.EMAIL:
            return self.address
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}/…{self.address[-4:]}"
