"""``manage.py simulate_traffic``: made-up people chat with the running server, over HTTP.

What they do is in ``simulator.people``; here it is started, watched and checked against the database.
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chat.traffic import Comparison, as_json, in_words
from config.paths import VAR_DIR
from metrics.answers import recorded_answers
from simulator.people import Answer, Memory, Person
from simulator.people_crowd import Crowd, NobodyAnswers, spread, without_end
from simulator.people_file import Damaged, load_people, save_people
from simulator.people_tally import Tally

# Those who only trickle in are others: two runs at once must not be the same people.
PEOPLE_FILE = VAR_DIR / "simulated-people.json"
TRICKLE_FILE = VAR_DIR / "simulated-trickle.json"
TRICKLE_PAUSE_S = (1.0, 3.0)
PATIENCE_S = 60.0


class Command(BaseCommand):
    """Starts a crowd, and says whether what it saw is what the server recorded."""

    help = (
        "Lets made-up people chat with a running Sluice over HTTP, then compares what they saw with what the server "
        "recorded. The same people come back in the next run. Exit code 1 if the counts differ or anybody was left "
        "without an answer."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How many people, how much they write, where, and how fast."""
        parser.add_argument("--people", type=int, default=400, metavar="N", help="how many people (400)")
        parser.add_argument("--messages", type=int, default=2000, metavar="N", help="how many messages in all (2000)")
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="where Sluice runs (http://127.0.0.1:8000)")
        parser.add_argument("--concurrency", type=int, default=20, metavar="N", help="how many write at once (20)")
        parser.add_argument("--seed", type=int, metavar="N", help="makes people's wishes and words repeatable")
        parser.add_argument(
            "--rate-share", type=float, default=0.3, metavar="SHARE", help="how many replies get a rating, 0 to 1 (0.3)"
        )
        parser.add_argument("--new-people", action="store_true", help="forget the people of earlier runs at this URL")
        parser.add_argument("--trickle", action="store_true", help="a message every one to three seconds")
        parser.add_argument(
            "--forever", action="store_true", help="until Ctrl-C, across restarts of the server; --messages is ignored"
        )
        parser.add_argument("--json", action="store_true", help="print the comparison as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, compare, tell."""
        url = _checked(options)
        path = TRICKLE_FILE if options["trickle"] else PEOPLE_FILE
        try:
            remembered = load_people(path, url)
        except Damaged as damaged:
            raise CommandError(str(damaged)) from None
        run = _Run(options, url, [] if options["new_people"] else remembered, self._complain)
        try:
            if options["forever"]:
                self.stderr.write(f"Made-up people chat at {url} until Ctrl-C.")
                asyncio.run(run.until_signalled())
            else:
                with _progress(options["messages"], sys.stderr) as advance:
                    asyncio.run(run.to_the_end(advance))
                self._compare(run, as_json_text=options["json"])
        except NobodyAnswers as nobody:
            raise CommandError(f"{nobody} Start Sluice with: make run") from None
        finally:
            save_people(path, url, run.memories())

    def _complain(self, words: str) -> None:
        self.stderr.write(f"A message went wrong: {words}")

    def _compare(self, run: "_Run", *, as_json_text: bool) -> None:
        both = Comparison(run.tally, recorded_answers(list(run.tally.taken)), run.people)
        for person in run.people:
            # Somebody who did not write has what they had.
            if person.number in both.arms:
                person.arm = both.arms[person.number][-1]
        if as_json_text:
            self.stdout.write(json.dumps(as_json(both), indent=2, ensure_ascii=False))
        else:
            self.stdout.write("\n".join(in_words(both)))
        if not both.is_equal:
            raise CommandError(
                "The server recorded something else than we counted. Does this command use the server's DATABASE_URL?"
            )
        if run.tally.unanswered:
            raise CommandError(f"Without an answer: {run.tally.unanswered} of {len(run.tally.answers)} messages.")


class _Run:
    """One crowd at work."""

    def __init__(
        self, options: dict[str, Any], url: str, remembered: list[Memory], complain: Callable[[str], None]
    ) -> None:
        self._options = options
        self._url = url
        self._remembered = remembered
        self._complain = complain
        self._rng = random.Random(options["seed"])  # noqa: S311 - made-up traffic needs no cryptographic dice
        self._last_trouble: list[str] = []
        self.people: list[Person] = []
        self.tally = Tally()

    def memories(self) -> list[Memory]:
        """Everybody who can come back: this run's people, and those for whom there was no room in it."""
        memories = [person.memory() for person in self.people]
        return [memory for memory in memories if memory is not None] + self._remembered[len(self.people) :]

    async def to_the_end(self, advance: Callable[[], None]) -> None:
        """All messages once."""
        options = self._options

        def on_answer(answer: Answer) -> None:
            self.tally.note(answer)
            advance()

        async with self._crowd() as crowd:
            await crowd.wait_for_server(0)
            await self._chat(crowd, spread(options["messages"], options["people"], self._rng), on_answer, None)

    async def until_signalled(self) -> None:
        """Messages without end. Returns at SIGINT or SIGTERM; NobodyAnswers if the server stays away."""
        async with self._crowd() as crowd:
            chatting = asyncio.create_task(self._chat_on(crowd))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, chatting.cancel)
            with suppress(asyncio.CancelledError):
                await chatting

    async def _chat_on(self, crowd: Crowd) -> None:
        await crowd.wait_for_server(PATIENCE_S)
        await self._chat(crowd, without_end(self._options["people"], self._rng), self._watch, PATIENCE_S)

    async def _chat(
        self, crowd: Crowd, turns: Any, on_answer: Callable[[Answer], None], patience_s: float | None
    ) -> None:
        await crowd.chat(
            turns,
            model=settings.DEFAULT_CHAT_MODEL,
            rate_share=self._options["rate_share"],
            concurrency=self._options["concurrency"],
            on_answer=on_answer,
            pause_s=TRICKLE_PAUSE_S if self._options["trickle"] else (0.0, 0.0),
            patience_s=patience_s,
        )

    def _watch(self, answer: Answer) -> None:
        """Say what goes wrong, but the same thing only once in a row."""
        if answer.errors and answer.errors != self._last_trouble:
            self._complain(", ".join(answer.errors))
        self._last_trouble = answer.errors

    def _crowd(self) -> Crowd:
        crowd = Crowd(self._url, size=self._options["people"], rng=self._rng, remembered=self._remembered)
        self.people = crowd.people
        return crowd


def _checked(options: dict[str, Any]) -> str:
    """The URL in its plain form. CommandError for options that make no sense."""
    for name in ("people", "messages", "concurrency"):
        if options[name] < 1:
            raise CommandError(f"--{name} must be at least 1.")
    if not 0 <= options["rate_share"] <= 1:
        raise CommandError("--rate-share must be from 0 to 1.")
    url = urlsplit(options["url"])
    if url.scheme not in ("http", "https") or not url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise CommandError(f"Not the address of a site: {options['url']}. Write it as http://127.0.0.1:8000")
    return f"{url.scheme}://{url.netloc}"


@contextmanager
def _progress(total: int, stream: Any) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, and a line now and then elsewhere; gives what to call after each message."""
    if stream.isatty():
        columns = (TextColumn("Messages"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=stream), transient=True) as progress:
            task = progress.add_task("messages", total=total)
            yield lambda: progress.advance(task)
        return
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if done % max(1, total // 10) == 0 or done == total:
            stream.write(f"{done} of {total} messages\n")
            stream.flush()

    yield advance
