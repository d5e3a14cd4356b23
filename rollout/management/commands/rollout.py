"""``manage.py rollout``: read and steer a rollout from a terminal, on the same services as the API and admin."""

import json
import os
import pwd
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.core.management.color import no_style
from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import gettext as _

from rollout import services, text
from rollout.changes import Actor, ChangeRefused, get_rollout
from rollout.models import Report, Source
from rollout.ramp_serializers import ScheduleSerializer
from rollout.ramp_text import history_text, schedule_text
from rollout.report_text import report_text, trend
from rollout.reports import ReportNotFound, find_report, parse_day
from rollout.routing_serializers import ExplanationSerializer
from rollout.schedule import schedule
from rollout.serializers import document_of
from rollout.status import Status
from rollout.terminal import WORDS, steer

_ACTIONS = ("status", "report", *WORDS, "schedule", "history", "explain", "help")
# What has to follow an action.
_OPERANDS = ("set-traffic", "undo", "explain")


def _epilog() -> str:
    return _(
        """actions:
  status          how the rollout stands: traffic, performance, cost, criteria, what to do next
  report          the same with every count and the last hours as lines; --week or --day: a report as it was built
  set-traffic N   give the candidate to N percent of people, 0 to 100
  enable          switch the rollout on
  disable         switch it off: everyone gets the baseline from the next request on
  force-gemini    give the candidate to everyone
  reset           on, at 5 %, nothing forced
  schedule        the ramp by week, where it stands, what comes next and what it waits for
  start, pause, resume, advance, approve, roll-back, complete, restart
                  take the ramp on, stop it, or begin it again
  accept          do what the autopilot proposes
  history         the last changes, with their numbers
  undo NUMBER     back to how it was before that change
  explain UNIT    which arm a person would get, by unit or user name, and why
  help            this text

examples:
  python manage.py rollout status --hours 48
  python manage.py rollout set-traffic 15 --reason "A quiet week"
  python manage.py rollout roll-back --reason "It answers in French"
  python manage.py rollout report --week 2026-11-16
  python manage.py rollout status --json"""
    )


class _Help(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the lines of the list of actions."""


class Command(BaseCommand):
    """Words in, words out; what they do is in ``services`` and ``changes``."""

    help = "Reads and steers a rollout."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """A mistake on the command line is told like any other: in one sentence."""
        parser = super().create_parser(prog_name, subcommand, formatter_class=_Help, epilog=_epilog(), **kwargs)

        def refuse(message: str) -> NoReturn:
            if not parser.called_from_command_line:
                raise CommandError(message)
            self.stderr.write(f"{message[:1].upper()}{message[1:]}. See: manage.py rollout help")
            sys.exit(2)

        parser.error = refuse  # type: ignore[method-assign]
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """One action, and options that may stand before or after it."""
        parser.add_argument("action", nargs="?", default="help", choices=_ACTIONS, metavar="action")
        parser.add_argument(
            "operand",
            nargs="?",
            metavar="N|UNIT",
            help=_("The percentage, for set-traffic; the person, for explain; the change's number, for undo."),
        )
        parser.add_argument("--rollout", default=settings.DEFAULT_ROLLOUT, metavar="NAME", help=_("Which rollout."))
        parser.add_argument("--hours", default="24", help=_("The window of the figures, 1 to 720."))
        parser.add_argument("--week", metavar="DATE", help=_("With report: the weekly report that has this day in it."))
        parser.add_argument("--day", metavar="DATE", help=_("With report: the daily report of this day."))
        parser.add_argument("--language", default="", help=_("With explain: the language of the person's browser."))
        parser.add_argument("--json", action="store_true", help=_("Print the API's document instead of text."))
        parser.add_argument("--yes", action="store_true", help=_("Steer by hand though the ramp runs by itself."))
        parser.add_argument("--reason", default="", metavar="TEXT", help=_("Why, for the history of changes."))

    def execute(self, *args: Any, **options: Any) -> str | None:
        """NO_COLOR (no-color.org) is --no-color."""
        if os.environ.get("NO_COLOR") and not options["force_color"]:
            options["no_color"] = True
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the action. CommandError, in one sentence, for whatever is not possible."""
        if not (options["force_color"] or self.stdout.isatty()):
            self.style = no_style()
        action = options["action"]
        if (options["operand"] is not None) != (action in _OPERANDS):
            wanted = {
                "explain": _("A unit or user name goes with explain: explain ada"),
                "undo": _("A change's number goes with undo, as rollout history has it: undo 12"),
            }
            raise CommandError(
                wanted.get(action, _("A percentage goes with set-traffic, and with nothing else: set-traffic 15"))
            )
        if options["json"] and action in ("history", "help"):
            raise CommandError(_("--json goes with status, report, schedule, explain and changes."))
        if (options["week"] or options["day"]) and (action != "report" or (options["week"] and options["day"])):
            raise CommandError(_("--week or --day goes with report: rollout report --week 2026-11-16"))
        try:
            self._act(action, options)
        except (ChangeRefused, ReportNotFound, services.WindowRefused, services.UnitRefused) as refused:
            raise CommandError(str(refused)) from refused
        except UnicodeEncodeError as error:
            raise CommandError(_("That is not UTF-8 text.")) from error
        except DatabaseError as error:
            first_line = str(error).partition("\n")[0]
            raise CommandError(
                _("The database can't be used (%(error)s). Is it up, and did you run manage.py migrate?")
                % {"error": first_line}
            ) from error

    def _act(self, action: str, options: dict[str, Any]) -> None:
        alone = {"help": self._help, "explain": self._explain, "history": self._history}
        if action in alone:
            alone[action](options)
            return
        name, hours = options["rollout"], services.parse_hours(options["hours"])
        changed = self._steer(name, action, options) if action in WORDS else None
        if options["week"] or options["day"]:
            self._show_report(name, options)
            return
        now = timezone.now()
        current = services.status(name, hours=hours, now=now)
        document = document_of(current)
        if action == "schedule" and options["json"]:
            self.stdout.write(json.dumps(ScheduleSerializer(schedule(name, now=now)).data, indent=2))
        elif options["json"]:
            self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
        elif changed is not None:
            self._tell(current, changed)
        elif action == "schedule":
            found = schedule(name, now=now)
            self.stdout.write(schedule_text(found, text.standing(current), self.style))
        elif action == "status":
            self.stdout.write(text.status(document, self.style))
        else:
            series = services.trend(name, hours=hours, now=now)
            self.stdout.write(text.report(document, trend(series), self.style))

    def _help(self, options: dict[str, Any]) -> None:
        self.stdout.write(self.create_parser("manage.py", "rollout").format_help())

    def _history(self, options: dict[str, Any]) -> None:
        self.stdout.write(history_text(services.history(get_rollout(options["rollout"]).name), self.style))

    def _steer(self, name: str, action: str, options: dict[str, Any]) -> bool:
        actor = Actor(name=_os_user(), source=Source.CLI)
        return steer(
            name, action, operand=options["operand"], why=options["reason"], confirmed=options["yes"], actor=actor
        )

    def _explain(self, options: dict[str, Any]) -> None:
        unit, user = services.find_unit(options["operand"])
        found = services.explain(options["rollout"], unit, user=user, language=options["language"])
        if options["json"]:
            self.stdout.write(json.dumps(ExplanationSerializer(found).data, indent=2, ensure_ascii=False))
        else:
            self.stdout.write(text.explanation(found))

    def _show_report(self, name: str, options: dict[str, Any]) -> None:
        kind = Report.Kind.WEEKLY if options["week"] else Report.Kind.DAILY
        report = find_report(kind, get_rollout(name).name, parse_day(options["week"] or options["day"]))
        if options["json"]:
            self.stdout.write(json.dumps(report.document, indent=2, ensure_ascii=False))
        else:
            self.stdout.write(report_text(report.document, self.style))

    def _tell(self, current: Status, changed: bool) -> None:
        head = self.style.SUCCESS(_("Done.")) if changed else self.style.WARNING(_("Nothing to change."))
        self.stdout.write(f"{head} {text.standing(current)}")
        following = {None: "status", True: "reset", False: "enable"}[current.rollout.everyone]
        self.stdout.write(_("Next: python manage.py rollout %(action)s") % {"action": following})


def _os_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
