"""Filters for showing messages: markdown as blocks, error codes as words, what a rating can be given as reasons."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from chat.markdown import render_blocks
from chat.words import error_words
from metrics.ratings import takes_reason
from metrics.words import RATING_REASONS

register = template.Library()
register.filter("error_words", error_words)


@register.filter
def blocks(text: str) -> list[SafeString]:
    """The markdown text as sanitised HTML blocks."""
    return [mark_safe(html) for html in render_blocks(text)]  # noqa: S308


@register.filter
def reasons(rating: int | None) -> list[tuple[str, str]]:
    """The reasons that a rating can have, as code and words; none for a good one and for none."""
    return [(code, str(words)) for code, words in RATING_REASONS.items()] if takes_reason(rating) else []
