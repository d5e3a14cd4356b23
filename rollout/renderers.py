"""Reports as texts. Knows HTTP; what is in them comes from elsewhere."""

from api.renderers import TextRenderer


class ReportRenderer(TextRenderer):
    """``?format=report``: what ``manage.py rollout report`` prints, without colours."""

    media_type = "text/plain"
    format = "report"
