import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from calibrate.cli.app import main
from calibrate.corpora import Utterance
from calibrate.dataset import Part
from calibrate.experiments.household import (
    TURNS,
    _conversations,
    encode_part,
    evaluate_households,
    household_report,
)
from edge.audio import SAMPLE_RATE_HZ
from edge.bundle import Bundle
from edge.recognizer import Encoding, Recognizer
from edge.settings import EncoderSettings
from helpers.calling import exit_code
from helpers.household import anna, ben, cem
from helpers.models import write_table

VOICES = {"anna": (anna, 1.4), "ben": (ben, 0.7), "cem": (cem, 1.0)}
"""How loudly each speaks, on the whole."""
LEVELS = {"neutral": 0.3, "happy": 1.0, "angry": 2.5}
CLIPS = 6
Family = tuple[Part, list[Encoding]]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Family:
    """Three voices, each with six clips of each emotion."""
    folder = tmp_path_factory.mktemp("family")
    utterances = []
    for name, (voice, loudness) in VOICES.items():
        for emotion, level in LEVELS.items():
            for seed in range(CLIPS):
                path = folder / f"{name}-{emotion}-{seed}.wav"
                soundfile.write(path, loudness * level * voice(1.5, seed), SAMPLE_RATE_HZ, "FLOAT")
                utterances.append(Utterance(path=path, corpus="family", speaker=name, emotion=emotion))
    labels = np.array([list(LEVELS).index(utterance.emotion) for utterance in utterances])
    part = Part(utterances, labels)
    recognizer = Recognizer(bundle, EncoderSettings())
    recognizer.load()
    return part, encode_part(recognizer, part)


def test_voices_are_told_apart_and_heard_as_who_knows_them(family: Family, bundle: Bundle) -> None:
    part, encodings = family
    found = evaluate_households(bundle, part, encodings, draws=4)["family"]
    assert found.speakers == 3
    assert found.utterances == 3 * (3 * CLIPS - 8)
    assert found.attributed > 0.95
    assert found.right == 1
    assert found.ua_bound > found.ua_none
    assert found.kept > 0.9


def test_without_a_gain_nothing_is_kept_of_it(family: Family, bundle: Bundle) -> None:
    part, encodings = family
    found = evaluate_households(bundle, part, encodings, draws=1)["family"]
    assert np.isnan(type(found)(**{**vars(found), "ua_bound": found.ua_none}).kept)


def test_the_report_names_corpus_and_protocol(family: Family, bundle: Bundle, tmp_path: Path) -> None:
    part, encodings = family
    found = evaluate_households(bundle, part, encodings, draws=1)
    household_report(found, "as tested").write(tmp_path)
    text = (tmp_path / "household.md").read_text()
    assert "Protocol: as tested." in text
    assert "| family | 3 | " in text
    assert json.loads((tmp_path / "household.json").read_text())["corpora"]["family"]["right"] == 1


def test_the_command_evaluates_a_bundle_folder(
    family: Family,
    bundle_folder: Path,
    recipe_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part, _ = family
    data = tmp_path / "data"
    shutil.copytree(part.paths[0].parent, data / "home")
    rows = [(path.name, *path.name.split("-")[:2]) for path in part.paths]
    write_table(data / "home" / "family.csv", ("path", "speaker", "emotion"), rows)
    write_table(data / "splits.csv", ("corpus", "speaker", "split"), [("family", name, "test") for name in VOICES])
    recipe = recipe_file(corpora=[{"name": "csv", "folder": "home", "licence": "own", "licence_verified": False}])
    options = ["--data", data, "--recipe", recipe, "--out", tmp_path / "out", "--json", "--threads", 1]
    assert exit_code(main, monkeypatch, "affectd-calibrate", "household", bundle_folder, *options) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["protocol"].startswith("test speakers of splits.csv; the bundle through the device's code")
    assert said["corpora"]["family"]["speakers"] == 3
    assert json.loads((tmp_path / "out" / "household.json").read_text()) == said


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 12)), st.integers(0, 9))
def test_every_clip_is_said_once_in_conversations_of_five(sizes: dict[str, int], seed: int) -> None:
    clips = {name: [index * 100 + number for number in range(size)] for index, (name, size) in enumerate(sizes.items())}
    talks = list(_conversations(clips, np.random.default_rng(seed)))
    assert sorted(row for talk in talks for row in talk) == sorted(row for mine in clips.values() for row in mine)
    assert all(len(talk) == TURNS for talk in talks[:-1])
    assert all(1 <= len(talk) <= TURNS for talk in talks)
