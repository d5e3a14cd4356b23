"""Weekly reports by mail, once to each who wants them. Part of rollout's services; is told the time."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from rollout.defaults import WEEKLY_REPORT_GROUP
from rollout.deliveries import Channel, Target, post
from rollout.models import Report
from rollout.report_document import period
from rollout.report_tables import lead, report_tables, title_of
from rollout.report_text import report_text
from rollout.reports import SETTLED_AFTER

EVENT = "weekly_report"
# A report that is older when mail begins to work again is nobody's news.
NEWS_FOR = timedelta(days=7)


def mail_due_reports(*, now: datetime) -> int:
    """Post each weekly report that has settled to whoever has not had it. Returns how many mails were posted."""
    wanted = list(recipients())
    if not wanted:
        return 0
    fresh = Report.objects.filter(
        kind=Report.Kind.WEEKLY, is_newest=True, first_day__gte=(now - NEWS_FOR - timedelta(days=8)).date()
    )
    return sum(
        _post(report, wanted, now)
        for report in fresh
        if SETTLED_AFTER <= now - period(report.kind, report.first_day)[1] <= NEWS_FOR
    )


def recipients() -> Iterable[str]:
    """Addresses: those of the settings, and of active staff in the group for it."""
    yield from settings.REPORT_EMAILS
    staff = get_user_model().objects.filter(is_active=True, is_staff=True, groups__name=WEEKLY_REPORT_GROUP)
    yield from staff.exclude(email="").order_by("email").values_list("email", flat=True)


def _post(report: Report, wanted: Iterable[str], now: datetime) -> int:
    return post(
        rollout=report.rollout,
        event=EVENT,
        key=f"{EVENT}:{report.rollout}:{report.first_day}",
        targets=[Target(Channel.EMAIL, address) for address in wanted],
        write=lambda: message_of(report),
        now=now,
    )


@translation.override(settings.LANGUAGE_CODE)
def message_of(report: Report) -> dict[str, str]:
    """The mail: ``subject``, ``text`` and ``html``, in the installation's language."""
    document = report.document
    page = settings.SITE_URL and settings.SITE_URL + reverse("admin:rollout_report_change", args=[report.pk])
    context = {"title": title_of(document), "lead": lead(document), "tables": report_tables(document), "page": page}
    text = report_text(document)
    return {
        "subject": _("Weekly report: %(title)s") % {"title": context["title"]},
        "text": f"{text}\n{page}\n" if page else text,
        "html": render_to_string("mail/report.html", context),
    }
