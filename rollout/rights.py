"""Who may do what to a rollout's ramp: seeing, changing, approving and stopping are rights of their own."""

from typing import Any

from rollout.ramp import Verb


def may_see(user: Any) -> bool:
    """Whether this account may look."""
    return bool(user.is_staff and (user.has_perm("rollout.view_rollout") or user.has_perm("rollout.change_rollout")))


def may_change(user: Any) -> bool:
    """Whether this account may steer."""
    return bool(user.is_staff and user.has_perm("rollout.change_rollout"))


def may_add(user: Any) -> bool:
    """Whether this account may make rollouts."""
    return bool(user.is_staff and user.has_perm("rollout.add_rollout"))


def may_stop(user: Any) -> bool:
    """Whether this account may turn a rollout off; who may steer may, and who may do nothing else can."""
    return bool(user.is_staff and (user.has_perm("rollout.stop_rollout") or user.has_perm("rollout.change_rollout")))


def may_approve(user: Any) -> bool:
    """Whether this account may agree to a stage, and to what another person proposes."""
    return bool(user.is_staff and user.has_perm("rollout.approve_rollout"))


def may_take(user: Any, verb: Verb) -> bool:
    """Whether this account may ask for the verb."""
    return {"roll_back": may_stop, "approve": may_approve}.get(verb, may_change)(user)
