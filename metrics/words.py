"""Codes of what was recorded, in words for people: the same on the chat page and in admin. Knows no storage."""

from django.utils.translation import gettext_lazy as _

RATING_REASONS = {
    "incorrect": _("Not correct"),
    "unhelpful": _("Not helpful"),
    "slow": _("Too slow"),
    "style": _("Wrong tone or length"),
    "unsafe": _("Unsafe or offensive"),
    "other": _("Something else"),
}
