import pytest

from switchyard.sandbox.apiserver.durations import age, human_duration

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (150, "2m30s"),
        (180, "3m"),
        (47 * _MINUTE, "47m"),
        (3 * _HOUR + 12 * _MINUTE, "3h12m"),
        (30 * _HOUR, "30h"),
        (5 * _DAY + 4 * _HOUR, "5d4h"),
        (100 * _DAY, "100d"),
        (2 * 365 * _DAY + 30 * _DAY, "2y30d"),
        (9 * 365 * _DAY, "9y"),
    ],
)
def test_a_duration_is_told_in_the_words_of_kubectl(seconds: int, words: str) -> None:
    assert human_duration(seconds) == words


@pytest.mark.parametrize("timestamp", [None, "", "yesterday"])
def test_the_age_of_no_time_is_unknown(timestamp: str | None) -> None:
    assert age(timestamp) == "<unknown>"
