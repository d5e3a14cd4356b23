"""Why a change of a rollout is not made, in words for people and codes for programs. Nothing was changed then."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _

from rollout import ramp_words, words


class ChangeRefused(ValueError):
    """The change is not possible; nothing was changed. ``field`` names the culprit, "" if it is the whole."""

    def __init__(self, message: str, *, field: str = "", code: str = "invalid") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code


class RolloutNotFound(ChangeRefused):
    """No rollout of that name."""


def not_found(name: str) -> RolloutNotFound:
    """That there is no rollout of that name."""
    return RolloutNotFound(_("There is no rollout named %(name)s.") % {"name": name}, code="not_found")


class VersionConflict(ChangeRefused):
    """Somebody else changed the rollout since it was read. ``changes`` is what: ``{"field": [old, new]}``."""

    def __init__(self, changes: Mapping[str, Sequence[Any]]) -> None:
        said = "; ".join(f"{label}: {old} → {new}" for label, old, new in words.change_in_words(changes))
        message = _("The rollout was changed by somebody else in the meantime. Look at its new state and try again.")
        super().__init__(f"{message} {said}".strip(), code="conflict")
        self.changes = changes


class VerbRefused(ChangeRefused):
    """The verb does not fit. ``why`` is ``rollout.ramp``'s code, ``state`` the state in which the rollout is."""

    def __init__(self, *, why: str, verb: str, state: str) -> None:
        super().__init__(ramp_words.verb_refused(why=why, verb=verb, state=state), code=why)
        self.why = why
        self.state = state


class ChangeWaits(ChangeRefused):
    """Nothing is wrong, but it takes a second person: ``proposal`` is the id of what waits for one."""

    def __init__(self, proposal: int) -> None:
        super().__init__(
            _("This change waits for a second person to approve it. Nothing was changed yet."),
            code="waits_for_approval",
        )
        self.proposal = proposal
