from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.arrays import Matrix, unit
from edge.buckets import Buckets
from edge.cohort import load_cohort, save_cohort
from edge.encoder import SpeakerEncoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from edge.speaker import FEATURES, Identification, Identifier, VoiceCalibration, features
from helpers.signals import speech_like
from helpers.tiny import tiny_encoder

# Evidence is 40 * (score - 0.5), more decisive for longer speech.
CALIBRATION = VoiceCalibration(np.array([-20.0, 40.0, -2.0, 0.0, 4.0, 0.0]))
DIM = 16
ANNA, BEN, CEM = np.eye(DIM, dtype=np.float32)[:3]


def prints(centre: Matrix, count: int, seed: int = 0, spread: float = 0.1) -> Matrix:
    noise = np.random.default_rng(seed).standard_normal((count, DIM))
    return unit(centre + spread * noise.astype(np.float32))


def identifier(**options: float) -> Identifier:
    return Identifier(CALIBRATION, {"Anna": prints(ANNA, 4, 1), "Ben": prints(BEN, 4, 2)}, **options)


def between(first: Matrix, second: Matrix, share: float) -> Matrix:
    return unit((1 - share) * first + share * second)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SpeakerEncoder:
    model = tiny_encoder()
    model.graph.output[0].name = model.graph.node[-1].output[0] = "voiceprint"
    path = tmp_path_factory.mktemp("speaker") / "speaker.onnx"
    onnx.save(model, path)
    encoder = SpeakerEncoder(path, 3, Buckets((1, 2, 4)), EncoderSettings())
    encoder.load()
    return encoder


@pytest.mark.parametrize("duration_s", [0.1, 1.0, 3.3, 4.0, 11.7])
def test_voiceprints_of_any_length_are_unit(encoder: SpeakerEncoder, duration_s: float) -> None:
    voiceprint = encoder.voiceprint(speech_like(duration_s))
    assert voiceprint.shape == (3,)
    assert voiceprint.dtype == np.float32
    assert np.linalg.norm(voiceprint) == pytest.approx(1)


def test_an_emotion_encoder_is_no_speaker_encoder(bundle_folder: Path) -> None:
    encoder = SpeakerEncoder(bundle_folder / "encoder.onnx", 3, Buckets((1,)), EncoderSettings())
    with pytest.raises(ModelError, match="lengths -> voiceprint"):
        encoder.load()


def test_evidence_grows_with_likeness_and_with_duration() -> None:
    heard = np.stack([ANNA, between(ANNA, BEN, 0.4), BEN])
    ratios = CALIBRATION.log_ratios(prints(ANNA, 4), heard, np.full(3, 2.0))
    assert ratios[0] > ratios[1] > 0 > ratios[2]
    longer = CALIBRATION.log_ratios(prints(ANNA, 4), heard, np.full(3, 5.0))
    assert longer[0] > ratios[0]
    assert longer[2] < ratios[2]


def test_features_are_finite_for_one_print_and_no_speech() -> None:
    found = features(prints(ANNA, 1), prints(BEN, 5), np.zeros(5))
    assert found.shape == (5, FEATURES)
    assert np.isfinite(found).all()


def test_everyone_at_once_is_one_after_the_other() -> None:
    people = {str(seed): prints(np.eye(DIM, dtype=np.float32)[seed], 1 + seed % 5, seed) for seed in range(DIM)}
    heard = prints(ANNA, 1, 99)[0]
    found = Identifier(CALIBRATION, people, stranger=0.0).identify(heard, 1.7)
    ratios = [CALIBRATION.log_ratios(mine, heard[None], np.array([1.7]))[0] for mine in people.values()]
    shares = np.exp(ratios - np.logaddexp.reduce(ratios))
    assert list(found.posterior) == list(people)
    assert list(found.posterior.values()) == pytest.approx(shares.tolist(), abs=1e-9)


@pytest.mark.parametrize(("voice", "name"), [(ANNA, "Anna"), (BEN, "Ben"), (CEM, None)])
def test_people_are_named_and_strangers_are_not(voice: Matrix, name: str | None) -> None:
    found = identifier().identify(voice, 2.0)
    assert found.name == name
    assert not found.uncertain
    assert sum(found.posterior.values()) + found.stranger == pytest.approx(1)


def test_someone_between_two_people_is_uncertain() -> None:
    found = Identifier(CALIBRATION, {"Anna": ANNA[None], "Ben": BEN[None]}).identify(between(ANNA, BEN, 0.5), 2.0)
    assert found.name is None
    assert found.uncertain


def test_the_same_voice_goes_on_unless_there_was_a_pause_or_a_reset() -> None:
    doubtful = between(between(ANNA, BEN, 0.49), CEM, 0.35)
    conversation = identifier(stay=0.8)
    alone = conversation.identify(doubtful, 1.0).posterior["Anna"]
    conversation.reset()
    conversation.identify(ANNA, 3.0)
    carried = conversation.identify(doubtful, 1.0).posterior["Anna"]
    conversation.identify(ANNA, 3.0)
    after_pause = conversation.identify(doubtful, 1.0, pause_s=3_600).posterior["Anna"]
    conversation.reset()
    assert carried > alone
    assert after_pause == pytest.approx(alone)
    assert conversation.identify(doubtful, 1.0).posterior["Anna"] == pytest.approx(alone)


def test_another_voice_takes_over_at_once() -> None:
    conversation = identifier(stay=0.95)
    names = [conversation.identify(voice, 2.0).name for voice in (ANNA, ANNA, BEN, BEN, CEM, ANNA)]
    assert names == ["Anna", "Anna", "Ben", "Ben", None, "Anna"]


def test_a_source_bound_to_one_person_is_theirs() -> None:
    bound = Identifier(CALIBRATION, {"Anna": prints(ANNA, 4)}, stranger=0.0)
    assert bound.identify(CEM, 2.0).name == "Anna"


def test_nobody_enrolled_means_stranger() -> None:
    assert Identifier(CALIBRATION, {}, stranger=0.0).identify(ANNA, 2.0) == Identification({}, 1.0, 0.85)


@pytest.mark.parametrize("scale", [1e4, 1e8])
def test_extreme_evidence_stays_a_probability(scale: float) -> None:
    certain = VoiceCalibration(scale * CALIBRATION.weights)
    for stranger in (0.0, 0.5):
        conversation = Identifier(certain, {"Anna": prints(ANNA, 2), "Ben": prints(BEN, 2)}, stranger=stranger)
        for voice in (ANNA, BEN, CEM, ANNA):
            found = conversation.identify(voice, 2.0)
            assert sum(found.posterior.values()) + found.stranger == pytest.approx(1)


def test_a_cohort_takes_away_what_everyone_of_a_room_shares() -> None:
    rng = np.random.default_rng(3)
    cohort = unit(rng.standard_normal((40, DIM)).astype(np.float32))
    calibration = VoiceCalibration(CALIBRATION.weights, cohort)
    people = {"Anna": prints(ANNA, 4, 1), "Ben": prints(BEN, 4, 2)}
    heard = prints(ANNA, 3, 7)
    durations_s = np.array([1.0, 2.0, 3.0])
    plain, compared = (each.log_ratios(people["Anna"], heard, durations_s) for each in (CALIBRATION, calibration))
    assert (compared < plain).all()
    one = Identifier(calibration, people)
    for row, duration_s in zip(heard, durations_s, strict=True):
        expected = [calibration.log_ratios(mine, row[None], np.array([duration_s]))[0] for mine in people.values()]
        np.testing.assert_allclose(one._log_ratios(row, float(duration_s)), expected, atol=1e-4)


def test_a_cohort_is_kept_in_half_precision(tmp_path: Path) -> None:
    cohort = unit(np.random.default_rng(0).standard_normal((30, DIM)).astype(np.float32))
    save_cohort(tmp_path / "cohort.safetensors", cohort)
    np.testing.assert_allclose(load_cohort(tmp_path / "cohort.safetensors", DIM), cohort, atol=1e-3)
    with pytest.raises(ModelError, match=r"prints must be \(voices, 5\)"):
        load_cohort(tmp_path / "cohort.safetensors", 5)
    (tmp_path / "cohort.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read"):
        load_cohort(tmp_path / "cohort.safetensors", DIM)
