"""How every provider adapter fails (chat/providers/base.py), over real HTTP and through the real SDKs.

Deadlines other than the one for connecting are not here: they belong to whoever runs an attempt.
"""

import asyncio
import traceback
from collections.abc import Callable, Iterable

import pytest

from chat.providers.base import (
    AuthenticationFailed,
    Finished,
    InvalidRequest,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    Refused,
    UsedSoFar,
)
from metrics.pricing import Usage
from tests.chat.vendors import KEY, Vendor, answer, ask, for_each_vendor, text_of
from tests.services import live
from tests.services.faults import FAULTS, INPUT_TOKENS, OUTPUT_TOKENS, SECRET_WORDS, TOKENS, Ask, Fault, Reply
from tests.services.faulty_upstream import FaultyUpstream

pytestmark = for_each_vendor


FAILURES: list[tuple[str, type[ProviderError], int | None]] = [
    ("p04-401-echo", AuthenticationFailed, 401),
    ("p05-403", AuthenticationFailed, 403),
    ("p06-404", InvalidRequest, 404),
    ("p06-400", InvalidRequest, 400),
    ("p06-413", InvalidRequest, 413),
    ("p06-422", InvalidRequest, 422),
    ("p08-429", RateLimited, 429),
    ("p10-quota", RateLimited, 429),
    ("p11-500", ProviderUnavailable, 500),
    ("p11-502", ProviderUnavailable, 502),
    ("p11-503", ProviderUnavailable, 503),
    ("p11-504", ProviderUnavailable, 504),
    ("p11-529", ProviderUnavailable, 529),
    ("p12-html", ProviderUnavailable, 500),
    ("p12-empty", ProviderUnavailable, 503),
    ("p13-html", ProviderUnavailable, None),
    ("p13-null", ProviderUnavailable, None),
    ("p13-list", ProviderUnavailable, None),
    ("p13-bad-json", ProviderUnavailable, None),
    ("p14-empty", ProviderUnavailable, None),
    ("p14-done", ProviderUnavailable, None),
    ("p14-no-choices", ProviderUnavailable, None),
    ("p16-cut-0", ProviderUnavailable, None),
    ("p16-cut-1", ProviderUnavailable, None),
    ("p16-cut-3", ProviderUnavailable, None),
    ("p16-reset-0", ProviderUnavailable, None),
    ("p16-reset-3", ProviderUnavailable, None),
    ("p17-no-finish", ProviderUnavailable, None),
    ("p18-bad-json", ProviderUnavailable, None),
    ("p19-inband-error", ProviderUnavailable, None),
    ("p19-inband-error-2", ProviderUnavailable, None),
    ("p26-filter", Refused, None),
    ("p27-blocked", Refused, None),
    ("p27-policy", Refused, None),
    ("p32-redirect", ProviderUnavailable, 307),
]


@pytest.mark.parametrize(("model", "kind", "status"), FAILURES)
def test_a_fault_is_one_provider_error_that_repeats_nothing_of_the_upstreams(
    vendor: Vendor, faulty: FaultyUpstream, model: str, kind: type[ProviderError], status: int | None
) -> None:
    events, error = answer(vendor, faulty.url, ask(model))

    assert type(error) is kind
    assert not any(isinstance(event, Finished) for event in events)
    assert len(faulty.requests) == 1
    if status is not None:
        assert error.status == status
    shown = "".join([str(error), repr(error), error.detail, error.error_class, *traceback.format_exception(error)])
    for secret in (KEY, SECRET_WORDS, "<html"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("p16-cut-1", 1),
        ("p16-cut-3", 3),
        ("p16-reset-3", 3),
        ("p17-no-finish", 2),
        ("p18-bad-json", 1),
        ("p19-inband-error-2", 2),
    ],
)
def test_text_before_a_fault_is_handed_on(vendor: Vendor, faulty: FaultyUpstream, model: str, tokens: int) -> None:
    events, error = answer(vendor, faulty.url, ask(model))

    assert isinstance(error, ProviderUnavailable)
    assert text_of(events) == "".join(TOKENS[:tokens])


def then(make: Callable[[Ask], Iterable[bytes]], *, broken: bool) -> Fault:
    """A stream of these events, and then a connection that is torn down or says nothing more."""

    async def fault(reply: Reply, ask: Ask) -> None:
        await reply.start()
        await reply.send(*make(ask))
        # What was sent gets read first.
        await asyncio.sleep(0.1)
        if broken:
            return reply.reset()
        await asyncio.Event().wait()

    return fault


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "silent"])
def test_an_answer_that_said_all_is_whole_whatever_becomes_of_its_connection(
    vendor: Vendor, faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    fault = then(lambda ask: [*ask.tokens(2), *ask.ending()[:2]], broken=broken)
    monkeypatch.setitem(FAULTS, "never-closed", fault)

    events, error = answer(vendor, faulty.url, ask("never-closed"))

    usage = Usage(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS)
    assert error is None
    assert text_of(events) == "".join(TOKENS[:2])
    assert events[-2:] == [
        UsedSoFar(usage=usage),
        Finished(finish_reason="stop", upstream_model="served-model", usage=usage),
    ]


def test_an_answer_that_broke_off_before_its_usage_is_not_whole(
    vendor: Vendor, faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = then(lambda ask: [*ask.tokens(2), *ask.ending()[:1]], broken=True)
    monkeypatch.setitem(FAULTS, "no-usage-yet", fault)

    events, error = answer(vendor, faulty.url, ask("no-usage-yet"))

    assert text_of(events) == "".join(TOKENS[:2])
    assert isinstance(error, ProviderUnavailable)
    assert error.error_class == "broken_stream"


def test_what_breaks_after_the_last_event_is_whole_without_usage_too(
    vendor: Vendor, faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = then(lambda ask: [*ask.tokens(2), ask.ending()[0], ask.dialect.done()], broken=True)
    monkeypatch.setitem(FAULTS, "all-said", fault)

    events, error = answer(vendor, faulty.url, ask("all-said"))

    assert text_of(events) == "".join(TOKENS[:2])
    # Gemini has no last event.
    assert (error is None) == (vendor.name == "openai")


def test_bytes_that_are_no_text_are_a_fault(vendor: Vendor, faulty: FaultyUpstream) -> None:
    events, error = answer(vendor, faulty.url, ask("p18-not-utf8"))

    assert text_of(events) == TOKENS[0]
    assert isinstance(error, ProviderUnavailable)


@pytest.mark.parametrize(
    ("model", "retry_after_s"),
    [("p08-429", 1.0), ("p09-day", 86400.0), ("p09-date", None), ("p09-garbage", None), ("p10-quota", None)],
)
def test_a_rate_limit_says_how_long_to_wait_where_the_provider_did(
    vendor: Vendor, faulty: FaultyUpstream, model: str, retry_after_s: float | None
) -> None:
    _, error = answer(vendor, faulty.url, ask(model))

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == retry_after_s


def test_an_outage_is_retryable_and_a_refused_key_is_not(vendor: Vendor, faulty: FaultyUpstream) -> None:
    _, outage = answer(vendor, faulty.url, ask("p11-503"))
    _, refused_key = answer(vendor, faulty.url, ask("p05-403"))

    assert isinstance(outage, ProviderError)
    assert isinstance(refused_key, ProviderError)
    assert (outage.retryable, refused_key.retryable) == (True, False)


def test_a_block_says_which_model_refused(vendor: Vendor, faulty: FaultyUpstream) -> None:
    _, error = answer(vendor, faulty.url, ask("p26-filter"))

    assert isinstance(error, Refused)
    assert error.upstream_model == "served-model"


def test_a_redirect_carries_nothing_to_another_origin(vendor: Vendor, faulty: FaultyUpstream) -> None:
    answer(vendor, faulty.url, ask("p32-redirect"))

    assert [received.path for received in faulty.requests if "elsewhere" in received.path] == []


def test_nobody_listening_is_unavailable(vendor: Vendor) -> None:
    with live.reserve_port() as bound_but_silent:
        events, error = answer(vendor, live.url_of(bound_but_silent), ask("ok"))

    assert events == []
    assert isinstance(error, ProviderUnavailable)
    assert error.error_class == "connect"


def test_a_connection_that_never_opens_meets_the_connect_timeout(vendor: Vendor, faulty: FaultyUpstream) -> None:
    # A plain port never answers a TLS greeting.
    url = faulty.url.replace("http:", "https:")

    _, error = answer(vendor, url, ask("ok", connect_timeout_s=0.2))

    assert isinstance(error, ProviderTimeout)
    assert error.error_class == "timeout_connect"


def test_without_a_key_nothing_is_sent(vendor: Vendor, faulty: FaultyUpstream) -> None:
    _, error = answer(vendor, faulty.url, ask("ok"), key="")

    assert isinstance(error, AuthenticationFailed)
    assert faulty.requests == []
