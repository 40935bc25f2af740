"""Response times of a simulated replica, event by event: what the formulas are checked against.

Nothing is shared with the model under test: requests arrive one by one, wait in a queue, take a slot, and draw
their service time when they start, from the number then in service.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque


def simulate(
    *,
    slots: int,
    base_seconds: float,
    slope_seconds: float,
    cv2: float,
    rate: float,
    requests: int,
    seed: int,
) -> list[float]:
    """Sorted response seconds, the first tenth left out as warm-up."""
    source = random.Random(seed)
    variance = math.log1p(cv2)

    def serve(busy: int) -> float:
        mean = base_seconds + slope_seconds * (busy - 1)
        if cv2 == 0:
            return mean
        return mean * math.exp(source.gauss(-variance / 2, math.sqrt(variance)))

    ends: list[tuple[float, float]] = []  # when, and when that request arrived
    waiting: deque[float] = deque()
    responses: list[float] = []
    arrival = source.expovariate(rate)
    while len(responses) < requests:
        if ends and ends[0][0] <= arrival:
            now, came = heapq.heappop(ends)
            responses.append(now - came)
            if waiting:
                heapq.heappush(ends, (now + serve(len(ends) + 1), waiting.popleft()))
            continue
        if len(ends) < slots:
            heapq.heappush(ends, (arrival + serve(len(ends) + 1), arrival))
        else:
            waiting.append(arrival)
        arrival += source.expovariate(rate)
    return sorted(responses[requests // 10 :])


def percentile(ordered: list[float], percent: float) -> float:
    """The value below which `percent` percent lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
