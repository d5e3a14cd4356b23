"""Everything that rollout stores, a module for each topic."""

from rollout.models.records import ChecklistEntry, Evaluation, RolloutChange, Source, Verdict
from rollout.models.reports import Delivery, Report
from rollout.models.rollouts import CRITERIA, LatencyMeasure, Rollout, Stage, new_salt, validate_criteria

__all__ = [
    "CRITERIA",
    "ChecklistEntry",
    "Delivery",
    "Evaluation",
    "LatencyMeasure",
    "Report",
    "Rollout",
    "RolloutChange",
    "Source",
    "Stage",
    "Verdict",
    "new_salt",
    "validate_criteria",
]
