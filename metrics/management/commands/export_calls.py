"""``manage.py export_calls``: ended calls as CSV or JSON lines, to a file or a pipe."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _

from metrics.export import FORMATS, ExportRefused, parse_export, write_export


class Command(BaseCommand):
    """The same file as ``GET /api/v1/calls/export``."""

    help = "Writes ended calls as a file. No text of a person is in it; a pseudonym stands for the person."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which calls, how, and where to."""
        moment = _("A date (in TIME_ZONE), or ISO-8601 with an offset.")
        parser.add_argument("--format", choices=FORMATS, default="csv")
        parser.add_argument("--from", dest="since", metavar="MOMENT", help=moment)
        parser.add_argument(
            "--to", dest="until", metavar="MOMENT", help=f"{moment} {_('A whole day is in, a moment itself is out.')}"
        )
        parser.add_argument("--rollout", metavar="NAME", help=_("Calls of this rollout alone."))
        parser.add_argument("--output", type=Path, metavar="FILE", help=_("Default: standard output."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Write piece by piece."""
        try:
            export = parse_export(
                **{name: options[name] for name in ("format", "since", "until", "rollout")}, now=timezone.now()
            )
        except ExportRefused as refusal:
            raise CommandError(str(refusal)) from None
        path: Path | None = options["output"]
        try:
            with nullcontext() if path is None else path.open("w", encoding="utf-8", newline="") as file:
                for piece in write_export(export):
                    if file is None:
                        self.stdout.write(piece, ending="")
                    else:
                        file.write(piece)
        except OSError as error:
            raise CommandError(str(error)) from None
