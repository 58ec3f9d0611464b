"""Insights: what an expert would say after a look at the page. Each is one small class: check and words."""

from typing import Any

from glassloop.glass.insight import Evidence, Finding, Insight
from glassloop.glass.run_insights import (
    Blocked,
    DescriptorSpins,
    NeverYields,
    Starved,
    TasksUnseen,
    WakesItself,
)
from glassloop.glass.wait_insights import (
    CancelledYetRunning,
    ExecutorFull,
    Forgotten,
    LockWait,
    LostFuture,
    NothingCanWake,
    WaitCycle,
)

__all__ = ["INSIGHTS", "Evidence", "Finding", "find_insights"]

INSIGHTS: tuple[Insight[Any], ...] = (
    WaitCycle(),
    NothingCanWake(),
    Blocked(),
    NeverYields(),
    WakesItself(),
    DescriptorSpins(),
    ExecutorFull(),
    LockWait(),
    Starved(),
    CancelledYetRunning(),
    LostFuture(),
    Forgotten(),
    TasksUnseen(),
)


def find_insights(evidence: Evidence) -> list[Finding]:
    """Return what holds, the severe first."""
    found = [finding for insight in INSIGHTS for finding in insight.findings(evidence)]
    return sorted(found, key=lambda finding: not finding.severe)
