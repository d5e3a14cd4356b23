"""Stub until the other branch is merged."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class TotalKey(NamedTuple):
    rollout: str
    arm: str
    reason: str
    surface: str
    provider: str
    requested_model: str
    served_model: str
    upstream_model: str
    outcome: str
    error_class: str


def total_key(call: Any) -> TotalKey:
    return TotalKey(*(getattr(call, n) for n in TotalKey._fields))


@dataclass
class Total:
    calls: int = 0

    def add(self, call: Any) -> None:
        self.calls += 1

    def merge(self, other: "Total") -> None:
        self.calls += other.calls

    def to_json(self) -> dict[str, Any]:
        return {"calls": self.calls}

    @classmethod
    def from_json(cls, d: Any) -> "Total":
        return cls(**d)
