"""What a status says of learned profiles: all that is left of them after a restart."""

from __future__ import annotations

from datetime import datetime

from switchyard.core.learning.learned import LearnedProfile
from switchyard.core.placement.profile_reading import read_tokens
from switchyard.core.stability.moments import read_moment
from switchyard.core.world import Workload


def read_stored(workload: Workload, now: datetime) -> tuple[LearnedProfile, ...]:
    """The profiles in the status of a workload."""
    return tuple(
        LearnedProfile(
            variant=each.variant,
            pool=each.pool,
            tokens=read_tokens(each.tokens) if each.tokens is not None else None,
            samples=each.samples,
            relative_error=None if each.relative_error is None else float(each.relative_error),
            learned_at=read_moment(each.learned_at) or now,
            state=each.state,
            message=each.message,
        )
        for each in workload.status.learned_profiles
    )
