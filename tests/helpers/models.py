"""Fixtures of the training side: tiny random encoders, and two corpora whose emotions can be heard.

Neutral is low and quiet, happy in between, angry high and loud, so that even a random encoder tells them apart.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import soundfile
import torch
import transformers
from transformers import (
    BertConfig,
    BertModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from calibrate.recipe import Recipe
from edge.audio import SAMPLE_RATE_HZ, Waveform

EMOTIONS = {"neutral": (150.0, 0.03), "happy": (700.0, 0.12), "angry": (2_800.0, 0.5)}
RAVDESS_CODES = {"neutral": "01", "happy": "03", "angry": "05"}
ACTORS = {"01": "train", "02": "train", "03": "train", "04": "train", "05": "validation", "06": "test"}
COLLEAGUES = {"anna": "train", "ben": "train", "cem": "validation", "dana": "test"}

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "labels": ["neutral", "happy", "angry"],
    "corpora": [
        {"name": "ravdess", "folder": "ravdess", "licence": "CC BY-NC-SA 4.0"},
        {"name": "csv", "folder": "team", "licence": "own", "licence_verified": False},
    ],
    "splits": {"file": "splits.csv"},
    "encoder": {"name": "nowhere/nothing", "licence": "MIT", "layers": 2, "pooled": [0, 1, 2], "max_s": 1.0},
    "augmentation": {"copies": 1},
    "head": {"kind": "linear", "dim": 16},
    "schedule": {"epochs": 4, "stop_after": 0, "batch": 16, "learning_rate": 0.02, "weight_decay": 0.01},
}

_CONVOLUTIONS: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 0.2,
}


@pytest.fixture(scope="session", autouse=True)
def alone() -> Iterator[None]:
    """Keep torch from spinning (tiny matrices, busy cores) and transformers from asking a hub."""
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        yield


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory, alone: None) -> dict[str, Path]:
    """Folders of tiny random encoders as ``save_pretrained`` writes them, by family."""
    torch.manual_seed(0)
    layered = _CONVOLUTIONS | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    small = {"vocab_size": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    whisper = WhisperForConditionalGeneration(
        WhisperConfig(
            d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
            decoder_attention_heads=2, decoder_ffn_dim=32, decoder_start_token_id=1, init_std=0.2, **small,
        )
    )  # fmt: skip
    models = {
        "whisper-speech-to-text": whisper,
        "whisper": whisper.model,
        "whisper-encoder": whisper.model.encoder,
        "hubert": HubertModel(HubertConfig(**layered)),
        "hubert-group": HubertModel(HubertConfig(**_CONVOLUTIONS)),
        "wav2vec2": Wav2Vec2Model(Wav2Vec2Config(**layered)),
        "wavlm": WavLMModel(WavLMConfig(**layered)),
        "bert": BertModel(
            BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, **small)
        ),
    }
    folders = {name: tmp_path_factory.mktemp("encoders") / name for name in models}
    for name, model in models.items():
        model.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: ``ravdess`` (6 actors), ``team`` (a plain CSV, 4 people), ``splits.csv`` for both, ``sounds``."""
    folder = tmp_path_factory.mktemp("data")
    for seed in range(12):
        write_clip(folder / "sounds" / f"hiss{seed}.wav", hiss(seed))
    for actor in ACTORS:
        for emotion, code in RAVDESS_CODES.items():
            for sentence in ("01", "02"):
                clip = folder / "ravdess" / f"Actor_{actor}" / f"03-01-{code}-01-{sentence}-01-{actor}.wav"
                write_clip(clip, emotional(emotion, f"{actor}{sentence}"))
    rows = []
    for name in COLLEAGUES:
        for emotion in EMOTIONS:
            for take in range(2):
                path = f"{name}/{emotion}{take}.flac"
                write_clip(folder / "team" / path, emotional(emotion, f"{name}{take}"))
                rows.append((path, name, emotion))
    write_table(folder / "team" / "office.csv", ("path", "speaker", "emotion"), rows)
    splits = [("ravdess", *row) for row in ACTORS.items()] + [("office", *row) for row in COLLEAGUES.items()]
    write_table(folder / "splits.csv", ("corpus", "speaker", "split"), splits)
    return folder


def emotional(emotion: str, voice: str) -> Waveform:
    """Return 0.3 to 0.5 s of a tone with harmonics and breath; a voice is a pitch and a length."""
    rng = np.random.default_rng([*EMOTIONS[emotion][0].hex().encode(), *voice.encode()])
    pitch_hz, level = EMOTIONS[emotion]
    time_s = np.arange(round(rng.uniform(0.3, 0.5) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    phase = 2 * np.pi * pitch_hz * rng.uniform(0.85, 1.15) * time_s
    tone = sum(np.sin(harmonic * phase + rng.uniform(0, 6)) / harmonic for harmonic in (1, 2, 3))
    samples = level * rng.uniform(0.8, 1.2) * (tone / 2 + 0.05 * rng.standard_normal(len(time_s)))
    return np.clip(samples, -1, 1).astype(np.float32)


def hiss(seed: int) -> Waveform:
    """Return 0.5 s of noise that is no speech."""
    return (0.1 * np.random.default_rng(seed).standard_normal(SAMPLE_RATE_HZ // 2)).astype(np.float32)


def write_clip(path: Path, waveform: Waveform) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def write_table(path: Path, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the changes laid over it, section by section."""
    nested = {key: merged(base[key], value) for key, value in changes.items() if isinstance(base.get(key), dict)}
    return {**base, **changes, **nested}


@pytest.fixture(scope="session")
def clip() -> Callable[[Path, Waveform], Path]:
    """Write a waveform as a 16 kHz file, with the folders above it."""
    return write_clip


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Any]:
    """Make the recipe of the tiny corpora; keyword arguments replace keys, or keys of sections."""
    return lambda **changes: Recipe.model_validate(merged(RECIPE, changes))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[..., Path]:
    """The same as a TOML file."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(toml(merged(RECIPE, changes)))
        return path

    return write


def toml(recipe: Mapping[str, Any]) -> str:
    """Return a recipe as TOML; its strings, numbers and lists are written as in JSON."""
    tables = {key: value for key, value in recipe.items() if isinstance(value, dict)}
    lists = {key: recipe[key] for key in ("values", "corpora") if recipe.get(key)}
    lines = _pairs({key: value for key, value in recipe.items() if key not in {*tables, *lists}})
    for section, entries in lists.items():
        for entry in entries:
            lines += [f"[[{section}]]", *_pairs(entry)]
    for section, table in tables.items():
        lines += [f"[{section}]", *_pairs(table)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_inline(value)}" for key, value in table.items()]


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(_pairs(value))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")
