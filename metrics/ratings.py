"""What a person may say of an answer: 1 to 5, and of a bad one why. Pure: knows codes, ``words`` has the words."""

REASONS = ("incorrect", "unhelpful", "slow", "style", "unsafe", "other")
# Who gives more than this has nothing to complain of.
HIGHEST_WITH_REASON = 3


def takes_reason(rating: int | None) -> bool:
    """Whether a rating, or the lack of one, can have a reason."""
    return rating is not None and rating <= HIGHEST_WITH_REASON


def go_together(rating: int | None, reason: str) -> bool:
    """Whether the reason, "" for none, is known and the rating can have it."""
    return not reason or (reason in REASONS and takes_reason(rating))
