"""Random windows."""

from __future__ import annotations

from hypothesis import strategies as st

from switchyard.core.cutover.sequential.betting import ScoreWindow
from switchyard.core.cutover.sequential.hard_stop import FailureWindow
from switchyard.core.cutover.sequential.hypergeometric import Contrast
from switchyard.core.cutover.sequential.paired import PairWindow
from switchyard.core.cutover.sequential.ratio import ContrastWindow
from switchyard.core.cutover.sequential.sample_ratio import ShareWindow

counts = st.integers(0, 400)


@st.composite
def contrasts(draw, most=400):
    sizes = [draw(st.integers(0, most)) for _ in range(2)]
    bad = [draw(st.integers(0, size)) for size in sizes]
    return Contrast(sizes[0], bad[0], sizes[1], bad[1])


def contrast_windows(index):
    return st.lists(contrasts(), max_size=3).map(lambda strata: ContrastWindow(index, tuple(strata)))


def pair_windows(index):
    return st.tuples(counts, counts).map(lambda each: PairWindow(index, *each, sum(each)))


def score_windows(index):
    return st.dictionaries(st.integers(-100, 100), counts, max_size=8).map(
        lambda scores: ScoreWindow(index, scores)
    )


def share_windows(index):
    return st.tuples(counts, counts, st.floats(0, 1)).map(lambda each: ShareWindow(index, *each))


def bound_windows(index):
    return st.tuples(counts, counts).map(lambda each: (index, sum(each), each[0]))


@st.composite
def failure_windows(draw, index):
    contrast = draw(contrasts())
    run = draw(st.integers(0, contrast.candidate_bad))
    return FailureWindow(
        index,
        contrast.baseline_requests,
        contrast.baseline_bad,
        contrast.candidate_requests,
        contrast.candidate_bad,
        run,
    )
