"""A made-up person who chats with a running Sluice over HTTP, as a browser would.

Knows the pages' addresses and what comes back. Knows no project code and sees no more than a visitor
does: which model answers is nothing that a person could tell.
"""

import asyncio
import json
import random
import re
import secrets
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from html import unescape

import httpx2

from simulator import people_words

SIGN_UP_SHARE = 0.2
# How many messages a conversation has, from and to.
TURNS = (2, 6)
# A browser takes up a broken stream again after a second, and a patient person gives up after this many tries.
RECONNECT_S = 1.0
TRIES = 30
# Longer than the server gives any answer.
PATIENCE_S = 300.0
_PROBLEM = re.compile(r'class="note problem">([^<]*)<')


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is left of a person when a run is over.

    ``cookies`` are (name, value, domain, path). ``arm`` is what somebody who may look behind the pages
    has found out about the person, "" for nothing; the person does not know it.
    """

    cookies: list[list[str]]
    conversation: str
    account: str = ""
    arm: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one message, as its person saw it.

    ``reply`` is ``None`` and ``state`` "untaken" where the message was not accepted; "lost" is a reply whose
    end never came; otherwise ``state`` is the one that the stream's end told: complete, stopped or failed.
    ``ttft_ms`` runs from sending to the first words, ``None`` where there were none. ``errors`` holds whatever
    went wrong on the way, in words.
    """

    person: int
    state: str
    reply: uuid.UUID | None = None
    ttft_ms: float | None = None
    rating: int | None = None
    rating_reason: str = ""
    errors: list[str] = field(default_factory=list)


class Trouble(Exception):
    """Something did not work; the text says it as a person would see it."""


class Person:
    """One visitor with cookies of their own. ``number`` tells people of one crowd apart; ``clock`` is in seconds."""

    def __init__(
        self,
        number: int,
        client: httpx2.AsyncClient,
        rng: random.Random,
        clock: Callable[[], float],
        memory: Memory | None = None,
    ) -> None:
        self.number = number
        self.arm_before = memory.arm if memory else ""
        self.arm = self.arm_before
        self.account = memory.account if memory else ""
        self.returned = False
        self._conversation = memory.conversation if memory else ""
        self._client = client
        self._rng = rng
        self._clock = clock
        self._arrived = False
        self._turns_left = 0
        self._wants_account = rng.random() < SIGN_UP_SHARE
        self._at_a_time = asyncio.Lock()
        for name, value, domain, path in memory.cookies if memory else ():
            client.cookies.set(name, value, domain, path)

    def memory(self) -> Memory | None:
        """What to keep for the next run; ``None`` of somebody who never got to talk."""
        if not self._conversation:
            return None
        cookies = [[c.name, c.value or "", c.domain, c.path] for c in self._client.cookies.jar]
        return Memory(cookies=cookies, conversation=self._conversation, account=self.account, arm=self.arm)

    async def say(self, model: str, *, rate_share: float) -> Answer:
        """Write a message, read the reply to its end, perhaps rate it, perhaps sign up; one message at a time."""
        async with self._at_a_time:
            try:
                await self._arrive()
                sent_at = self._clock()
                reply = await self._send(model)
            except Trouble as trouble:
                return Answer(person=self.number, state="untaken", errors=[str(trouble)])
            state, ttft_ms, errors = await self._read(reply, sent_at)
            rating, reason = None, ""
            if state == "lost":
                # The next message needs a chat in which nothing is being written.
                self._turns_left = 0
            if state == "complete":
                try:
                    if self._rng.random() < rate_share:
                        rating, reason = await self._rate(reply)
                    if self._wants_account and not self.account:
                        await self._sign_up()
                except Trouble as trouble:
                    errors.append(str(trouble))
            return Answer(
                person=self.number,
                state=state,
                reply=reply,
                ttft_ms=ttft_ms,
                rating=rating,
                rating_reason=reason,
                errors=errors,
            )

    async def _arrive(self) -> None:
        """Open the last chat, or a new one; who finds the last chat gone is somebody new."""
        if self._arrived:
            return
        if self._conversation:
            page = await self._request("GET", f"/c/{self._conversation}/", expect=(200, 404))
            self.returned = page.status_code == 200
            if self.returned:
                self._wants_account = False
                self._turns_left = self._rng.randint(0, TURNS[1] // 2)
            else:
                self._forget()
        if not self._conversation:
            await self._request("GET", "/")
        self._arrived = True

    def _forget(self) -> None:
        self._client.cookies.clear()
        self._conversation = self.account = self.arm = self.arm_before = ""

    async def _send(self, model: str) -> uuid.UUID:
        going_on = self._conversation if self._turns_left else ""
        fields = {
            "text": people_words.follow_up(self._rng) if going_on else people_words.first_question(self._rng),
            "model": model,
            "conversation": going_on,
            "client_id": str(uuid.uuid4()),
        }
        accepted = (await self._request("POST", "/messages", fields, expect=(201,))).json()
        if not going_on:
            self._turns_left = self._rng.randint(*TURNS)
        self._turns_left -= 1
        self._conversation = accepted["conversation"]["id"]
        return uuid.UUID(accepted["reply"])

    async def _read(self, reply: uuid.UUID, sent_at: float) -> tuple[str, float | None, list[str]]:
        """Follow the stream to its end: (state, time to first words in ms, errors in words)."""
        seen = _Seen()
        try:
            async with asyncio.timeout(PATIENCE_S):
                end = await self._hear_out(reply, seen)
        except (TimeoutError, Trouble) as trouble:
            return "lost", None, [str(trouble) or "the reply's end never came"]
        failed = end["state"] == "failed"
        ttft_ms = None if failed or seen.first_at is None else 1000 * (seen.first_at - sent_at)
        return end["state"], ttft_ms, [_problem(end["html"])] if failed else []

    async def _hear_out(self, reply: uuid.UUID, seen: "_Seen") -> dict[str, str]:
        """The content of the stream's last event, over as many connections as it takes."""
        for _ in range(TRIES):
            await self._listen(reply, seen)
            if seen.end is not None:
                return seen.end
            await asyncio.sleep(RECONNECT_S)
        raise TimeoutError

    async def _listen(self, reply: uuid.UUID, seen: "_Seen") -> None:
        """Take in one connection's events, from where the last one broke off."""
        headers = {"Last-Event-ID": seen.last_id} if seen.last_id else {}
        with suppress(httpx2.TransportError):
            async with self._client.sse(f"/answers/{reply}/events", headers=headers) as events:
                _check(events.response, (200,))
                # Read on past the last event, to the stream's end: then the connection can serve again.
                async for event in events:
                    seen.last_id = event.id or seen.last_id
                    if seen.first_at is None and event.event in ("blocks", "done"):
                        seen.first_at = self._clock()
                    if event.event == "done":
                        seen.end = json.loads(event.data)

    async def _rate(self, reply: uuid.UUID) -> tuple[int, str]:
        rating = people_words.stars(self._rng)
        reason = people_words.reason(rating, self._rng)
        await self._request("POST", f"/answers/{reply}/rating", {"value": str(rating), "reason": reason})
        return rating, reason

    async def _sign_up(self) -> None:
        """Become an account, and go on in the same conversation: it must still be there."""
        self._wants_account = False
        account = f"sim-{secrets.token_hex(6)}"
        await self._request("GET", "/accounts/signup/")
        fields = {"username": account, "password": secrets.token_urlsafe(12), "email": ""}
        await self._request("POST", "/accounts/signup/", fields, expect=(302,))
        self.account = account
        self._turns_left = max(self._turns_left, 1)

    async def _request(
        self, method: str, path: str, data: dict[str, str] | None = None, *, expect: tuple[int, ...] = (200,)
    ) -> httpx2.Response:
        headers = {}
        if data is not None:
            site = str(self._client.base_url).rstrip("/")
            token = next((c.value for c in self._client.cookies.jar if c.name == "csrftoken"), "") or ""
            headers = {"X-CSRFToken": token, "Origin": site, "Referer": f"{site}/", "Accept": "application/json"}
        try:
            response = await self._client.request(method, path, data=data, headers=headers)
        except httpx2.TimeoutException:
            raise Trouble("no answer in time") from None
        except httpx2.ConnectError:
            raise Trouble("no connection") from None
        except httpx2.TransportError:
            raise Trouble("the connection broke") from None
        _check(response, expect)
        return response


@dataclass
class _Seen:
    """What has come of a reply so far; ``end`` is the last event's content."""

    last_id: str = ""
    first_at: float | None = None
    end: dict[str, str] | None = None


def _problem(html: str) -> str:
    """What the page says of a reply that failed."""
    found = _PROBLEM.search(html)
    return unescape(found[1]) if found else "the reply failed"


def _check(response: httpx2.Response, expect: tuple[int, ...]) -> None:
    if response.status_code in expect:
        return
    # Only a response that was read whole has a text; a stream that was refused tells by its status.
    if response.is_stream_consumed and "json" in response.headers.get("content-type", ""):
        raise Trouble(str(response.json().get("error", f"HTTP {response.status_code}")))
    raise Trouble(f"HTTP {response.status_code} at {re.sub(r'[0-9a-f-]{32,}', '…', response.url.path)}")
