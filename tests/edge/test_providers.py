import logging

import pytest

from edge.errors import ModelError
from edge.providers import PROVIDERS, check_provider, provider_requests

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]
EVERYTHING = [TENSORRT, CUDA, CPU]


@pytest.mark.parametrize(
    ("wanted", "available", "requested"),
    [
        ("auto", [CPU], [CPU]),
        ("auto", EVERYTHING, [CUDA, CPU]),
        ("auto", ["AzureExecutionProvider", CPU], [CPU]),
        ("cpu", EVERYTHING, [CPU]),
        ("cuda", EVERYTHING, [CUDA, CPU]),
        ("cuda", [CPU], [CPU]),
        ("tensorrt", EVERYTHING, [TENSORRT, CUDA, CPU]),
        ("tensorrt", [CUDA, CPU], [CUDA, CPU]),
    ],
)
def test_the_chain_ends_in_the_cpu(wanted: str, available: list[str], requested: list[str]) -> None:
    assert [name for name, _ in provider_requests(wanted, available)] == requested


def test_cuda_does_not_search_inside_the_first_request() -> None:
    options = dict(provider_requests("tensorrt", EVERYTHING))
    assert options[CUDA]["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options[TENSORRT]["trt_engine_cache_enable"] == "1"


def test_requests_share_no_options() -> None:
    provider_requests("cuda", EVERYTHING)[0][1]["device_id"] = 7
    assert "device_id" not in provider_requests("cuda", EVERYTHING)[0][1]


def test_another_provider_is_told(caplog: pytest.LogCaptureFixture) -> None:
    check_provider("cuda", CUDA, required=True)
    check_provider("auto", CPU, required=True)
    assert not caplog.records
    check_provider("cuda", CPU, required=False)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "provider 'cuda' was wanted, CPUExecutionProvider is in use"


def test_another_provider_is_refused_when_it_matters() -> None:
    with pytest.raises(ModelError, match=r"set encoder\.require_provider = false"):
        check_provider("cuda", CPU, required=True)
