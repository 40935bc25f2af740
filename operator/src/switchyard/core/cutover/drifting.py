"""What somebody else changed on the path of a plan's traffic: told once, by whom. Pure.

It is put back by the order that stands anyway; nothing of the plan depends on it but the requests that it
misled, which the sample ratio notices.
"""

from __future__ import annotations

from dataclasses import replace

from switchyard.api import Reason
from switchyard.core.cutover.moves import clip
from switchyard.core.cutover.traffic import wants_release, wants_traffic
from switchyard.core.cutover.types import Note, Observation, State, Stepped
from switchyard.core.routing.plan import Drift

_MOST_TOLD = 3


def note_drift(state: State, seen: Observation) -> Stepped:
    """The state, remembering what was told of drift, and the event for what is new."""
    if not wants_traffic(state) and not wants_release(state):
        return Stepped(replace(state, drift=""))
    if seen.route is None or seen.route.problem:
        return Stepped(state)
    told = clip(_describe(seen.route.drift))
    if told == state.drift:
        return Stepped(state)
    note = Note("Warning", Reason.RouteDrifted.value, told)
    return Stepped(replace(state, drift=told), (note,) if told else ())


def _describe(drift: tuple[Drift, ...]) -> str:
    told = [
        f"{each.by or 'somebody'} changed {each.what} from {each.wanted} to {each.found}" for each in drift
    ]
    if len(told) > _MOST_TOLD:
        told = [*told[:_MOST_TOLD], f"and {len(told) - _MOST_TOLD} changes more"]
    return f"{'; '.join(told)}; it is put back" if told else ""
