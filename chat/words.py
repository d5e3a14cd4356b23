"""Why a reply failed, in words for the person who waits for it. Knows the codes and the translations, no storage."""

from django.utils.translation import gettext as _


def error_words(code: str) -> str:
    """What happened and what to do, in a sentence or two; codes that nobody knows get a general one."""
    known = {
        "rate_limited": _("Too many people are asking right now. Try again in a minute."),
        "unavailable": _("The assistant can't be reached right now. Try again in a moment."),
        "timeout": _("The assistant took too long. Try again."),
        "invalid_request": _("The assistant can't work with this conversation. Try again, or start a new chat."),
        "authentication": _("The assistant isn't available right now. We have to fix this on our side."),
        "refused": _("The assistant won't answer this. Try asking in another way."),
        "empty": _("The assistant had nothing to say. Try again."),
        "broken": _("The reply broke off before its end. Try again."),
        "too_long": _("The reply got too long and was cut off. Ask for something shorter, or in parts."),
        "abandoned": _("The reply was interrupted. Try again."),
        "interrupted": _("The reply was interrupted. Try again."),
    }
    return known.get(code, _("Something went wrong. Try again."))
