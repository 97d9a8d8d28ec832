from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from calibrate.encoders.logmel import convolve, nearest_frames
from calibrate.encoders.pretrained import load_encoder
from calibrate.encoders.shapes import CompactShape, WhisperStudentShape
from calibrate.encoders.students import build_student, inherit, is_student, save_student
from calibrate.encoders.whisper import WhisperEncoder
from edge.errors import ModelError

few = settings(max_examples=15, deadline=None)

TINY_WHISPER = WhisperStudentShape(layers=2, width=16, heads=2, hidden=32, positions=50)
TINY_COMPACT = CompactShape(layers=2, width=16, heads=2, hidden=32)
TINY_MERGING = TINY_WHISPER.model_copy(update={"hop": 160, "merge": True})
SHAPES = {"whisper": TINY_WHISPER, "compact": TINY_COMPACT, "merging": TINY_MERGING}


@few
@given(
    time=st.integers(1, 40),
    kernel_stride=st.sampled_from([(3, 1), (3, 2), (3, 3), (5, 4)]),
    seed=st.integers(0, 10),
)
def test_a_convolution_as_a_product_is_that_of_torch(time: int, kernel_stride: tuple[int, int], seed: int) -> None:
    torch.manual_seed(seed)
    kernel, stride = kernel_stride
    convolution = nn.Conv1d(4, 6, kernel, stride=stride)
    features = torch.randn(2, time, 4)
    ours = convolve(features, convolution)
    theirs = convolution(F.pad(features.transpose(1, 2), (1, kernel + stride))).transpose(1, 2)
    assert ours.shape[1] == -(-time // stride)
    torch.testing.assert_close(ours, theirs[:, : ours.shape[1]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SHAPES)
@few
@given(lengths=st.lists(st.integers(1, 9_000), min_size=1, max_size=3), extra=st.integers(1, 4_000))
def test_padding_and_batch_mates_change_nothing(kind: str, lengths: list[int], extra: int) -> None:
    torch.manual_seed(0)
    student = build_student(SHAPES[kind]).eval()
    rows = [0.1 * torch.randn(length) for length in lengths]
    padded = torch.randn(len(rows), max(lengths) + extra)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    with torch.inference_mode():
        together, tokens = student(padded, torch.tensor(lengths))
        assert tokens.tolist() == [-(-length // 640) for length in lengths]
        for place, row in enumerate(rows):
            alone, _ = student(row[None], torch.tensor([len(row)]))
            for found, expected in zip(together, alone, strict=True):
                torch.testing.assert_close(found[place, : tokens[place]], expected[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_student_comes_back_from_its_folder(tmp_path: Path, kind: str) -> None:
    student = build_student(SHAPES[kind]).eval()
    save_student(student, SHAPES[kind], tmp_path, "small")
    assert is_student(tmp_path)
    waveform, lengths = 0.1 * torch.randn(1, 8_000), torch.tensor([8_000])
    loaded = load_encoder(str(tmp_path), 2, 1.0)
    assert loaded.label == "small"
    with torch.inference_mode():
        for found, expected in zip(loaded(waveform, lengths)[0], student(waveform, lengths)[0], strict=True):
            torch.testing.assert_close(found, expected)


def test_a_damaged_student_is_named(tmp_path: Path) -> None:
    save_student(build_student(TINY_COMPACT), TINY_COMPACT, tmp_path, "small")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="holds no whole student"):
        load_encoder(str(tmp_path), 2)
    save_student(build_student(TINY_COMPACT), TINY_COMPACT, tmp_path, "small")
    with pytest.raises(ModelError, match="has 2 layers, so 3"):
        load_encoder(str(tmp_path), 3)


def test_a_token_stands_for_several_of_whispers_at_the_position_of_the_first(encoders: dict[str, Path]) -> None:
    whole = load_encoder(str(encoders["whisper"]), 2)
    slow = build_student(TINY_WHISPER.model_copy(update={"hop": 320, "stride": 3, "positions": 16}))
    inherit(slow, whole)
    with torch.inference_mode():
        tokens = [int(encoder(torch.randn(1, 9_600), torch.tensor([9_600]))[1]) for encoder in (whole, slow)]
    assert tokens == [30, 10]
    torch.testing.assert_close(slow.positions, whole.positions[:48:3])  # type: ignore[index]
    torch.testing.assert_close(slow.conv2.weight, whole.conv2.weight)  # type: ignore[union-attr]


@given(frames=st.integers(1, 2_000), apart=st.floats(1, 9))
def test_of_all_frames_the_nearest_are_taken(frames: int, apart: float) -> None:
    found = nearest_frames(frames, apart).tolist()
    assert found[0] == 0
    assert found[-1] < frames <= len(found) * apart + 0.5
    assert all(abs(frame - place * apart) <= 0.5 + 1e-6 for place, frame in enumerate(found))
    assert nearest_frames(frames, 3).tolist() == list(range(0, frames, 3))


def test_tokens_need_not_be_a_whole_number_of_whispers_apart(encoders: dict[str, Path]) -> None:
    """Every 75 ms, at the positions of Whisper's tokens 0, 4, 8, 11 and 15."""
    whole = load_encoder(str(encoders["whisper"]), 2)
    slow = cast(
        WhisperEncoder, build_student(TINY_WHISPER.model_copy(update={"hop": 400, "stride": 3, "positions": 5}))
    )
    inherit(slow, whole)
    torch.testing.assert_close(slow.positions, whole.positions[[0, 4, 8, 11, 15]])  # type: ignore[index]


def test_with_whispers_own_frames_tokens_start_as_every_other_one_of_its_own(encoders: dict[str, Path]) -> None:
    whole = load_encoder(str(encoders["whisper"]), 2)
    half = build_student(TINY_WHISPER.model_copy(update={"hop": 160, "stride": 4}))
    inherit(half, whole)
    waveform, lengths = torch.randn(2, 9_600), torch.tensor([9_600, 6_000])
    with torch.inference_mode():
        (all_tokens, *_), _ = whole(waveform, lengths)
        (tokens, *_), counts = half(waveform, lengths)
    assert counts.tolist() == [15, 10]
    for row, count in enumerate(counts):
        torch.testing.assert_close(tokens[row, :count], all_tokens[row, : 2 * count : 2])


def test_pairs_of_tokens_become_one_in_the_first_layer(encoders: dict[str, Path]) -> None:
    """The mean of a pair asks, every token answers: by hand for one row, with an odd token at its end."""
    whole = load_encoder(str(encoders["whisper"]), 2)
    merging = cast(WhisperEncoder, build_student(TINY_MERGING).eval())
    inherit(merging, whole)
    waveform, lengths = 0.1 * torch.randn(1, 4_700), torch.tensor([4_700])
    with torch.inference_mode():
        (tokens, *_), counts = whole(waveform, lengths)
        (pairs, first, second), halved = merging(waveform, lengths)
        assert (int(counts), int(halved), merging.samples_a_token) == (15, 8, 640)
        expected = torch.stack([tokens[0, at : at + 2].mean(0) for at in range(0, 15, 2)])
        torch.testing.assert_close(pairs[0], expected)
        block: Any = merging.blocks[0]
        attention, normed = block.self_attn, block.self_attn_layer_norm(tokens)
        query = attention.q_proj(block.self_attn_layer_norm(pairs))
        split = [
            part.unflatten(2, (2, 8)).transpose(1, 2)
            for part in (query, attention.k_proj(normed), attention.v_proj(normed))
        ]
        mixed = F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2)
        hidden = pairs + attention.out_proj(mixed)
        torch.testing.assert_close(first, hidden + block.fc2(F.gelu(block.fc1(block.final_layer_norm(hidden)))))
        torch.testing.assert_close(second, whole.blocks[1](first, None)[0].reshape(first.shape))  # type: ignore[index, operator]


def test_whisper_itself_is_a_student_of_its_hop_and_stride(encoders: dict[str, Path]) -> None:
    whole = load_encoder(str(encoders["whisper"]), 2)
    same = build_student(TINY_WHISPER.model_copy(update={"hop": 160})).eval()
    inherit(same, whole)
    waveform, lengths = 0.1 * torch.randn(1, 8_000), torch.tensor([8_000])
    with torch.inference_mode():
        for found, expected in zip(same(waveform, lengths)[0], whole(waveform, lengths)[0], strict=True):
            torch.testing.assert_close(found, expected)


def test_a_student_inherits_from_what_is_as_wide_and_no_wider(encoders: dict[str, Path]) -> None:
    teacher = load_encoder(str(encoders["whisper"]), 3)
    student = build_student(TINY_WHISPER)
    inherit(student, teacher)
    torch.testing.assert_close(
        student.transformer_layers()[1].self_attn.q_proj.weight,  # type: ignore[union-attr]
        teacher.transformer_layers()[1].self_attn.q_proj.weight,  # type: ignore[union-attr]
    )
    thin = build_student(TINY_WHISPER.model_copy(update={"stem": 12, "hidden": 24}))
    inherit(build_student(TINY_WHISPER.model_copy(update={"stem": 12, "hidden": 24})), thin)
    for fewer in ({"stem": 12}, {"hidden": 24}):
        with pytest.raises(ModelError, match="affectd-export thin makes"):
            inherit(build_student(TINY_WHISPER.model_copy(update=fewer)), teacher)
    with pytest.raises(ModelError, match="inherits nothing"):
        inherit(build_student(TINY_WHISPER.model_copy(update={"width": 32})), teacher)
    with pytest.raises(ModelError, match="every 320 samples is more than one every 640"):
        inherit(build_student(TINY_WHISPER.model_copy(update={"stride": 1})), student)
    with pytest.raises(ModelError, match="does not fit"):
        inherit(build_student(TINY_WHISPER.model_copy(update={"positions": 9_000})), teacher)
