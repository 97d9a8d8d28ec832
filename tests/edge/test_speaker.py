from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from edge.arrays import Matrix, unit
from edge.buckets import Buckets
from edge.cohort import Cohort, load_cohort, own_likeness, save_cohort
from edge.encoder import SpeakerEncoder
from edge.errors import ModelError
from edge.settings import EncoderSettings
from edge.speaker import FEATURES, EnrolledVoices, Identification, Identifier, VoiceCalibration
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
    found = EnrolledVoices([prints(ANNA, 1)], None).features(prints(BEN, 5), np.zeros(5))
    assert found.shape == (1, 5, FEATURES)
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
    assert Identifier(CALIBRATION, {}, stranger=0.0).identify(ANNA, 2.0) == Identification({}, 1.0, 0.7)


@pytest.mark.parametrize("scale", [1e4, 1e8])
def test_extreme_evidence_stays_a_probability(scale: float) -> None:
    certain = VoiceCalibration(scale * CALIBRATION.weights)
    for stranger in (0.0, 0.5):
        conversation = Identifier(certain, {"Anna": prints(ANNA, 2), "Ben": prints(BEN, 2)}, stranger=stranger)
        for voice in (ANNA, BEN, CEM, ANNA):
            found = conversation.identify(voice, 2.0)
            assert sum(found.posterior.values()) + found.stranger == pytest.approx(1)


def cohort(voices: int = 40, common: float = 0.0) -> Cohort:
    """People around a direction that all have in common."""
    noise = np.random.default_rng(3).standard_normal((voices, DIM)).astype(np.float32)
    return Cohort(unit(noise + common * np.ones(DIM, np.float32)), 0.9)


def test_scores_do_not_depend_on_what_every_voice_has_in_common() -> None:
    shared = 3 * np.ones(DIM, np.float32)
    durations_s = np.full(3, 2.0)
    for common in (0.0, 3.0):
        calibration = VoiceCalibration(CALIBRATION.weights, cohort(common=common))
        people = [prints(4 * voice + (shared if common else 0), 4, 1, spread=0.4) for voice in (ANNA, BEN)]
        same, other = (calibration.log_ratios(mine, people[0][:3], durations_s) for mine in people)
        assert (same - other > 5).all()
    plain = [CALIBRATION.log_ratios(mine, people[0][:3], durations_s) for mine in people]
    assert (plain[0] - plain[1] < same - other).all()


def test_people_whose_own_prints_differ_are_named_from_a_lower_score_on() -> None:
    calibration = VoiceCalibration(CALIBRATION.weights, cohort())
    steady, lively = prints(ANNA, 8, 1, spread=0.05), prints(ANNA, 8, 1, spread=0.4)
    assert own_likeness(steady) > own_likeness(lively)
    known = calibration.cohort
    assert known is not None
    assert known.expected_of_person(steady) > known.expected_of_person(lively)
    heard = between(ANNA, BEN, 0.4)[None]
    ratios = [calibration.log_ratios(mine, heard, np.array([2.0]))[0] for mine in (steady, lively)]
    assert ratios[1] > ratios[0]


def test_one_print_says_nothing_of_what_a_person_varies_in() -> None:
    known = cohort()
    assert own_likeness(prints(ANNA, 1)) == 0
    twice = np.repeat(prints(ANNA, 1), 2, axis=0)
    assert own_likeness(twice) == pytest.approx(1)
    one, two = (known.expected_of_person(known.centred(mine)) for mine in (prints(ANNA, 1), twice))
    assert two - one == pytest.approx(0.6 * 2 / 9 * (1 - known.typical), abs=1e-4)


def test_everyone_at_once_is_one_after_the_other_with_a_cohort_too() -> None:
    calibration = VoiceCalibration(CALIBRATION.weights / 10, cohort())
    people = {"Anna": prints(ANNA, 4, 1), "Ben": prints(BEN, 2, 2)}
    heard = prints(ANNA, 1, 7)[0]
    found = Identifier(calibration, people, stranger=0.0).identify(heard, 1.7)
    ratios = [calibration.log_ratios(mine, heard[None], np.array([1.7]))[0] for mine in people.values()]
    assert list(found.posterior.values()) == pytest.approx(
        np.exp(ratios - np.logaddexp.reduce(ratios)).tolist(), abs=1e-6
    )


def test_a_cohort_is_kept_in_half_precision(tmp_path: Path) -> None:
    path, known = tmp_path / "cohort.safetensors", cohort()
    save_cohort(path, known)
    again = load_cohort(path, DIM)
    np.testing.assert_allclose(again.prints, known.prints, atol=1e-3)
    assert again.typical == pytest.approx(known.typical)
    with pytest.raises(ModelError, match=r"prints must be \(voices, 5\)"):
        load_cohort(path, 5)
    save_file({"prints": known.prints}, path)
    with pytest.raises(ModelError, match="typical must be one finite number; it is None"):
        load_cohort(path, DIM)
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read"):
        load_cohort(path, DIM)
