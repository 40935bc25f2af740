"""What the comparators say of a real model with fewer bits: Magika's, which tells the kind of a document.

Its hidden vector of 512 numbers before the last layer stands for an embedding, its output for labels with
scores. Bounds hold what was seen (onnxruntime 1.31, 14 documents) with some room:

    weights     least cosine   mean cosine   top 5 in common, mean   same first label
    int8        0.9998         0.9999        0.97                    all
    int6        0.9967         0.9976        0.99                    all
    int4        0.944          0.956         0.90                    all
    int3        0.77           0.83          0.71                    all but one
    int2        0.04           0.16          0.13                    one
    wrong       0.00           0.05 to 0.07  0.07 to 0.10            at most one
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.dataplane.compare import onnx_weights
from tests.unit.dataplane.compare.answers import answer, comparator
from tests.unit.dataplane.compare.documents_of_kinds import DOCUMENTS

from switchyard.dataplane.compare.port import Score, is_mismatch
from switchyard.dataplane.exchange import Answer

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime runs the model")
if importlib.util.find_spec("magika") is None:
    pytest.skip("magika ships the model", allow_module_level=True)

VECTOR = "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/LayerNorm_1/AddV2_1:0"
BYTES, CONVOLUTION, LABELS = (
    "jax2tf_get_logits_/Const:0",
    "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Conv_0/transpose_3:0",
    "jax2tf_get_logits_/Const_24:0",
)
CHANNEL_AXES = {BYTES: 1, CONVOLUTION: 0, LABELS: 1}
SIDE_BYTES, PADDING = 1024, 256


class Served:
    """The model behind two services: one answers with vectors, one with labels and scores."""

    def __init__(self, model: bytes, names: list[str], *, is_compact: bool = False) -> None:
        session = onnxruntime.InferenceSession(
            onnx_weights.expose(model, VECTOR), providers=["CPUExecutionProvider"]
        )
        inputs = np.array([_encode(text) for text in DOCUMENTS.values()], dtype=np.int32)
        self._names = names
        self._is_compact = is_compact
        self._scores, self._vectors = session.run(None, {"bytes": inputs})

    def embed(self) -> Answer:
        vectors: list[Any] = [vector.tolist() for vector in self._vectors]
        if not self._is_compact:
            return answer({"data": [{"embedding": vector} for vector in vectors]})
        vectors = [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in self._vectors]
        body = json.dumps({"data": [{"embedding": vector} for vector in vectors]}).encode()
        return answer(gzip.compress(body), content_encoding="gzip")

    def classify(self) -> Answer:
        return answer(
            [
                [
                    {"label": name, "score": float(score)}
                    for name, score in zip(self._names, scores, strict=True)
                ]
                for scores in self._scores
            ]
        )

    def first_labels(self) -> list[str]:
        return [self._names[int(scores.argmax())] for scores in self._scores]


def _encode(text: str) -> list[int]:
    """The first and last bytes of a document, as the model wants them."""
    content = text.encode().strip()
    padding = [PADDING] * (SIDE_BYTES - len(content))
    return [*content[:SIDE_BYTES], *padding, *padding, *content[-SIDE_BYTES:]]


@pytest.fixture(scope="module")
def package() -> Path:
    found = importlib.util.find_spec("magika")
    return Path(found.origin).parent / "models" / "standard_v3_3"


@pytest.fixture(scope="module")
def model(package):
    return (package / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def names(package):
    return json.loads((package / "config.min.json").read_text())["target_labels_space"]


@pytest.fixture(scope="module")
def full(model, names):
    return Served(model, names)


@pytest.fixture(scope="module", params=[8, 6, 4, 3, 2], ids="int{}".format)
def fewer(request, model, names):
    served = Served(onnx_weights.quantise(model, CHANNEL_AXES, request.param), names)
    return request.param, served


def compare_vectors(one: Served, other: Served, combine: str) -> Score:
    return comparator("embedding", combine=combine).compare(one.embed(), other.embed())


def test_the_model_knows_most_documents(full):
    """Otherwise nothing below would say anything of a real model."""
    right = sum(kind == label for kind, label in zip(DOCUMENTS, full.first_labels(), strict=True))
    assert right >= len(DOCUMENTS) - 1


def test_weights_take_a_quarter_of_the_bytes_as_int8(model):
    assert len(onnx_weights.quantise(model, CHANNEL_AXES, 8)) < 0.3 * len(model)


#                                least cosine    mean cosine
COSINES = {8: (0.999, 1.0, 0.9995, 1.0), 6: (0.99, 0.999, 0.995, 0.999), 4: (0.90, 0.97, 0.93, 0.98),
           3: (0.60, 0.90, 0.70, 0.93), 2: (0.0, 0.40, 0.0, 0.50)}  # fmt: skip


def test_the_cosine_falls_with_the_bits(full, fewer):
    bits, served = fewer
    least_low, least_high, mean_low, mean_high = COSINES[bits]
    assert least_low <= compare_vectors(full, served, "min").value < least_high
    assert mean_low <= compare_vectors(full, served, "mean").value < mean_high


def test_int8_passes_and_int4_does_not_by_the_threshold_left_as_it_is(full, fewer):
    bits, served = fewer
    judge = comparator("embedding")
    assert is_mismatch(judge, judge.compare(full.embed(), served.embed())) == (bits < 6)


TOP_FIVE = {8: (0.9, 1.0), 6: (0.9, 1.0), 4: (0.8, 0.96), 3: (0.55, 0.85), 2: (0.0, 0.4)}


def test_labels_in_common_fall_with_the_bits(full, fewer):
    bits, served = fewer
    score = comparator("topk", k=5, combine="mean").compare(full.classify(), served.classify())
    low, high = TOP_FIVE[bits]
    assert low <= score.value <= high


def test_the_first_label_is_the_same_down_to_int6(full, fewer):
    bits, served = fewer
    score = comparator("topk", k=1).compare(full.classify(), served.classify())
    assert score.is_comparable
    if bits >= 6:
        assert score.value == 1.0
    if bits == 2:
        assert score.value == 0.0


def test_the_form_of_the_answer_says_nothing(full, model, names):
    compact = Served(model, names, is_compact=True)
    score = compare_vectors(full, compact, "min")
    assert score.value > 0.999999
    assert comparator("exact").compare(full.embed(), compact.embed()).value == 0.0


@pytest.mark.parametrize(
    ("weights", "change"),
    [
        (BYTES, lambda values: np.roll(values, 1, axis=0)),
        (CONVOLUTION, lambda values: values[::-1]),
        (CONVOLUTION, np.zeros_like),
    ],
    ids=["every byte is taken for the next", "channels in reverse", "a layer that was not loaded"],
)
def test_a_wrong_model_is_told_from_the_right_one(full, model, names, weights, change):
    wrong = Served(onnx_weights.change_weights(model, weights, change), names)
    assert compare_vectors(full, wrong, "mean").value < 0.5
    judge = comparator("topk", k=5, combine="mean")
    score = judge.compare(full.classify(), wrong.classify())
    assert is_mismatch(judge, score)
    assert score.value < 0.4
