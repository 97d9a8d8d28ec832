"""Masked prediction with embeddings of speakers: the objective, where embeddings go, and resuming."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchaudio.models import HuBERTPretrainModel
from torchaudio.models.wav2vec2.components import LogitGenerator
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from transformers import HubertConfig, HubertModel

from calibrate.corpora import Utterance
from calibrate.encoders.base import SpeechEncoder
from calibrate.encoders.pretrained import ConvolutionalEncoder, load_encoder
from calibrate.encoders.saved import new_hubert, save_encoder
from calibrate.encoders.shapes import CompactShape, WhisperStudentShape
from calibrate.encoders.students import build_student
from calibrate.pretraining import new_speakers
from calibrate.pretraining.adapted import Adapted
from calibrate.pretraining.new_speakers import fitted_embedding, loss_of, similar_embedding
from calibrate.pretraining.prediction import MaskedPrediction
from calibrate.pretraining.pretrainer import make_batch, pretrain
from calibrate.pretraining.recordings import Recordings
from calibrate.pretraining.speaker_place import transform_for
from calibrate.recipe import HubertShape, PretrainingRecipe, SpeakerPlace
from calibrate.training import loop
from calibrate.training.audio_store import AudioStore
from edge.arrays import Integers
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.errors import ModelError, UsageError
from helpers.models import EMOTIONS, emotional, write_clip

TOLD: tuple[SpeakerPlace, ...] = ("last", "first", "prefix")


class Clusters:
    """The loudness of a token, as its cluster."""

    classes = 4

    def __init__(self, recordings: Recordings, encoder: SpeechEncoder) -> None:
        self.recordings, self.encoder = recordings, encoder

    def of(self, row: int) -> Integers:
        waveform = self.recordings.read(row)
        hop = self.encoder.samples_a_token
        frames = self.encoder.frames_in(len(waveform))
        loud = [np.abs(waveform[frame * hop : (frame + 1) * hop]).max(initial=0.0) for frame in range(frames)]
        return np.digitize(loud, [0.02, 0.06, 0.2]).astype(np.int64)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    folder = tmp_path_factory.mktemp("speech")
    found = []
    for speaker in ("anna", "ben", "cem"):
        for emotion in EMOTIONS:
            for take in range(2):
                path = folder / f"{speaker}-{emotion}{take}.wav"
                write_clip(path, spoken_by(path.stem, emotion))
                found.append(Utterance(path, "team", speaker, emotion))
    return Recordings.open(found, AudioStore(1e8))


@pytest.fixture
def encoder(encoders: dict[str, Path]) -> SpeechEncoder:
    return load_encoder(str(encoders["whisper"]), 2)


def spoken_by(name: str, emotion: str = "angry") -> Waveform:
    """Return about a second of a voice."""
    return np.tile(emotional(emotion, name), 3)


def whisper(folders: dict[str, Path]) -> SpeechEncoder:
    return load_encoder(str(folders["whisper"]), 2)


def model_of(encoder: SpeechEncoder, place: SpeakerPlace = "last", speakers: int = 3) -> MaskedPrediction:
    torch.manual_seed(0)
    return MaskedPrediction(encoder, Clusters.classes, speakers, place, 0.8)


def padded(lengths: list[int]) -> tuple[Tensor, Tensor]:
    waveform = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        waveform[row, :length] = torch.from_numpy(spoken_by(f"padded {row}")[:length])
    return waveform, torch.tensor(lengths)


@pytest.mark.parametrize("family", ["whisper", "hubert", "wav2vec2", "wavlm"])
def test_the_seam_between_front_end_and_transformer_changes_nothing(family: str, encoders: dict[str, Path]) -> None:
    encoder = load_encoder(str(encoders[family]), 2)
    waveform, lengths = padded([9_000, 5_000])
    with torch.inference_mode():
        states, frames = encoder(waveform, lengths)
        tokens = encoder.front_end(waveform, lengths)
        again = encoder.transform(tokens.hidden, tokens.frames)
    assert len(states) == 3
    assert frames.tolist() == tokens.frames.tolist() == [encoder.frames_in(length) for length in (9_000, 5_000)]
    for state, other in zip(states, again, strict=True):
        assert torch.equal(state, other)
    assert (tokens.penalty > 0) == (family != "whisper")


def test_the_objective_is_that_of_torchaudio() -> None:
    torch.manual_seed(3)
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=(8,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, feat_extract_norm="layer", conv_bias=True,
    )  # fmt: skip
    hubert = HubertModel(config).eval()
    ours = MaskedPrediction(ConvolutionalEncoder(hubert), 12, 0, "none", 0.8).eval()
    generator = LogitGenerator(32, 12, 256, skip_masked=False, skip_nomask=False)
    projection = {f"final_proj.{name}": tensor for name, tensor in ours.project.state_dict().items()}
    generator.load_state_dict({"label_embeddings": ours.clusters, **projection})
    theirs = HuBERTPretrainModel(import_huggingface_model(hubert), ours.mask, generator, None).eval()
    waveform = torch.randn(2, 16_000)
    waveform = (waveform - waveform.mean(1, keepdim=True)) / waveform.std(1, keepdim=True, correction=0)
    lengths = torch.tensor([16_000, 16_000])
    targets = torch.randint(12, (2, 49))
    with torch.inference_mode():
        torch.manual_seed(5)
        logits, _, penalty = theirs(waveform, targets, lengths)
        torch.manual_seed(5)
        predicted = ours(waveform, lengths, targets, None)
    loss = torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    assert predicted.masked == len(logits)
    assert predicted.penalty.item() == pytest.approx(penalty.item(), rel=1e-4)
    assert predicted.loss.item() == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize("place", TOLD)
def test_who_speaks_changes_what_is_computed_only_where_it_is_told(
    place: SpeakerPlace, encoders: dict[str, Path]
) -> None:
    encoder = whisper(encoders)
    waveform, lengths = padded([9_000, 5_000])
    told = torch.randn(2, encoder.width)
    with torch.inference_mode():
        tokens = encoder.front_end(waveform, lengths)
        plain = encoder.transform(tokens.hidden, tokens.frames)
        states = transform_for(encoder, tokens.hidden, tokens.frames, told, place)
        nobody = transform_for(encoder, tokens.hidden, tokens.frames, None, place)
    assert [state.shape for state in states] == [state.shape for state in plain]
    assert all(torch.equal(one, other) for one, other in zip(nobody, plain, strict=True))
    assert not torch.allclose(states[-1][0], plain[-1][0])
    if place == "last":
        assert all(torch.equal(one, other) for one, other in zip(states[:-1], plain[:-1], strict=True))
        assert torch.allclose(states[-1] - plain[-1], told[:, None, :].expand_as(plain[-1]), atol=1e-5)


@pytest.mark.parametrize("place", ["none", *TOLD])
def test_losses_do_not_depend_on_padding(place: SpeakerPlace, encoders: dict[str, Path]) -> None:
    model = model_of(whisper(encoders), place).eval()
    speakers = model.embeddings_of(torch.tensor([1]))
    assert (speakers is None) == (place == "none")
    waveform, lengths = padded([9_000])
    targets = torch.zeros(1, 29, dtype=torch.int64)
    losses = []
    for more in (0, 4_000):
        with torch.inference_mode():
            torch.manual_seed(1)
            wider = torch.nn.functional.pad(waveform, (0, more))
            predicted = model(wider, lengths, torch.nn.functional.pad(targets, (0, 20)), speakers)
        losses.append(predicted.loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_stranger_has_the_mean_embedding(encoder: SpeechEncoder) -> None:
    model = model_of(encoder)
    found = model.embeddings_of(torch.tensor([-1, 2]))
    assert found is not None
    assert torch.allclose(found[0], model.speakers.mean(0))
    assert torch.equal(found[1], model.speakers[2])


def pretrained(
    folder: Path, encoders: dict[str, Path], recordings: Recordings, resume: bool = False, epochs: int = 4
) -> MaskedPrediction:
    recipe = PretrainingRecipe(batch_s=2.0, max_s=0.6, learning_rate=1e-3, new_learning_rate=1e-2, held_out=0.2)
    encoder = whisper(encoders)
    model = model_of(encoder)
    folder.mkdir(exist_ok=True)
    pretrain(model, recordings, Clusters(recordings, encoder), recipe, folder, epochs=epochs, resume=resume)
    return model


def test_the_masked_loss_falls(tmp_path: Path, encoders: dict[str, Path], recordings: Recordings) -> None:
    pretrained(tmp_path / "run", encoders, recordings)
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    assert rows[0] == [
        "quarter", "epoch", "masked_loss", "masked_accuracy", "validation_loss", "validation_accuracy", "learning_rate",
    ]  # fmt: skip
    assert [float(row[1]) for row in rows[1:]] == [quarter / 4 for quarter in range(1, 17)]
    assert float(rows[-1][4]) < 0.95 * float(rows[1][4])
    assert float(rows[-1][6]) == 0


@settings(max_examples=4, deadline=None)
@given(died=st.integers(0, 7))
def test_killed_at_any_quarter_and_resumed_it_ends_with_the_same_numbers(
    died: int, tmp_path_factory: pytest.TempPathFactory, encoders: dict[str, Path], recordings: Recordings
) -> None:
    folder = tmp_path_factory.mktemp("resumed")
    whole = pretrained(folder / "whole", encoders, recordings, epochs=2)
    runs = 0
    train = loop.Checkpoint.save

    def die(checkpoint: loop.Checkpoint, rounds: int) -> None:
        nonlocal runs
        runs += 1
        if runs > died:
            raise KeyboardInterrupt
        train(checkpoint, rounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Checkpoint, "save", die)
        with pytest.raises(KeyboardInterrupt):
            pretrained(folder / "killed", encoders, recordings, epochs=2)
    torch.rand(7)  # whatever else draws in between
    resumed = pretrained(folder / "killed", encoders, recordings, resume=True, epochs=2)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert (folder / "whole" / "log.csv").read_text() == (folder / "killed" / "log.csv").read_text()


@given(share=st.floats(0.01, 0.9), seed=st.integers(0, 99))
def test_of_everyone_some_recordings_are_held_out_and_some_not(share: float, seed: int, recordings: Recordings) -> None:
    learning, held_out = recordings.held_out(share, seed)
    assert sorted([*learning, *held_out]) == list(range(len(recordings.utterances)))
    assert set(recordings.speaker[learning]) == set(recordings.speaker[held_out]) == {0, 1, 2}


@given(batch_s=st.floats(0.1, 9), max_s=st.floats(0.5, 2), seed=st.integers(0, 99))
def test_every_recording_is_in_one_batch(batch_s: float, max_s: float, seed: int, recordings: Recordings) -> None:
    rows = np.arange(1, len(recordings.utterances))
    for order in (None, (seed, 0)):
        batches = recordings.batches(rows, batch_s, max_s, order)
        assert sorted(np.concatenate(batches)) == rows.tolist()


@given(max_s=st.floats(0.05, 1.2), seed=st.integers(0, 99))
def test_a_part_has_the_clusters_of_the_whole(
    max_s: float, seed: int, encoders: dict[str, Path], recordings: Recordings
) -> None:
    encoder = whisper(encoders)
    model, clusters = model_of(encoder), Clusters(recordings, encoder)
    batch = make_batch(recordings, clusters, np.array([0, 7]), max_s, model, np.random.default_rng(seed))
    for row, recording in enumerate((0, 7)):
        frames = encoder.frames_in(int(batch.lengths[row]))
        wanted, part = clusters.of(recording), batch.targets[row, :frames].numpy()
        starts = range(len(wanted) - frames + 1)
        assert any((wanted[start : start + frames] == part).all() for start in starts)
        assert batch.lengths[row] <= round(max_s * SAMPLE_RATE_HZ)


def test_only_recordings_with_speech_are_learned_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "short.wav", emotional("angry", "short")[:3_000])
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    short, broken = (Utterance(tmp_path / name, "team", "anna", "angry") for name in ("short.wav", "broken.wav"))
    with pytest.raises(UsageError, match=r"none of 2 recordings holds 0\.5 s of speech"):
        Recordings.open([short, broken], AudioStore(1e6))
    assert "broken.wav" in caplog.text


def test_speakers_who_are_alike_lend_their_embeddings() -> None:
    voices = np.array([[1, 0], [0.9, 0.1], [-1, 0], [0, -1]], np.float32)
    embeddings = np.arange(8, dtype=np.float32).reshape(4, 2)
    assert similar_embedding(np.array([2, 0.1], np.float32), voices, embeddings, 2) == pytest.approx([1, 2])


def test_steps_on_an_embedding_lower_the_loss_and_change_nothing_else(
    tmp_path: Path, encoders: dict[str, Path], recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pretrained(tmp_path / "run", encoders, recordings, epochs=1)
    clusters = Clusters(recordings, model.encoder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    monkeypatch.setattr(new_speakers, "STEP_RATE", 0.05)
    rows = np.flatnonzero(recordings.speaker == 0)
    start = np.zeros(model.encoder.width, np.float32)
    fitted = fitted_embedding(model, recordings, clusters, rows, 1.0, start, seed=0)
    losses = []
    for embedding in (start, fitted):
        torch.manual_seed(2)
        losses.append(loss_of(model, recordings, clusters, rows, 1.0, torch.from_numpy(embedding)).item())
    assert losses[1] < losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("family", ["whisper", "hubert", "hubert-group", "wavlm", "compact", "scratch"])
def test_an_encoder_that_was_saved_loads_like_any_other(family: str, tmp_path: Path, encoders: dict[str, Path]) -> None:
    torch.manual_seed(0)
    if family == "compact":
        encoder = build_student(CompactShape(layers=2, width=16, heads=2, hidden=32))
    elif family == "scratch":
        encoder = new_hubert(HubertShape(layers=2, width=32, heads=2, hidden=32, channels=8))
    else:
        encoder = load_encoder(str(encoders[family]), 2)
    save_encoder(encoder.eval(), tmp_path / "encoder", "tiny (PAPT)")
    again = load_encoder(str(tmp_path / "encoder"), 2)
    assert (again.label, again.layers) == ("tiny (PAPT)", 2)
    with pytest.raises(ModelError, match="has 2 layers"):
        load_encoder(str(tmp_path / "encoder"), 3)
    waveform, lengths = padded([9_000, 5_000])
    with torch.inference_mode():
        for one, other in zip(encoder(waveform, lengths)[0], again(waveform, lengths)[0], strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def test_what_was_learned_is_kept_and_read_again(tmp_path: Path, encoder: SpeechEncoder) -> None:
    model = model_of(encoder)
    kept = Adapted.of(model, ["anna", "ben", "cem"], np.ones((3, encoder.width), np.float32))
    kept.save(tmp_path, "tiny (PAPT)")
    again = Adapted.load(tmp_path, 2)
    assert (again.place, again.names) == ("last", ["anna", "ben", "cem"])
    assert np.array_equal(again.embeddings, kept.embeddings)
    assert np.array_equal(replace(again, voices=kept.voices).voices, again.voices)
    (tmp_path / "papt.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no pre-trained encoder"):
        Adapted.load(tmp_path, 2)


def test_an_encoder_that_merges_tokens_cannot_predict_single_ones() -> None:
    student = build_student(WhisperStudentShape(layers=1, width=16, heads=2, hidden=32, hop=160, merge=True))
    with pytest.raises(ModelError, match="merges tokens"):
        MaskedPrediction(student, 4, 2, "last", 0.8)
