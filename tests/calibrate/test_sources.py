import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from calibrate.dataset import Part, read_parts
from calibrate.encoders.batches import encode
from calibrate.encoders.pretrained import PooledEncoder
from calibrate.recipe import Recipe
from calibrate.run import build_run
from calibrate.training.audio_store import AudioStore
from calibrate.training.sources import GROUP, LiveFeatures
from edge.audio import read_audio
from edge.errors import AudioFileError, UsageError
from edge.high_pass import high_passed
from edge.spoken import spoken

MakeRecipe = Callable[..., Recipe]
WriteClip = Callable[..., Path]
PLAIN = {"augmentation": {"copies": 0}, "rank": 0}


@pytest.fixture
def part(data: Path, recipe_of: MakeRecipe) -> Part:
    return read_parts(recipe_of(), data)["train"]


def live(recipe: Recipe, folder: Path) -> tuple[LiveFeatures, PooledEncoder]:
    encoder = build_run(recipe, str(folder)).encoder
    return LiveFeatures(encoder, recipe), encoder


def test_kept_audio_is_what_the_file_holds(tmp_path: Path, clip: WriteClip) -> None:
    waveform = (1e-4 * np.sin(np.arange(4_000) / 9)).astype(np.float32)
    path = clip(tmp_path / "quiet.wav", 1_000 * waveform)
    whole, small = AudioStore(1e6), AudioStore(100)
    kept = whole.read(path)
    np.testing.assert_allclose(kept, read_audio(path), atol=2e-5 * np.abs(kept).max())
    np.testing.assert_array_equal(small.read(path), kept)
    np.testing.assert_allclose(whole.read(path, spoken_only=True), spoken(read_audio(path)), atol=1e-5)
    assert whole.free_bytes == 1e6 - 4 * 4_000
    assert small.free_bytes == 100
    path.unlink()
    np.testing.assert_array_equal(whole.read(path), kept)
    with pytest.raises(AudioFileError):
        small.read(path)


def test_silence_is_kept(tmp_path: Path, clip: WriteClip) -> None:
    store = AudioStore(1e6)
    path = clip(tmp_path / "silence.wav", np.zeros(300, np.float32))
    np.testing.assert_array_equal(store.read(path), np.zeros(300, np.float32))


def test_grouping_by_length_keeps_order_and_numbers(
    part: Part, recipe_of: MakeRecipe, encoders: dict[str, Path]
) -> None:
    recipe = recipe_of(encoder={"finetune": 1}, finetune=PLAIN)
    source, encoder = live(recipe, encoders["whisper"])
    expected = np.concatenate([encode(encoder, [high_passed(read_audio(path))]) for path in part.paths])
    expected = expected.reshape(len(expected), 3, -1)
    assert len(part.paths) > 2 * GROUP
    np.testing.assert_allclose(source.clean(part)[1].numpy(), expected, rtol=1e-3, atol=1e-4)
    rows = np.random.default_rng(0).integers(len(part.paths), size=2 * GROUP + 3)
    drawn = source.augmented(part)(rows, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.detach().numpy(), expected[rows], rtol=1e-3, atol=1e-4)


def test_augmented_audio_is_drawn_by_the_generator(
    part: Part, recipe_of: MakeRecipe, encoders: dict[str, Path]
) -> None:
    source, _ = live(recipe_of(encoder={"finetune": 1}), encoders["whisper"])
    draw, rows = source.augmented(part), np.array([3, 3, 5])
    first, again, other = (draw(rows, np.random.default_rng(seed)).detach() for seed in (0, 0, 1))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(first, other)
    assert not torch.allclose(first[0], first[1]), "the same utterance twice is augmented twice"


@pytest.mark.parametrize(
    ("finetune", "learning"),
    [
        ({"rank": 0}, {"blocks.1"}),
        ({"rank": 4}, {"blocks.1"}),
        ({"rank": 0, "front": True}, {"blocks.0", "blocks.1", "conv1", "conv2"}),
    ],
)
def test_what_learns_and_what_is_left_when_it_is_over(
    finetune: dict[str, object], learning: set[str], part: Part, recipe_of: MakeRecipe, encoders: dict[str, Path]
) -> None:
    recipe = recipe_of(encoder={"finetune": 2 if finetune.get("front") else 1}, finetune=finetune)
    names = set(build_run(recipe, str(encoders["whisper"])).encoder.state_dict())
    source, encoder = live(recipe, encoders["whisper"])
    assert source.learns is not None
    assert len(list(source.learns.children())) == len(learning) - (1 if finetune.get("front") else 0)
    source.augmented(part)(np.arange(4), np.random.default_rng(0)).square().sum().backward()
    with_gradients = {name for name, each in encoder.named_parameters() if each.grad is not None}
    assert {".".join(name.split(".")[1 : 3 if "blocks" in name else 2]) for name in with_gradients} == learning
    assert with_gradients == {name for name, each in encoder.named_parameters() if each.requires_grad}
    source.finish()
    assert set(encoder.state_dict()) == names
    assert not any(each.requires_grad for each in encoder.parameters())


def test_files_that_cannot_be_read_are_left_out(
    data: Path, recipe_of: MakeRecipe, encoders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(data, tmp_path / "data")
    recipe = recipe_of(encoder={"finetune": 1})
    part = read_parts(recipe, tmp_path / "data")["train"]
    part.paths[4].write_bytes(b"RIFF")
    source, _ = live(recipe, encoders["whisper"])
    assert source.readable(part).paths == part.paths[:4] + part.paths[5:]
    assert f"{part.paths[4]}: cannot be read and is left out" in caplog.text
    with pytest.raises(UsageError, match="none of 1 files can be read"):
        source.readable(part.select(np.arange(len(part.paths)) == 4))
