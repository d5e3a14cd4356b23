"""Everything that rollout stores, a module for each topic."""

from rollout.models.notices import NoticeTarget
from rollout.models.records import (
    AppendOnly,
    AutopilotStep,
    ChecklistEntry,
    Evaluation,
    Proposal,
    RolloutChange,
    Source,
    Verdict,
)
from rollout.models.reports import Delivery, Report
from rollout.models.rollouts import (
    CRITERIA,
    LatencyMeasure,
    RampMode,
    RampState,
    Rollout,
    Stage,
    live_rollouts,
    new_salt,
    validate_criteria,
)

__all__ = [
    "CRITERIA",
    "AppendOnly",
    "AutopilotStep",
    "ChecklistEntry",
    "Delivery",
    "Evaluation",
    "LatencyMeasure",
    "NoticeTarget",
    "Proposal",
    "RampMode",
    "RampState",
    "Report",
    "Rollout",
    "RolloutChange",
    "Source",
    "Stage",
    "Verdict",
    "live_rollouts",
    "new_salt",
    "validate_criteria",
]
