import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.evaluate import evaluate_bundle
from calibrate.experiments.robustness.conditions import CLEAN, HUM, RUMBLE, Babble, conditions, noise_name, power
from calibrate.experiments.robustness.experiment import robustness
from calibrate.experiments.robustness.recordings import (
    changes,
    cut,
    degrade,
    draw_babble,
    end_in_silence,
    read_recording,
    spoken_ranges,
    thin_out,
)
from calibrate.experiments.robustness.report import ASIDE, Figures, robustness_report
from calibrate.recipe import Recipe
from calibrate.run import build_run
from calibrate.trained import TrainedRun
from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.errors import UsageError
from edge.high_pass import high_passed
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings, SegmenterSettings
from edge.spoken import spoken
from helpers import signals
from helpers.calling import exit_code

pytestmark = pytest.mark.slow

LABELS = ("neutral", "happy", "angry")

Clip = Callable[[Path, Waveform], Path]
Call = Callable[..., int]


def noise(seconds: float, level: float, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE_HZ))
    return (level * samples).astype(np.float32)


@pytest.fixture(scope="module")
def babble() -> Babble:
    return Babble([noise(0.3, 0.1, seed) for seed in range(8)], [f"s{seed % 4}" for seed in range(8)])


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-calibrate robustness`` inside the test's process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: exit_code(
        main, monkeypatch, "affectd-calibrate", "robustness", *arguments, "--threads", 1
    )


def test_every_condition_keeps_the_length_and_is_the_same_twice(babble: Babble) -> None:
    waveform = noise(0.6, 0.1, seed=99)[:9_001]
    for name, condition in conditions(babble).items():
        changed = condition(waveform, power(waveform), "a/1.wav")
        assert changed.dtype == np.float32, name
        assert changed.shape == waveform.shape, name
        again = conditions(babble)[name](waveform, power(waveform), "a/1.wav")
        np.testing.assert_array_equal(changed, again, err_msg=name)
        other = condition(waveform, power(waveform), "a/2.wav")
        drawn = not name.startswith((CLEAN, "telephone", "GSM", "Opus", "gain"))
        assert np.array_equal(changed, other) != drawn, name
        assert np.array_equal(changed, waveform) == (name == CLEAN), name


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["white", "pink", "babble"]), st.floats(0.01, 0.3), st.integers(0, 1_000))
def test_noise_is_as_loud_as_it_says_beside_what_is_spoken(babble: Babble, colour: str, level: float, key: int) -> None:
    waveform = np.concatenate([np.zeros(8_000, np.float32), noise(0.5, level)])
    spoken_power = power(waveform[8_000:])
    for snr_db in (20, 10, 5):
        changed = conditions(babble)[noise_name(colour, snr_db)](waveform, spoken_power, str(key))
        assert 10 * np.log10(spoken_power / power(changed - waveform)) == pytest.approx(snr_db, abs=0.01)
    twenty, ten = (conditions(babble)[noise_name(colour, snr)](waveform, spoken_power, "k") for snr in (20, 10))
    np.testing.assert_allclose((ten - waveform) / 10**0.5, twenty - waveform, atol=1e-5)


def test_the_telephone_and_the_codec_lose_what_they_should(babble: Babble) -> None:
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    low, high = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) / 4 for hz in (1_000, 5_000))
    for name in ("telephone", "GSM"):
        heard = conditions(babble)[name](low + high, 0.1, "")
        spectrum = np.abs(np.fft.rfft(heard))
        assert spectrum[5_000] < 0.02 * spectrum[1_000], name
    voice = signals.speech_like(1.0)
    coded = conditions(babble)["Opus 6 kbit/s"](voice, power(voice), "")
    assert 0.3 < np.corrcoef(coded, voice)[0, 1] < 0.999, "it is speech, and no longer the same"


def test_babble_is_many_voices_of_any_length(babble: Babble) -> None:
    rng = np.random.default_rng(0)
    assert babble.noise(20_000, rng).shape == (20_000,)
    assert power(babble.noise(20_000, rng)) == pytest.approx(4, rel=0.2), "four speakers, each of power 1"


def test_ranges_are_where_the_segmenter_cuts() -> None:
    quiet = np.random.default_rng(0).normal(0, 1e-4, SAMPLE_RATE_HZ).astype(np.float32)
    recording = np.concatenate([quiet, signals.speech_like(0.8), quiet, signals.speech_like(1.0), quiet[:5_000]])
    ranges = spoken_ranges(recording)
    assert len(ranges) == 2
    np.testing.assert_array_equal(cut(recording, ranges), spoken(recording))
    assert spoken_ranges(quiet) == []
    np.testing.assert_array_equal(cut(quiet, []), spoken(quiet))


def test_a_gain_is_that_of_everything_and_clips_at_full_scale(babble: Babble, tmp_path: Path, clip: Clip) -> None:
    recording = read_recording(
        "a", clip(tmp_path / "1.wav", np.concatenate([signals.speech_like(0.8), noise(0.3, 0.9)]))
    )
    quiet, loud = (degrade(recording, conditions(babble)[name]) for name in ("gain -20 dB", "gain +10 dB"))
    np.testing.assert_allclose(quiet.waveform, recording.waveform / 10, rtol=1e-5)
    assert np.abs(loud.waveform).max() == 1
    soft = np.abs(recording.waveform) < 0.3
    np.testing.assert_allclose(loud.waveform[soft], recording.waveform[soft] * 10**0.5, rtol=1e-5)
    assert quiet.ranges == recording.ranges


@pytest.mark.parametrize("silence_ms", [30, 240, 500])
def test_silence_is_behind_the_voice_and_is_the_recordings_own(silence_ms: int, tmp_path: Path, clip: Clip) -> None:
    quiet = noise(1.0, 2e-4)
    voice = [quiet[:8_000], signals.speech_like(0.8), quiet, signals.speech_like(1.0)]
    whole = read_recording("a", clip(tmp_path / "1.wav", np.concatenate([*voice, quiet])))
    short = read_recording("a", clip(tmp_path / "2.wav", whole.waveform[: whole.voice_end + 1_600]))
    size = silence_ms * 16
    assert whole.voice_end == short.voice_end
    assert abs(whole.voice_end - sum(map(len, voice))) < 1_000
    long, filled = end_in_silence(whole, silence_ms), end_in_silence(short, silence_ms)
    for changed in (long, filled):
        assert len(changed.waveform) == changed.ranges[-1].stop == whole.voice_end + size
        assert changed.ranges[0] == whole.ranges[0], "only the last utterance"
        assert changed.ranges[1].start == whole.ranges[1].start
    np.testing.assert_array_equal(long.waveform, whole.waveform[: whole.voice_end + size])
    kept = min(size, 1_600)
    np.testing.assert_array_equal(filled.waveform[: whole.voice_end + kept], short.waveform[: whole.voice_end + kept])
    added = filled.waveform[whole.voice_end + kept :]
    assert not len(added) or power(added) < 2 * power(quiet)
    (_, heard) = spoken_ranges(filled.waveform)
    assert heard.start == whole.ranges[1].start
    tail = round(16_000 * SegmenterSettings().tail_s)
    assert heard.stop == whole.voice_end + min(size, tail), "the device keeps no more"


def test_silence_behind_nobody_is_behind_all_of_it(tmp_path: Path, clip: Clip) -> None:
    recording = read_recording("a", clip(tmp_path / "1.wav", noise(0.05, 1e-4)))
    assert recording.ranges == []
    longer = end_in_silence(recording, 240)
    assert longer.ranges == [slice(0, 800 + 3_840)]
    assert len(cut(longer.waveform, longer.ranges)) == 4_640


@pytest.mark.parametrize("name", [HUM, RUMBLE])
def test_hum_and_rumble_are_as_loud_as_the_voice_and_below_it(babble: Babble, name: str) -> None:
    waveform = noise(1.0, 0.05)
    added = conditions(babble)[name](waveform, power(waveform), "a") - waveform
    assert power(added) == pytest.approx(power(waveform), rel=0.01)
    spectrum = np.square(np.abs(np.fft.rfft(added)))
    assert spectrum[:62].sum() > 0.99 * spectrum.sum()
    assert power(high_passed(added, 80.0)) < 0.3 * power(added)


def test_hum_level_and_silence_stand_apart_from_the_mean(babble: Babble, tmp_path: Path) -> None:
    names = list(changes(babble))
    table = {"team": {name: Figures(0.1 if name in ASIDE else 0.5, 0.4, 0, 9) for name in names}}
    report = robustness_report(table, "a test")
    assert len(names) == 15 + len(ASIDE)
    assert report.content["mean_ua"] == {"team": 0.5, "mean": 0.5}
    assert len(report.content["corpora"]["team"]) == 15
    assert list(report.content["apart"]["mean"]) == [CLEAN, *ASIDE]
    assert report.content["apart"]["team"]["gain -30 dB"]["drop"] == 0.4
    report.write(tmp_path)
    text = (tmp_path / "robustness.md").read_text()
    assert "| mean of the 15 | 0.500 | 0.500 |" in text
    assert "| silence 30 ms | 0.100 (-40.0) | 0.100 (-40.0) |" in text


def test_clean_is_what_evaluation_says_and_what_is_missed_is_wrong(
    bundle: Bundle, tmp_path: Path, clip: Clip, babble: Babble
) -> None:
    recognizer = Recognizer(bundle, EncoderSettings(threads=1))
    recognizer.load()
    utterances = []
    for row in range(12):
        voice = signals.speech_like(0.6, seed=2) * (0.1, 0.6, 3.0)[row % 3]
        path = clip(tmp_path / f"{row}.wav", voice if row < 9 else np.full(9_600, 0.001, np.float32))
        utterances.append(Utterance(path, "team", f"team-{row % 2}", LABELS[row % 3 if row < 9 else 0]))
    part = Part(utterances, np.array([LABELS.index(utterance.emotion) for utterance in utterances]))
    some = {name: change for name, change in changes(babble).items() if name in (CLEAN, "white 5 dB")}
    heard = robustness(recognizer.probabilities, part, some)["team"]
    assert heard[CLEAN].ua == pytest.approx(evaluate_bundle(recognizer, part)["team"].ua)
    assert heard[CLEAN].missed == 3 / 12
    assert heard[CLEAN].chain_ua < heard[CLEAN].ua
    assert heard[CLEAN].utterances == 12
    assert robustness(recognizer.probabilities, part, some, threads=2)["team"] == heard, "however many threads"


def test_a_run_answers_as_it_does_from_its_features(
    data: Path, recipe_of: Callable[..., Recipe], encoders: dict[str, Path]
) -> None:
    run = build_run(recipe_of(), str(encoders["whisper"]))
    torch_like = [noise(seconds, 0.1, index) for index, seconds in enumerate((0.5, 2.0, 0.2))]
    run.classifier.output.weight.data.normal_()
    answers = TrainedRun("mine", run, Path()).probabilities(torch_like)
    alone = np.concatenate([TrainedRun("mine", run, Path()).probabilities([waveform]) for waveform in torch_like])
    np.testing.assert_allclose(answers, alone, atol=1e-4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_thinning_out_keeps_every_label() -> None:
    utterances = [Utterance(Path(f"{row}.wav"), "team", f"team-{row % 2}", "happy") for row in range(60)]
    part = Part(utterances, np.array([0] * 40 + [1] * 14 + [2] * 6))
    few = thin_out(part, 9, seed=0)
    assert [int((few.speakers == name).sum()) for name in ("team-0", "team-1")] == [9, 9]
    assert np.bincount(few.labels).tolist() == [6, 6, 6]
    assert thin_out(part, None, seed=0) is part
    assert thin_out(part, 9, seed=0).paths == few.paths


def test_babble_is_drawn_from_all_training_speakers(data: Path, recipe_of: Callable[..., Recipe]) -> None:
    with pytest.raises(UsageError, match="whose voices make the babble"):
        draw_babble(Part([], np.zeros(0, np.int64)), 4, 0)
    paths = sorted((data / "ravdess").rglob("*.wav"))
    part = Part(
        [Utterance(path, "ravdess", path.parent.name, "happy") for path in paths], np.zeros(len(paths), np.int64)
    )
    voices = draw_babble(part, 12, seed=0)
    assert sorted(voices.speakers) == sorted([f"Actor_0{actor}" for actor in range(1, 7)] * 2)


def test_a_bundle_and_a_run_get_a_report(
    call: Call,
    bundle_folder: Path,
    data: Path,
    recipe_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = recipe_file()
    assert call(bundle_folder, "--data", data, "--recipe", recipe, "--out", "report", "--clips", 3) == 0
    out = capsys.readouterr().out
    assert "hearing: UA (points lost)" in out
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "robustness.md",
        "robustness.json",
        "robustness.png",
    }
    report = json.loads((tmp_path / "report" / "robustness.json").read_text())
    assert "babble of 6 other speakers" in report["protocol"]
    assert report["protocol"].startswith("test speakers of splits.csv, at most 3 utterances of each")
    assert list(report["corpora"]) == ["ravdess", "office", "mean"]
    clean, worst = (report["corpora"]["office"][name] for name in (CLEAN, "white 5 dB"))
    assert (clean["drop"], clean["chain_drop"]) == (0, 0)
    assert worst["drop"] == pytest.approx(clean["ua"] - worst["ua"], abs=1e-4)
    assert plt.imread(tmp_path / "report" / "robustness.png").shape[0] > 300
    assert plt.get_fignums() == []
    text = (tmp_path / "report" / "robustness.md").read_text()
    assert f"| clean | {report['corpora']['ravdess'][CLEAN]['ua']:.3f} (+0.0)" in text
    first = (tmp_path / "report" / "robustness.json").read_bytes()
    assert (
        call(bundle_folder, "--data", data, "--recipe", recipe, "--out", "report", "--clips", 3, "--json", "--force")
        == 0
    )
    assert json.loads(capsys.readouterr().out) == report
    assert (tmp_path / "report" / "robustness.json").read_bytes() == first, "the same every time"


def test_a_corpus_that_is_only_tested_on_is_evaluated_whole(
    call: Call, bundle_folder: Path, data: Path, recipe_file: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = recipe_file()
    text = recipe.read_text()
    recipe.write_text(text.replace('name = "csv"', 'name = "csv"\nrole = "test"'))
    arguments = (bundle_folder, "--data", data, "--recipe", recipe, "--out", "report", "--clips", 2)
    assert call(*arguments, "--corpus", "csv") == 0
    report = json.loads((tmp_path / "report" / "robustness.json").read_text())
    assert report["protocol"].startswith("speakers of csv, only tested on, at most 2 utterances of each")
    assert list(report["corpora"]) == ["office", "mean"]
    assert report["corpora"]["office"][CLEAN]["utterances"] > 4, "of all speakers"


def test_mistakes_are_told_in_one_line(
    call: Call, bundle_folder: Path, data: Path, recipe_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_file()
    for message, arguments in (
        ("split 'train' is not one of validation, test", (bundle_folder, "--recipe", recipe, "--split", "train")),
        ("a bundle is evaluated with --recipe", (bundle_folder,)),
        ('no corpus of the recipe has role = "test"', (bundle_folder, "--recipe", recipe, "--corpus", "ravdess")),
        ("holds neither bundle.json", (data, "--recipe", recipe)),
    ):
        assert call(*arguments, "--data", data, "--out", "report") == 2
        stderr = capsys.readouterr().err
        assert message in stderr
        assert stderr.count("\n") == 1
