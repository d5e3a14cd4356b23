"""Rollout's pages in admin, a module for each kind of page."""

from rollout.admin.records import EvaluationAdmin, RolloutChangeAdmin
from rollout.admin.reports import ReportAdmin
from rollout.admin.rollouts import RolloutAdmin

__all__ = ["EvaluationAdmin", "ReportAdmin", "RolloutAdmin", "RolloutChangeAdmin"]
