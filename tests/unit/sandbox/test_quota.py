import pytest
from tests.unit.sandbox.fake_objects import info_of

from switchyard.sandbox.apiserver.errors import ApiError
from switchyard.sandbox.apiserver.quota import check_quotas
from switchyard.sandbox.apiserver.resources import Json


def _pod(phase: str = "Running", **requests: str) -> Json:
    amounts = {name.replace("__", "/").replace("_", "."): value for name, value in requests.items()}
    container = {"name": "c", "resources": {"requests": amounts, "limits": amounts}}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container]}, "status": {"phase": phase}}


def _quota(**hard: str) -> Json:
    named = {name.replace("__", "/").replace("_", "."): value for name, value in hard.items()}
    return {"metadata": {"name": "q"}, "spec": {"hard": named}}


@pytest.mark.parametrize(
    ("hard", "there", "new"),
    [
        ({"pods": "2"}, [_pod()], _pod()),
        ({"pods": "1"}, [_pod(phase="Succeeded")], _pod()),
        ({"requests_nvidia_com__gpu": "2"}, [_pod(nvidia_com__gpu="1")], _pod(nvidia_com__gpu="1")),
        ({"requests_nvidia_com__gpu": "0"}, [], _pod()),
        ({"cpu": "1"}, [_pod(cpu="500m")], _pod(cpu="500m")),
        ({"configmaps": "0"}, [], _pod()),
    ],
)
def test_a_pod_that_fits_is_let_in(hard: dict[str, str], there: list[Json], new: Json) -> None:
    check_quotas(info_of("Pod"), new, there, [_quota(**hard)])


@pytest.mark.parametrize(
    ("hard", "there", "new", "told"),
    [
        (
            {"pods": "1"},
            [_pod()],
            _pod(),
            "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        ),
        (
            {"requests_nvidia_com__gpu": "2"},
            [_pod(nvidia_com__gpu="1")],
            _pod(nvidia_com__gpu="2"),
            "requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=2",
        ),
        ({"requests_memory": "1Gi"}, [], _pod(memory="2Gi"), "requested: requests.memory=2Gi"),
        ({"cpu": "1"}, [], _pod(), "failed quota: q: must specify cpu for: c"),
    ],
)
def test_a_pod_that_does_not_fit_is_told_why(
    hard: dict[str, str], there: list[Json], new: Json, told: str
) -> None:
    with pytest.raises(ApiError) as refusal:
        check_quotas(info_of("Pod"), new, there, [_quota(**hard)])
    assert refusal.value.code == 403
    assert told in refusal.value.message


def test_an_init_container_counts_where_it_needs_more() -> None:
    pod = _pod(nvidia_com__gpu="1")
    pod["spec"]["initContainers"] = _pod(nvidia_com__gpu="4")["spec"]["containers"]
    with pytest.raises(ApiError) as refusal:
        check_quotas(info_of("Pod"), pod, [], [_quota(requests_nvidia_com__gpu="3")])
    assert "requested: requests.nvidia.com/gpu=4" in refusal.value.message
