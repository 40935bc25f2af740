"""What the tests of one gate have gathered of one segment in one stage, and the text it is remembered by.

Contrasts   both arms answer users: odds, difference of shares, and their guard
Alone       the candidate answers all: held to the share that the baseline had in earlier stages
Pairs       the same request on both arms, failed or slow
Losses      the same request on both arms, how alike the answers are
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Self, cast

from scipy.special import betaincinv

from switchyard.core.cutover.sequential.betting import BettingTest, ScoreWindow
from switchyard.core.cutover.sequential.bound import BoundTest
from switchyard.core.cutover.sequential.difference import DifferenceTest
from switchyard.core.cutover.sequential.evidence import Sides, guard, widen
from switchyard.core.cutover.sequential.hard_stop import FailureWindow, HardStop
from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.paired import PairedTest, PairWindow
from switchyard.core.cutover.sequential.persisted import Persisted
from switchyard.core.cutover.sequential.ratio import ContrastWindow, RatioTest
from switchyard.core.cutover.sequential.self_normalised import SelfNormalisedTest
from switchyard.core.errors import EvidenceError


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse the candidate may be; the wider of both counts. No difference where that is 0."""

    odds_ratio: float
    difference: float

    def widen(self, share: float) -> float:
        """The most that the candidate's share may be where the baseline's is `share`."""
        odds = self.odds_ratio * share
        return min(1.0, max(odds / (1.0 - share + odds), share + self.difference))


@dataclass(frozen=True, slots=True)
class Totals(Persisted):
    """Sums since the stage began.

    `skipped`, `refused`: windows that did not count, for overload or counts that contradict themselves.
    `sampled`, `dropped`: requests drawn for a copy, and those of them not copied.
    """

    last_index: int = -1
    windows: int = 0
    seconds: float = 0.0
    baseline_requests: int = 0
    baseline_bad: int = 0
    candidate_requests: int = 0
    candidate_bad: int = 0
    skipped: int = 0
    sampled: int = 0
    dropped: int = 0
    incomparable: int = 0
    refused: int = 0

    @property
    def contrast(self) -> Contrast:
        """Both arms."""
        return Contrast(
            self.baseline_requests, self.baseline_bad, self.candidate_requests, self.candidate_bad
        )

    def plus(self, index: int, seconds: float, contrast: Contrast) -> Self:
        """With one window more; the same where it has been counted."""
        if index <= self.last_index:
            return self
        return replace(
            self,
            last_index=index,
            windows=self.windows + 1,
            seconds=round(self.seconds + seconds, 3),
            baseline_requests=self.baseline_requests + contrast.baseline_requests,
            baseline_bad=self.baseline_bad + contrast.baseline_bad,
            candidate_requests=self.candidate_requests + contrast.candidate_requests,
            candidate_bad=self.candidate_bad + contrast.candidate_bad,
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """Tests and totals, in the order of the fields."""

    totals: Totals

    def write(self, stage: str) -> str:
        """The text, with the stage that it is of."""
        parts = ",".join(cast("Persisted", getattr(self, each.name)).to_json() for each in fields(self))
        return f"[{json.dumps(stage)},{json.dumps(type(self).__name__)},{parts}]"

    def resume(self, text: str, stage: str) -> Self:
        """The ledger that was written in this stage; this blank one where none was.

        Raises EvidenceError for a text that no ledger of the stage can have written.
        """
        if not text:
            return self
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"evidence: not JSON: {error}") from None
        parts = fields(self)
        if not isinstance(plain, list) or plain[:2] != [stage, type(self).__name__]:
            return self
        if len(plain) != len(parts) + 2:
            raise EvidenceError(f"evidence: must have {len(parts)} parts; start the stage again")
        return type(self)(
            *(
                type(getattr(self, part.name)).from_json(json.dumps(each))
                for part, each in zip(parts, plain[2:], strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Contrasts(Ledger):
    """Both arms under load."""

    ratio: RatioTest
    difference: DifferenceTest
    guard: SelfNormalisedTest
    stop: HardStop

    @classmethod
    def start(cls, margin: Margin, stop: HardStop) -> Self:
        """Nothing gathered yet."""
        return cls(
            Totals(),
            RatioTest(margin.odds_ratio),
            DifferenceTest(margin.difference),
            SelfNormalisedTest(margin.odds_ratio, margin.difference),
            stop,
        )

    def update(self, index: int, seconds: float, strata: Iterable[Contrast], run: int) -> Self:
        """With one window counted."""
        window = ContrastWindow(index, tuple(strata))
        whole = sum_contrasts(window.strata)
        return replace(
            self,
            totals=self.totals.plus(index, seconds, whole),
            ratio=self.ratio.update(window),
            difference=self.difference.update(window),
            guard=self.guard.update(window),
            stop=self.stop.update(_watch_failures(index, whole, run)),
        )

    @property
    def sides(self) -> Sides:
        """Evidence for harm, beyond both margins, and for safety, within either of them; both guarded."""
        return guard(widen(self.ratio, self.difference), self.guard)


@dataclass(frozen=True, slots=True)
class Alone(Ledger):
    """The candidate against bounds of its share: `harm` of the most, `safe` of the least that is allowed.

    `safe` is a PairedTest in which a bad request stands for a pair that the candidate lost, a good one for
    one it won: its margin is the odds of the bound. With what confidence the bounds hold is part of the
    probabilities.
    """

    harm: BoundTest
    harm_guard: SelfNormalisedTest
    safe: PairedTest
    stop: HardStop

    @classmethod
    def start(
        cls, margin: Margin, reference: tuple[int, int], levels: tuple[float, float], stop: HardStop
    ) -> Self:
        """Nothing gathered yet, against a baseline with that many requests and bad ones among them.

        `levels`: the probabilities that the most and the least that is allowed are wrong (Clopper and Pearson
        1934).
        """
        requests, bad = reference
        most = 1.0 if bad >= requests else float(betaincinv(bad + 1, requests - bad, 1.0 - levels[0]))
        least = 0.0 if not bad else float(betaincinv(bad, requests - bad + 1, levels[1]))
        return cls(
            Totals(baseline_requests=requests, baseline_bad=bad),
            BoundTest(margin.widen(most)),
            SelfNormalisedTest(),
            PairedTest(_odds(margin.widen(least))),
            stop,
        )

    def update(self, index: int, seconds: float, requests: int, bad: int, run: int) -> Self:
        """With one window counted."""
        share = self.harm.bound_ratio
        spread = math.sqrt(requests * share * (1.0 - share))
        deviation = (bad - requests * share) / spread if spread > 0.0 else 0.0
        skewness = (1.0 - 2.0 * share) / spread if spread > 0.0 else 0.0
        contrast = Contrast(0, 0, requests, bad)
        return replace(
            self,
            totals=self.totals.plus(index, seconds, contrast),
            harm=self.harm.update(index, requests, bad),
            harm_guard=self.harm_guard.count(index, deviation, skewness),
            safe=self.safe.update(PairWindow(index, bad, requests - bad, requests)),
            stop=self.stop.update(_watch_failures(index, contrast, run)),
        )

    @property
    def sides(self) -> Sides:
        """Evidence for harm, guarded, and for safety."""
        return Sides(min(self.harm.harm_log_e, self.harm_guard.harm_log_e), self.safe.safe_log_e)


@dataclass(frozen=True, slots=True)
class Pairs(Ledger):
    """The same request on both arms. A difference is a score of 1, 0 or -1 for BettingTest."""

    ratio: PairedTest
    difference: BettingTest
    stop: HardStop

    @classmethod
    def start(cls, margin: Margin, stop: HardStop) -> Self:
        """Nothing gathered yet."""
        difference = BettingTest(margin.difference, rounded_up=0.0)
        return cls(Totals(), PairedTest(margin.odds_ratio), difference, stop)

    def update(self, index: int, seconds: float, cells: tuple[int, int, int, int], run: int) -> Self:
        """With one window counted: both good, candidate bad, baseline bad, both bad."""
        _, candidate_only, baseline_only, both = cells
        pairs = sum(cells)
        contrast = Contrast(pairs, baseline_only + both, pairs, candidate_only + both)
        counts = {100: candidate_only, 0: cells[0] + both, -100: baseline_only}
        return replace(
            self,
            totals=self.totals.plus(index, seconds, contrast),
            ratio=self.ratio.update(PairWindow(index, candidate_only, baseline_only, pairs)),
            difference=self.difference.update(ScoreWindow(index, counts)),
            stop=self.stop.update(_watch_failures(index, contrast, run)),
        )

    @property
    def sides(self) -> Sides:
        """Evidence for harm, beyond both margins, and for safety, within either of them."""
        return widen(self.ratio, self.difference)


@dataclass(frozen=True, slots=True)
class Losses(Ledger):
    """How far the candidate's answers are from the baseline's, beyond noise where there is a noise arm."""

    losses: BettingTest

    @classmethod
    def start(cls, margin_ratio: float, *, has_noise: bool, score_step: int) -> Self:
        """Nothing gathered yet."""
        lowest = -1.0 if has_noise else 0.0
        return cls(Totals(), BettingTest(margin_ratio, lowest=lowest, rounded_up=score_step / 100))

    def update(self, index: int, seconds: float, counts: dict[int, int], incomparable: int) -> Self:
        """With one window counted. Losses of the candidate in hundredths; what was incomparable is none."""
        pairs = sum(counts.values())
        totals = self.totals.plus(index, seconds, Contrast(pairs, 0, pairs, 0))
        return replace(
            self,
            totals=replace(totals, incomparable=totals.incomparable + incomparable),
            losses=self.losses.update(ScoreWindow(index, counts)) if pairs else self.losses,
        )

    @property
    def sides(self) -> Sides:
        """Evidence that the mean loss is above the margin, and below it."""
        return Sides(self.losses.harm_log_e, self.losses.safe_log_e)


def sum_contrasts(strata: Iterable[Contrast]) -> Contrast:
    """All strata as one."""
    each = tuple(strata)
    return Contrast(
        sum(one.baseline_requests for one in each),
        sum(one.baseline_bad for one in each),
        sum(one.candidate_requests for one in each),
        sum(one.candidate_bad for one in each),
    )


def _odds(share: float) -> float:
    bounded = min(share, 1.0 - 1e-9)
    return bounded / (1.0 - bounded)


def _watch_failures(index: int, contrast: Contrast, run: int) -> FailureWindow:
    return FailureWindow(
        index,
        contrast.baseline_requests,
        contrast.baseline_bad,
        contrast.candidate_requests,
        contrast.candidate_bad,
        run,
    )
