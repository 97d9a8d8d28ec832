from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from edge.audio import SAMPLE_RATE_HZ, Waveform
from edge.bundle import Bundle
from edge.people.consent import CONSENT_VERSION, consent_text
from edge.people.store import SpeakerStore
from edge.people.store.person import fold_name
from helpers.signals import bright, deep, silence, speech_like
from helpers.tiny import tiny_bundle, write_manifest

Call = Callable[..., int]
Capture = pytest.CaptureFixture[str]

LEVELS = (0.1, 0.2, 1.0, 1.2, 2.0, 2.2)
"""To the tiny bundle two clips of each emotion."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def recording(seed: int, level: float = 1.0, voice: Callable[[Waveform], Waveform] = deep) -> Waveform:
    """An utterance of 1.4 s in a quiet room."""
    return np.concatenate([silence(0.4), level * voice(speech_like(1.4, seed)), silence(0.8)]).astype(np.float32)


def write_clips(folder: Path, voice: Callable[[Waveform], Waveform] = deep, levels: tuple[float, ...] = LEVELS) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, level in enumerate(levels):
        soundfile.write(folder / f"{seed}.wav", recording(seed, level, voice), SAMPLE_RATE_HZ, "FLOAT")
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with six clips of a deep voice."""
    return write_clips(tmp_path / "deep")


@pytest.fixture
def enroll(call: Call, store: Path, bundle_folder: Path) -> Call:
    """Run ``affectd enroll`` with the tiny bundle."""
    return lambda *arguments, bundle=bundle_folder: call("enroll", "--store", store, "--bundle", bundle, *arguments)


def result_of(capture: Capture) -> tuple[dict[str, object], str]:
    stdout, stderr = capture.readouterr()
    return json.loads(stdout), stderr


def test_files_become_clips_and_a_profile(
    enroll: Call, clips: Path, store: Path, bundle: Bundle, capsys: Capture
) -> None:
    assert enroll("Anna", clips, "--yes", "--json") == 0
    result, stderr = result_of(capsys)
    assert (result["name"], result["added"], result["clips"], result["revision"]) == ("Anna", 6, 6, 1)
    assert result["recognisable"] is True
    assert result["speech_s"] == pytest.approx(6 * 1.75, abs=1.0)
    assert result["trust"] == pytest.approx(6 / 18, abs=0.001)
    assert stderr == ""
    with SpeakerStore.open(store) as opened:
        (person,) = opened.people()
        assert (person.consent.how, person.consent.text_version, person.may_refine) == ("--yes", CONSENT_VERSION, False)
        kept = opened.clips(person, bundle.encoder_hash)
        assert [clip.label for clip in kept] == [None] * 6
        assert {clip.speaker_hash for clip in kept} == {bundle.speaker_hash}
        profile = opened.voice_profile(person, bundle.encoder_hash)
        assert profile is not None
        assert (profile.reason, profile.facts["clips"]) == ("enrolled 6 clips", 6)
        assert set(profile.tensors) == {"centre", "label_shares"}


def test_a_terminal_gets_a_table(enroll: Call, clips: Path, capsys: Capture) -> None:
    assert enroll("[b]Anna[/b]", clips, "--yes", "--may-refine") == 0
    text = capsys.readouterr().out
    assert "[b]Anna[/b]" in text
    assert "33%" in text


def test_without_consent_nothing_is_written(enroll: Call, clips: Path, store: Path, capsys: Capture) -> None:
    assert enroll("Anna", clips) == 2
    assert "Anna must agree first: run this on a terminal, or with --yes" in capsys.readouterr().err
    assert not store.exists()


def test_a_second_enrolment_adds_and_a_repeated_one_changes_nothing(
    enroll: Call, clips: Path, tmp_path: Path, store: Path, bundle: Bundle, capsys: Capture
) -> None:
    enroll("Anna", clips / "0.wav", clips / "1.wav", "--yes")
    capsys.readouterr()
    assert enroll("anna", clips, "--json", "--may-refine") == 0
    result, stderr = result_of(capsys)
    assert (result["name"], result["added"], result["repeated"], result["clips"]) == ("Anna", 4, 2, 6)
    assert result["revision"] == 2
    assert "Anna agreed on 20" in stderr
    assert "2 clips were enrolled already" in stderr
    assert enroll("Anna", clips, "--json") == 0
    result, _ = result_of(capsys)
    assert (result["added"], result["repeated"], result["revision"]) == (0, 6, None)
    with SpeakerStore.open(store) as opened:
        person = opened.person("Anna")
        assert person.may_refine
        assert list(opened.revisions(person, bundle.encoder_hash)) == [2, 1]


def test_labels_reach_the_clips(enroll: Call, clips: Path, store: Path, bundle: Bundle) -> None:
    labels = clips / "labels.csv"
    labels.write_text("path,emotion\n0.wav,neutral\n4.wav,angry\n")
    assert enroll("Anna", clips, "--yes", "--labels", labels) == 0
    assert enroll("Bo", clips, "--yes", "--neutral") == 0
    with SpeakerStore.open(store) as opened:
        anna, bo = (opened.clips(person, bundle.encoder_hash) for person in opened.people())
        assert [clip.label for clip in anna] == ["neutral", None, None, None, "angry", None]
        assert [clip.label for clip in bo] == ["neutral"] * 6
        assert not np.array_equal(
            *(opened.voice_profile(person, bundle.encoder_hash).tensors["centre"] for person in opened.people())
        )


def test_what_is_of_no_use_is_left_out_and_said(enroll: Call, clips: Path, tmp_path: Path, capsys: Capture) -> None:
    (clips / "noise.wav").write_bytes(b"RIFF nothing")
    soundfile.write(clips / "quiet.wav", silence(2.0), SAMPLE_RATE_HZ)
    soundfile.write(clips / "loud.wav", np.clip(recording(1, 40.0), -1, 1), SAMPLE_RATE_HZ)
    assert enroll("Anna", clips, clips / "gone.wav", "--yes", "--json") == 0
    result, stderr = result_of(capsys)
    reasons = {Path(str(item["place"]).split(" at ")[0]).name: item["reason"] for item in result["left_out"]}
    assert reasons["quiet.wav"] == "no voice in it"
    assert reasons["gone.wav"] == "no such file"
    assert reasons["noise.wav"].startswith("is not audio")
    assert reasons["loud.wav"].startswith("badly clipped")
    assert stderr.count("affectd: left out ") == 4
    assert result["added"] == 6


def test_a_recording_that_breaks_off_is_enrolled_with_a_warning(enroll: Call, clips: Path, capsys: Capture) -> None:
    cut = clips / "2.wav"
    cut.write_bytes(cut.read_bytes()[:-20_000])
    broken, rate_hz = soundfile.read(clips / "3.wav", dtype="float32")
    broken[9_600] = np.nan
    soundfile.write(clips / "3.wav", broken, rate_hz, "FLOAT")
    assert enroll("Anna", clips, "--yes", "--json") == 0
    result, stderr = result_of(capsys)
    assert result["added"] == 6
    assert f"warning: {cut}: breaks off at 2.3 s of 2.6 s" in stderr
    assert f"warning: {clips / '3.wav'}: holds samples that are no numbers" in stderr


def test_a_file_with_an_odd_name_is_told_in_one_line(enroll: Call, clips: Path, capsys: Capture) -> None:
    odd = clips / os.fsdecode(b"a\nb\x1b[31m\xff.wav")
    soundfile.write(odd.with_name("quiet.wav"), silence(1.0), SAMPLE_RATE_HZ)
    odd.with_name("quiet.wav").rename(odd)
    assert enroll("Anna", odd, clips / "0.wav", "--yes", "--json") == 0
    stderr = capsys.readouterr().err
    assert "a\\nb\\x1b[31m\\udcff.wav: no voice in it\n" in stderr
    assert all(line.startswith("affectd: ") for line in stderr.splitlines())


def test_nothing_of_use_keeps_nothing(enroll: Call, tmp_path: Path, store: Path, capsys: Capture) -> None:
    soundfile.write(tmp_path / "quiet.wav", silence(2.0), SAMPLE_RATE_HZ)
    assert enroll("Anna", tmp_path / "quiet.wav", "--yes") == 1
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert "nothing of use was heard, so nothing of Anna is kept" in stderr
    assert not store.exists()


def test_mistakes_are_told_before_anything_is_written(
    enroll: Call, clips: Path, store: Path, tmp_path: Path, capsys: Capture
) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,emotion\n{clips / '0.wav'},hapy\n")
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("path,emotion\nelsewhere.csv,happy\n")
    for code, message, arguments in (
        (2, "contradict", ("Anna", clips, "--neutral", "--labels", labels)),
        (2, "needs the recordings", ("Anna", "--labels", labels)),
        (2, "line 2: emotion 'hapy' is not one of neutral, happy, angry (did", ("Anna", clips, "--labels", labels)),
        (2, "names none of the files", ("Anna", clips, "--labels", elsewhere)),
        (2, "no such file or folder", ("Anna", tmp_path / "gone")),
        (2, "not both", ("Anna", clips, "--source", "mic")),
        (2, "is not allowed", ("\n", clips)),
        (3, "no bundle folder", ("Anna", clips, "--bundle", tmp_path / "gone")),
    ):
        assert enroll("--yes", *arguments) == code, message
        stdout, stderr = capsys.readouterr()
        assert stdout == ""
        assert message in stderr
        assert stderr.count("\n") == 1
    assert not store.exists()


def test_doubts_about_voices(enroll: Call, clips: Path, tmp_path: Path, capsys: Capture) -> None:
    enroll("Anna", clips, "--yes")
    mixed = write_clips(tmp_path / "mixed", bright)
    soundfile.write(mixed / "x.wav", recording(9, 1.0, deep), SAMPLE_RATE_HZ)
    capsys.readouterr()
    enroll("Bo", mixed, "--yes", "--json")
    result, _ = result_of(capsys)
    assert f"1 of 7 clips sound like another voice: {mixed / 'x.wav'} at 0.4 s" in result["doubts"][-1]
    again = write_clips(tmp_path / "again", levels=(0.15, 0.3, 0.9, 1.1))
    enroll("Anna's twin", again, "--yes", "--json")
    result, stderr = result_of(capsys)
    assert "this voice sounds like Anna, enrolled already" in result["doubts"][-1]
    assert "affectd: warning: this voice sounds like Anna" in stderr


def test_a_one_sided_enrolment_is_told_unless_labelled(enroll: Call, tmp_path: Path, capsys: Capture) -> None:
    lively = write_clips(tmp_path / "lively", levels=(1.0, 1.1, 1.2, 1.3))
    enroll("Anna", lively, "--yes", "--json")
    assert any("nearly all clips sound happy" in doubt for doubt in result_of(capsys)[0]["doubts"])
    enroll("Bo", lively, "--yes", "--json", "--neutral")
    assert not any("nearly all" in doubt for doubt in result_of(capsys)[0]["doubts"])


def test_an_interrupted_enrolment_is_completed_by_the_next(
    enroll: Call, clips: Path, store: Path, bundle: Bundle, capsys: Capture
) -> None:
    enroll("Anna", clips, "--yes")
    with SpeakerStore.open(store) as opened:
        person = opened.person("Anna")
        kept = opened.clips(person, bundle.encoder_hash)
        opened.forget("Anna")
        person = opened.add_person("Anna", person.consent)
        for clip in kept[:4]:
            opened.add_clip(person, clip)
    capsys.readouterr()
    assert enroll("Anna", clips / "0.wav", "--json") == 0
    result, _ = result_of(capsys)
    assert (result["added"], result["repeated"], result["clips"], result["revision"]) == (0, 1, 4, 1)
    with SpeakerStore.open(store) as opened:
        profile = opened.voice_profile(opened.person("Anna"), bundle.encoder_hash)
        assert profile is not None
        assert profile.reason == "completed an interrupted enrolment"


@pytest.fixture
def bundle_without_speaker(tmp_path: Path) -> Path:
    folder = tiny_bundle(tmp_path / "bundle")
    write_manifest(folder, speaker=None)
    return folder


def test_a_bundle_without_speaker_encoder_adapts_but_does_not_recognise(
    enroll: Call, call: Call, clips: Path, store: Path, bundle_without_speaker: Path, capsys: Capture
) -> None:
    assert enroll("Anna", clips, "--yes", "--json", bundle=bundle_without_speaker) == 0
    result, stderr = result_of(capsys)
    assert (result["clips"], result["recognisable"]) == (6, False)
    assert "this bundle has no speaker encoder: Anna is known only where --speaker names them" in stderr
    assert call("analyze", clips, "--speaker", "anna", "--store", store, "--bundle", bundle_without_speaker) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["speaker"]["name"] for event in events] == ["Anna"] * 6
    assert call("speakers", "list", "--json", "--store", store, "--bundle", bundle_without_speaker) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "no voiceprints"
    assert call("speakers", "export", "anna", "--store", store) == 0
    exported = capsys.readouterr().out
    assert '"voiceprint": null' in exported.replace('":null', '": null')


def test_what_is_known_later_is_added_to_the_same_clips(
    enroll: Call, clips: Path, store: Path, bundle: Bundle, bundle_without_speaker: Path, capsys: Capture
) -> None:
    enroll("Anna", clips, "--yes", bundle=bundle_without_speaker)
    for arguments, bundle_folder in (((), None), (("--neutral",), bundle_without_speaker)):
        capsys.readouterr()
        assert enroll("Anna", clips, "--json", *arguments, **({"bundle": bundle_folder} if bundle_folder else {})) == 0
        result, _ = result_of(capsys)
        assert (result["added"], result["clips"]) == (6, 6)
    with SpeakerStore.open(store) as opened:
        kept = opened.clips(opened.person("Anna"), bundle.encoder_hash)
        assert [(clip.label, clip.speaker_hash) for clip in kept] == [("neutral", bundle.speaker_hash)] * 6
        assert all(clip.voiceprint is not None for clip in kept)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(min_size=1, max_size=70).filter(lambda name: not name.startswith("-") and "\0" not in name)
    | st.sampled_from(
        ["../../x", "/etc/passwd", "'; DROP TABLE people; --", "a" * 64, "\u202eanna", "CON", "zo\u0308e", "\ud800"]
    )
)
def test_any_name_enrols_or_is_refused(enroll: Call, clips: Path, store: Path, capsys: Capture, name: str) -> None:
    code = enroll("--yes", "--json", "--", name, clips / "0.wav")
    stdout, stderr = capsys.readouterr()
    assert "Traceback" not in stderr
    assert code in (0, 2)
    if code == 0:
        with SpeakerStore.open(store) as opened:
            assert fold_name(json.loads(stdout)["name"]) == fold_name(opened.person(name).name)
    assert sorted(path.name for path in store.parent.iterdir() if path.name not in ("deep", "config-home")) in (
        [],
        ["store"],
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.integers(0, 2_000), st.sampled_from(["wav", "flac", "mp3", "ogg", "raw"]))
def test_damaged_audio_loses_no_profile(
    enroll: Call, clips: Path, store: Path, capsys: Capture, junk: bytes, place: int, suffix: str
) -> None:
    whole = (clips / "1.wav").read_bytes()
    damaged = clips.parent / f"damaged.{suffix}"
    for data in (junk, whole[:place] + junk + whole[place + len(junk) :]):
        damaged.write_bytes(data)
        assert enroll("Anna", clips / "0.wav", damaged, "--yes") == 0
        assert "Traceback" not in capsys.readouterr().err
        with SpeakerStore.open(store) as opened:
            assert opened.person("Anna").name == "Anna"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_to_agree_to_fits_any_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    console.print(Text(consent_text("Ann O'Hara", Path("/store"))))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    paragraphs = " ".join(" ".join(lines).split())
    for words in ("biometric data", "Where: in /store", "Ann O'Hara usually sounds", "removes every trace"):
        assert words in paragraphs
    assert len([line for line in lines if len(line) > 0.6 * width]) > len(consent_text("Ann", Path("/"))) / width / 2
