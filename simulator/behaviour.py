"""How the simulated vendors behave: speed, length of answers, failures.

Knows plain values and their limits. Knows no HTTP and no dice: whoever answers throws those.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

# field: (least, most, whole numbers only)
LIMITS: dict[str, tuple[float, float, bool]] = {
    "error_rate": (0, 1, False),
    "error_status": (400, 599, True),
    "ttft_ms": (0, 120_000, False),
    "tokens_per_s": (1, 1_000_000, False),
    "jitter": (0, 2, False),
    "min_words": (1, 20_000, True),
    "max_words": (1, 20_000, True),
}


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One vendor's ways; ValueError, in words, for a value outside ``LIMITS``.

    ``error_rate`` is a share of requests (0 to 1) that ends with the HTTP status ``error_status``.
    ``ttft_ms`` is the median wait for the first token, ``tokens_per_s`` the median speed after it;
    ``jitter`` is the sigma of the log-normal spread of both. An answer is drawn between ``min_words``
    and ``max_words`` long, and may run over by its last paragraph.
    """

    error_rate: float = 0.0
    error_status: int = 503
    ttft_ms: float = 140.0
    tokens_per_s: float = 200.0
    jitter: float = 0.2
    min_words: int = 60
    max_words: int = 180

    def __post_init__(self) -> None:
        for name, (least, most, whole) in LIMITS.items():
            _check(name, getattr(self, name), least, most, whole)
        if self.min_words > self.max_words:
            raise ValueError("min_words must not be more than max_words")


@dataclass(frozen=True, kw_only=True)
class Behaviours:
    """The ways of all vendors, by provider name."""

    openai: Behaviour = field(default_factory=Behaviour)
    gemini: Behaviour = field(default_factory=lambda: Behaviour(ttft_ms=90.0))

    def of(self, provider: str) -> Behaviour:
        """The behaviour of one provider; ValueError for a name that there is not."""
        if provider not in PROVIDERS:
            raise ValueError(f"{provider!r} is not a provider; there are {', '.join(PROVIDERS)}")
        behaviour: Behaviour = getattr(self, provider)
        return behaviour

    def changed(self, changes: object) -> "Behaviours":
        """A copy with ``{"openai": {"error_rate": 1.0}, …}`` laid over it, what is not named kept.

        ValueError, in words, where anything in ``changes`` is not understood.
        """
        if not isinstance(changes, dict):
            raise ValueError(f"expected an object with the keys {', '.join(PROVIDERS)}")
        return dataclasses.replace(self, **{name: _laid_over(self.of(name), part) for name, part in changes.items()})

    def as_json(self) -> dict[str, dict[str, Any]]:
        """``{"openai": {"error_rate": …}, …}``, as ``changed`` reads it."""
        return dataclasses.asdict(self)


PROVIDERS = tuple(part.name for part in dataclasses.fields(Behaviours))


def _laid_over(behaviour: Behaviour, changes: object) -> Behaviour:
    if not isinstance(changes, dict):
        raise ValueError("the behaviour of a provider is an object")
    if unknown := sorted(str(name) for name in changes if name not in LIMITS):
        raise ValueError(f"{', '.join(unknown)} can't be set; there are {', '.join(LIMITS)}")
    return dataclasses.replace(behaviour, **changes)


def _check(name: str, value: Any, least: float, most: float, whole: bool) -> None:
    kind, types = ("a whole number", (int,)) if whole else ("a number", (int, float))
    # A comparison with NaN is never true, so NaN is refused along with what is out of bounds.
    if isinstance(value, bool) or not isinstance(value, types) or not least <= value <= most:
        raise ValueError(f"{name} must be {kind} from {least} to {most}")
