"""Who changes rollouts: people, programs and the autopilot."""

from dataclasses import dataclass
from typing import Any, Self

from rollout.models import Source


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Who asks for a change: a name for the history, the account where there is one, and from where."""

    name: str
    source: str
    user_id: int | None = None

    @classmethod
    def of_account(cls, user: Any, source: str) -> Self:
        """The person or program behind an account."""
        return cls(name=user.get_username(), source=source, user_id=user.pk)

    def is_same_as(self, name: str, user_id: int | None) -> bool:
        """Whether it is the same person; by the account where both have one."""
        return self.user_id == user_id if self.user_id and user_id else self.name == name


AUTOPILOT = Actor(name="autopilot", source=Source.AUTOPILOT)
