"""Rollout's pages in admin, a module for each kind of page."""

from rollout.admin.notices import DeliveryAdmin, NoticeTargetAdmin
from rollout.admin.records import AutopilotStepAdmin, EvaluationAdmin, ProposalAdmin, RolloutChangeAdmin
from rollout.admin.reports import ReportAdmin
from rollout.admin.rollouts import RolloutAdmin

__all__ = [
    "AutopilotStepAdmin",
    "DeliveryAdmin",
    "EvaluationAdmin",
    "NoticeTargetAdmin",
    "ProposalAdmin",
    "ReportAdmin",
    "RolloutAdmin",
    "RolloutChangeAdmin",
]
