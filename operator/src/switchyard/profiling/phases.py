"""The order of a measurement: cold, alone, more and more callers, average, peak, long context, recovery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from switchyard.profiling.endpoint import Endpoint, EndpointError, Writer, explain_refusal
from switchyard.profiling.exchange import Answer, Client, Question
from switchyard.profiling.figures import summarise
from switchyard.profiling.fitting import is_saturated
from switchyard.profiling.load import Phase, arrive, hold_callers

_PEAK_SHARES = (0.2, 0.4, 0.6, 0.75, 0.85, 0.95)  # of the rate with every place taken
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to ask, and for how long. Rates in requests per second."""

    duration_seconds: float = 120.0
    max_rate: float = 100.0
    max_callers: int = 64
    input_tokens: int = 256
    output_tokens: int = 64
    long_input_tokens: int = 0  # 0: no phase with a long context
    recovery_seconds: float = 0.0  # how long to wait for an outage and its end; 0: not at all
    body: dict[str, Any] | None = None
    seed: int = 0


@dataclass(slots=True)
class Measurement:
    """What was measured so far. `cold` is the first request, `outage_seconds` the time without answers."""

    phases: list[Phase] = field(default_factory=list)
    cold: Answer | None = None
    outage_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)
    highest_rate: float = 0.0  # answered per second with every place taken


class Run:
    """One measurement. `found` fills phase by phase, so that a cancellation leaves what was measured."""

    def __init__(self, client: Client, endpoint: Endpoint, plan: Plan, tell: Callable[[str], None]) -> None:
        self.found = Measurement()
        self._client = client
        self._endpoint = endpoint
        self._plan = plan
        self._tell = tell
        self._writer = Writer(plan.seed)
        self._extras: dict[str, Any] = {
            "stream_options": {"include_usage": True},
            "ignore_eos": True,  # answers of one length
        }

    async def measure(self) -> None:
        """All phases. EndpointError when the first request is refused."""
        plan, found = self._plan, self.found
        has_tokens = self._endpoint.is_language_model and plan.body is None
        has_long = bool(plan.long_input_tokens) and has_tokens
        await self._start_cold()
        seconds = plan.duration_seconds
        alone = await self._hold(Phase("alone", callers=1), seconds * 0.1)
        if has_tokens:
            await self._hold(
                Phase("short prompts", callers=1), seconds * 0.05, max(1, plan.input_tokens // 4)
            )
        await self._add_callers(alone, seconds * 0.4)
        average = min(plan.max_rate, found.highest_rate * 0.5)
        await self._arrive(Phase("average", rate=average), seconds * 0.1)
        each = seconds * (0.25 if has_long else 0.35) / len(_PEAK_SHARES)
        rates = {min(plan.max_rate, found.highest_rate * share) for share in _PEAK_SHARES}
        for rate in sorted(rates - {average}):
            if not await self._arrive(Phase("peak", rate=rate), each):
                break
        if has_long:
            for callers in (1, 4):
                phase = Phase("long context", callers=callers)
                await self._hold(phase, seconds * 0.05, plan.long_input_tokens)
        if plan.recovery_seconds:
            await self._watch_recovery()

    def _ask(self, tokens: int = 0) -> Question:
        """A question with so many tokens, by default as many as planned."""
        endpoint, plan = self._endpoint, self._plan
        if plan.body is not None:
            return Question(endpoint.path, plan.body)
        text = self._writer.write(tokens or plan.input_tokens)
        if endpoint.path.endswith("/embeddings"):
            return Question(endpoint.path, {"model": endpoint.model, "input": text})
        if not endpoint.is_language_model:
            return Question(endpoint.path, {"instances": [text]})
        body: dict[str, Any] = {
            "model": endpoint.model,
            "max_tokens": plan.output_tokens,
            "stream": True,
            **self._extras,
        }
        if endpoint.path.endswith("/chat/completions"):
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
        return Question(endpoint.path, body, is_streamed=True)

    async def _start_cold(self) -> None:
        self._tell("cold start: one request")
        first = await self._client.ask(self._ask(), asyncio.get_running_loop().time())
        if first.problem.startswith(("HTTP 400", "HTTP 422")) and self._plan.body is None and self._extras:
            self._extras = {}  # a strict server refuses fields that it does not know
            first = await self._client.ask(self._ask(), asyncio.get_running_loop().time())
            if not first.problem and self._endpoint.is_language_model:
                self.found.warnings.append(
                    "the server takes neither ignore_eos nor stream_options: answers may end early, and "
                    "sizes of prompts are not counted"
                )
        if first.problem:
            raise EndpointError(explain_refusal(first.problem, self._endpoint))
        self.found.cold = first
        if first.input_tokens:
            self._writer.words_per_token = self._plan.input_tokens / first.input_tokens

    async def _hold(self, phase: Phase, seconds: float, tokens: int = 0) -> Phase:
        callers = "1 caller" if phase.callers == 1 else f"{phase.callers} callers"
        self._tell(f"{phase.name}: {callers}, {seconds:.0f} s")
        self.found.phases.append(phase)
        await hold_callers(self._client, lambda: self._ask(tokens), phase, seconds)
        self._note_end(phase)
        return phase

    async def _add_callers(self, alone: Phase, seconds: float) -> None:
        """A third to a half more callers each time, until twice in a row they bring hardly more answers."""
        most = self._plan.max_callers
        counts = [
            count for power in range(1, 11) for count in (2**power, 3 * 2 ** (power - 1)) if count < most
        ]
        counts = [*sorted(counts), most]
        earlier = summarise(alone)
        self.found.highest_rate = earlier.rate
        flat = 0
        for count in counts:
            phase = await self._hold(Phase("callers", callers=count), seconds / len(counts))
            if phase.stopped:
                return
            later = summarise(phase)
            self.found.highest_rate = max(self.found.highest_rate, later.rate)
            flat = flat + 1 if is_saturated(earlier, later) else 0
            if flat == 2:
                return
            if later.rate > self._plan.max_rate:
                self.found.warnings.append(
                    f"--max-rate {self._plan.max_rate:g} was reached before every place was taken: what is "
                    "past it is not known"
                )
                return
            earlier = later

    async def _arrive(self, phase: Phase, seconds: float) -> bool:
        """Whether the phase went to its end."""
        if phase.rate <= 0:
            return False
        self._tell(f"{phase.name}: {phase.rate:.3g} requests/s, {seconds:.0f} s")
        self.found.phases.append(phase)
        await arrive(self._client, self._ask, phase, seconds, seed=len(self.found.phases))
        self._note_end(phase)
        return not phase.stopped

    async def _watch_recovery(self) -> None:
        """Ask until the endpoint fails, then until it answers. Whoever measures stops the replica."""
        clock = asyncio.get_running_loop().time
        limit = self._plan.recovery_seconds
        self._tell(f"recovery: stop the replica now; waiting up to {limit:.0f} s for an outage and its end")
        until, down = clock() + limit, None
        while clock() < until:
            answer = await self._client.ask(self._ask(), clock())
            if answer.problem and down is None:
                down = answer.due
                self._tell("recovery: it is down")
            elif not answer.problem and down is not None:
                self.found.outage_seconds = answer.ended - down
                self._tell(f"recovery: it answers again after {self.found.outage_seconds:.1f} s")
                return
            await asyncio.sleep(_POLL_SECONDS)
        ending = "nobody stopped the replica" if down is None else "it stayed down"
        self.found.warnings.append(f"no recovery was seen: {ending}")

    def _note_end(self, phase: Phase) -> None:
        if phase.stopped:
            problem = next((answer.problem for answer in phase.answers if answer.problem), "")
            self.found.warnings.append(f"{phase.name} ended early: {phase.stopped}, the first with {problem}")
