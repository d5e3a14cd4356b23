"""What Gemini alone says, and how (chat/providers/gemini.py), over real HTTP and through its real SDK."""

from collections.abc import Iterator

import pytest

from chat.providers.base import AuthenticationFailed, InvalidRequest, RateLimited
from tests.chat.vendors import Vendor, answer, ask
from tests.services.dialects import Gemini
from tests.services.faults import FAULTS, SECRET_WORDS, Ask, Reply
from tests.services.faulty_upstream import FaultyUpstream, faulty_upstream

GEMINI = Vendor(name="gemini")


@pytest.fixture
def faulty() -> Iterator[FaultyUpstream]:
    with faulty_upstream() as upstream:
        yield upstream


def refused(faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, status: int, **detail: object) -> Exception | None:
    """What becomes of a refusal with this detail, as Google's servers write one."""

    async def refuse(reply: Reply, ask: Ask) -> None:
        error = Gemini().error(status, SECRET_WORDS)["error"]
        words = {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": SECRET_WORDS}
        await reply.whole(status, {"error": {**error, "details": [detail, words]}})

    monkeypatch.setitem(FAULTS, "refuses", refuse)
    return answer(GEMINI, faulty.url, ask("refuses"))[1]


@pytest.mark.parametrize(
    ("status", "reason"),
    [(400, "API_KEY_INVALID"), (403, "API_KEY_SERVICE_BLOCKED"), (403, "API_KEY_IP_ADDRESS_BLOCKED")],
)
def test_a_key_that_is_not_taken_is_no_fault_of_the_request(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    kind = "type.googleapis.com/google.rpc.ErrorInfo"

    error = refused(faulty, monkeypatch, status, **{"@type": kind, "reason": reason, "domain": "googleapis.com"})

    assert isinstance(error, AuthenticationFailed)
    assert (error.status, error.error_class) == (status, "bad_key")
    assert SECRET_WORDS not in str(error)


@pytest.mark.parametrize(
    ("delay", "retry_after_s"),
    [("12s", 12.0), ("0.5s", 0.5), ("0s", 0.0), ("1e3s", None), ("-1s", None), ("12", None), (" 1s", None), (12, None)],
)
def test_how_long_to_wait_is_read_from_the_body(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, delay: object, retry_after_s: float | None
) -> None:
    kind = "type.googleapis.com/google.rpc.RetryInfo"

    error = refused(faulty, monkeypatch, 429, **{"@type": kind, "retryDelay": delay})

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == retry_after_s


@pytest.mark.parametrize("reason", ["API_KEY_INVALID ", "FIELD_VIOLATION", ["API_KEY_INVALID"], {}, None])
def test_other_reasons_leave_a_refusal_what_it_is(
    faulty: FaultyUpstream, monkeypatch: pytest.MonkeyPatch, reason: object
) -> None:
    assert isinstance(refused(faulty, monkeypatch, 400, reason=reason, retryDelay="1s"), InvalidRequest)
