"""What is left of a worker's counts when it dies."""

from __future__ import annotations

from dataclasses import replace

from switchyard.core.routing.samples import ArmSamples, Counts, Samples, SegmentSamples

# requests under way at a death have no known length
_STRATUM = "p0o0"


def close_life(last: Samples, epoch: str) -> Samples:
    """The last reading of a worker that died, to be added to the readings of the others for good.

    What it counted since then is lost, so the sum is of another life: `epoch`, a new one, makes it so. What
    was under way counts as cancelled, since nobody knows how it would have ended; runs of failures end.
    """
    segments = {name: _close_segment(segment) for name, segment in last.segments.items()}
    return Samples(epoch=epoch, segments=segments, refused=last.refused)


def _close_segment(segment: SegmentSamples) -> SegmentSamples:
    arms = {name: replace(arm, failure_run=0) for name, arm in segment.arms.items()}
    for name in segment.started:
        lost = segment.in_flight(name)
        if lost > 0:
            arms[name] = _cancel(arms.get(name, ArmSamples()), lost)
    return replace(
        segment,
        arms=arms,
        shadows={name: replace(arm, failure_run=0) for name, arm in segment.shadows.items()},
        shadow=replace(segment.shadow, completed=segment.shadow.sent),
    )


def _cancel(arm: ArmSamples, count: int) -> ArmSamples:
    counts = arm.strata.get(_STRATUM, Counts())
    cancelled = replace(counts, cancelled=counts.cancelled + count)
    return replace(arm, strata={**arm.strata, _STRATUM: cancelled})
