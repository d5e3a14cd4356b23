"""Filters for showing messages: markdown as blocks, error codes as words."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from chat.markdown import render_blocks
from chat.words import error_words

register = template.Library()
register.filter("error_words", error_words)


@register.filter
def blocks(text: str) -> list[SafeString]:
    """The markdown text as sanitised HTML blocks."""
    return [mark_safe(html) for html in render_blocks(text)]  # noqa: S308
