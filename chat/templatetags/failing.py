"""Which models are failing, at the head of admin's pages."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.admission import breakers
from chat.breaker import Breaker
from rollout.rights import may_see

register = template.Library()


@register.inclusion_tag("admin/chat/failing.html", takes_context=True)
def failing(context: Any) -> dict[str, Any]:
    """A warning for each model whose breaker is not closed, for whoever may see rollouts; nothing without Redis."""
    user = context.get("user")
    if user is None or not may_see(user):
        return {}
    standing = breakers.standing(settings.CHAT_MODELS)
    now = timezone.now()
    told = [
        _in_words(settings.CHAT_MODELS[key]["label"], breaker, now)
        for key, breaker in standing.items()
        if breaker.state != "closed"
    ]
    return {"told": told, "history": reverse("admin:chat_breakerchange_changelist")}


def _in_words(model: str, breaker: Breaker, now: datetime) -> str:
    until = timezone.localtime(datetime.fromtimestamp(breaker.until, UTC))
    if breaker.state == "half_open":
        told = _("%(model)s has failed too often: one request is trying it out.")
    elif breaker.wants_probe(now.timestamp()):
        told = _("%(model)s has failed too often: the next request will try it out.")
    else:
        told = _("%(model)s has failed too often: it is left alone until %(moment)s.")
    return told % {"model": model, "moment": f"{until:%H:%M:%S}"}
