from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from calibrate.encoders.lowrank import add_adapters, merge_adapters
from calibrate.encoders.pretrained import load_encoder
from edge.errors import UsageError

FAMILIES = ["whisper", "hubert", "wavlm"]


def heard(encoder: nn.Module) -> Tensor:
    waveform = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states: list[Tensor] = encoder.eval()(waveform, torch.tensor([8_000, 5_000]))[0]
    return states[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_start_as_nothing_learn_alone_and_merge_into_the_weights(
    family: str, encoders: dict[str, Path]
) -> None:
    encoder = load_encoder(str(encoders[family]), 2)
    # Before the reference: torch folds the batch of a transposed input (WavLM's attention) only for a weight that can
    # learn, even without gradients, and the other matrix product rounds differently in the last bits.
    encoder.requires_grad_(False)
    weights, before = {name: each.clone() for name, each in encoder.state_dict().items()}, heard(encoder)
    layer = encoder.transformer_layers()[-1:]
    add_adapters(layer, rank=2)
    torch.testing.assert_close(heard(encoder), before, rtol=0, atol=0)
    learning = {name: each for name, each in encoder.named_parameters() if each.requires_grad}
    assert {name.rpartition(".")[2] for name in learning} == {"a", "b"}
    assert all(part in " ".join(learning) for part in ("q_proj", "out_proj"))
    for parameter in learning.values():
        nn.init.normal_(parameter, std=0.1)
    adapted = heard(encoder)
    assert (adapted - before).abs().max() > 0.01
    merge_adapters(encoder)
    merged = encoder.state_dict()
    assert set(merged) == set(weights)
    torch.testing.assert_close(heard(encoder), adapted, rtol=1e-5, atol=1e-5)
    changes = {name: merged[name] - weight for name, weight in weights.items() if not torch.equal(merged[name], weight)}
    assert len(changes) >= 6, "four projections of attention and two of the feed-forward layer"
    assert all(torch.linalg.matrix_rank(change, rtol=1e-4) == 2 for change in changes.values())


def test_a_layer_narrower_than_the_rank_gets_what_it_can_use() -> None:
    layer = nn.Sequential(nn.Linear(3, 8))
    add_adapters(layer, rank=16)
    assert {each.shape for each in layer.parameters() if each.requires_grad} == {(3, 3), (8, 3)}


def test_layers_without_matrices_are_refused() -> None:
    with pytest.raises(UsageError, match=r"finetune\.rank .* set it to 0"):
        add_adapters(nn.Sequential(nn.Conv1d(2, 2, 3)), rank=2)
