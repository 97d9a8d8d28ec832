"""A stranger's own corpus: what ``affectd-calibrate init`` finds, and that the README's commands lead to a bundle."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calibrate.cli.app import main as calibrate_main
from calibrate.corpora import read_corpus
from calibrate.discovery.recipe_file import split_fractions
from calibrate.recipe import read_recipe
from calibrate.splits import make_splits
from edge.capture import FileSource
from edge.cli.app import main as edge_main
from export.cli.app import main as export_main
from helpers.calling import exit_code
from helpers.layouts import emovo
from helpers.models import EMOTIONS, emotional, write_clip, write_table

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {"affectd": edge_main, "affectd-calibrate": calibrate_main, "affectd-export": export_main}
PEOPLE = ("anna", "ben", "cem", "dana", "eli", "fay")

Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command line inside the test's process, in an empty folder, and return its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: exit_code(PROGRAMS[words[0]], monkeypatch, *words)


def clips(people: tuple[str, ...] = PEOPLE, each: int = 4) -> Iterator[tuple[str, str, int]]:
    for person in people:
        for emotion in EMOTIONS:
            for take in range(each):
                yield person, emotion, take


def record(folder: Path, name: Callable[[str, str, int], str], people: tuple[str, ...] = PEOPLE, each: int = 4) -> None:
    for person, emotion, take in clips(people, each):
        write_clip(folder / name(person, emotion, take), emotional(emotion, f"{person}{take}"))


def found(call: Call, capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert call("affectd-calibrate", "init", *arguments, "--json") == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def doubts(result: dict) -> str:
    return "\n".join(result["doubts"])


@pytest.mark.slow
def test_the_readmes_commands_lead_from_a_folder_to_a_running_bundle(
    call: Call, encoders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Train on your own corpus")[2]
    commands = re.findall(r"^    (affectd\S* [^#\n]*)", section.partition("\n`my-corpus/` is")[0], re.MULTILINE)
    assert [command.split()[:2] for command in commands] == [
        ["affectd-calibrate", "init"], ["affectd-calibrate", "train"], ["affectd-calibrate", "evaluate"],
        ["affectd-export", "bundle"], ["affectd", "run"],
    ]  # fmt: skip
    rows = []
    for person in PEOPLE:
        for take in range(40):
            emotion = list(EMOTIONS)[take % 3]
            write_clip(tmp_path / "my-corpus" / f"{len(rows)}.wav", emotional(emotion, f"{person}{take}"))
            rows.append((f"{len(rows)}.wav", emotion, person))
    write_table(tmp_path / "my-corpus" / "labels.csv", ("file", "label", "speaker"), rows)
    shutil.copytree(encoders["whisper"], tmp_path / "openai" / "whisper-base")  # in the hub's place
    conversation = ROOT / "examples" / "conversation.flac"
    monkeypatch.setattr("edge.capture.open.Microphone", lambda device, queue_s: FileSource(conversation))
    for command in commands:
        assert call(*shlex.split(command)) == 0, (command, capsys.readouterr().err)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    answers = [event["emotion"] for event in events if event["type"] == "utterance"]
    assert len(answers) > 3
    assert set(answers) <= set(EMOTIONS)


@pytest.mark.slow
def test_a_recipe_by_which_nobody_validates_serves_every_command(
    call: Call, encoders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "own", "{1}/{0}_{2}.wav".format, each=6)
    encoder = encoders["whisper"]
    assert call("affectd-calibrate", "init", "own", "--encoder", encoder) == 0
    assert read_recipe(tmp_path / "own.toml").splits.fractions[1] == 0
    data, threads = ("--data", ".", "--out"), ("--threads", 1)
    assert call("affectd-calibrate", "train", "own.toml", *data, "runs/own", *threads) == 0
    for number, (command, code) in enumerate(
        {
            ("evaluate", "runs/own"): 0,
            ("report", "runs/own"): 0,
            ("adaptation", "runs/own"): 0,
            ("robustness", "runs/own"): 0,
            ("crossvalidate", "own.toml", "--folds", 2): 0,
            ("compare", encoder, encoder, "--recipe", "own.toml", "--folds", 2): 0,
            ("folds", "own.toml", "--split", "loso"): 0,
            ("strangers", "own.toml", "--folds", 2): 0,
            ("calibrated", "runs/own"): 2,
            ("sweep", "own.toml", "--head", "base"): 2,
            ("generalise", "own.toml", "--quick"): 2,
        }.items()
    ):
        capsys.readouterr()
        assert call("affectd-calibrate", *command, *data, f"report/{number}", *threads) == code, capsys.readouterr()
        assert not code or capsys.readouterr().err.count("\n") == 1, "why not, in one line"


def test_a_table_whatever_its_columns_are_called(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "own" / "audio", "{}-{}-{}.flac".format)
    rows = [(f"{person}-{emotion}-{take}", emotion.upper(), person) for person, emotion, take in clips()]
    table = tmp_path / "own" / "list.csv"
    for header, delimiter in ((("File Name", "Emotion", "Speaker_ID"), ";"), (("clip", "class", "actor"), "\t")):
        table.write_text("\n".join(delimiter.join(row) for row in [header, *rows]), encoding="utf-8-sig")
        result = found(call, capsys, "own", "--force")
        assert (result["clips"], result["speakers"]) == (72, list(PEOPLE))
        assert result["labels"] == {"neutral": 24, "happy": 24, "angry": 24}
    assert "who speaks" not in doubts(result), "the column says it"
    listing = read_corpus("csv", tmp_path / "own.csv", strict=True)
    assert {utterance.speaker for utterance in listing.utterances} == {f"own-{person}" for person in PEOPLE}
    recipe = read_recipe(tmp_path / "own.toml")
    assert (recipe.name, recipe.labels) == ("own", ("neutral", "happy", "angry"))
    assert [(corpus.name, corpus.folder) for corpus in recipe.corpora] == [("csv", "own.csv")]


def test_a_table_that_the_reader_takes_is_not_copied(
    call: Call, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = found(call, capsys, data / "team", "--out", tmp_path / "team.toml")
    assert result["speakers"] == ["anna", "ben", "cem", "dana"]
    assert not (tmp_path / "team.csv").exists()
    (corpus,) = read_recipe(tmp_path / "team.toml").corpora
    assert (tmp_path / corpus.folder).resolve() == (data / "team" / "office.csv").resolve()


def test_columns_by_name(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "own", "{}{}{}.wav".format)
    rows = [(f"{person}{emotion}{take}.wav", emotion, person) for person, emotion, take in clips()]
    write_table(tmp_path / "own" / "x.csv", ("a", "b", "c"), rows)
    assert call("affectd-calibrate", "init", "own/x.csv") == 2
    assert "which column is the path? --path-column, one of a, b, c" in capsys.readouterr().err
    named = ("--path-column", "a", "--label-column", "b", "--speaker-column")
    assert call("affectd-calibrate", "init", "own", *named, "d") == 2
    assert "--speaker-column 'd' is not one of a, b, c" in capsys.readouterr().err
    assert found(call, capsys, "own", *named, "c")["speakers"] == list(PEOPLE)


@pytest.mark.parametrize(
    ("name", "speakers"),
    [
        ("{1}/{0}_{2}.wav", PEOPLE),
        ("{0}/{1}/{2}.wav", PEOPLE),
        ("{1}/spk{3}-{2}.wav", ("spk0", "spk1", "spk2", "spk3", "spk4", "spk5")),
        ("{1}/{0}{2}.wav", PEOPLE),
        ("recordings/{0}/take-{2}-{1}.wav", PEOPLE),
    ],
)
def test_labels_and_speakers_in_names(
    name: str, speakers: tuple[str, ...], call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "own", lambda person, emotion, take: name.format(person, emotion, take, PEOPLE.index(person)))
    result = found(call, capsys, "own")
    assert tuple(result["speakers"]) == speakers
    assert set(result["labels"]) == set(EMOTIONS)
    assert "who speaks is a guess" in doubts(result)
    listing = read_corpus("csv", tmp_path / "own.csv", strict=True)
    assert len(listing.utterances) == 72


@pytest.mark.parametrize("name", ["{1}/{3}_{2}.wav", "{1}/{0}_{4}_{2}.wav", "{1}/{5}.wav"])
def test_what_may_be_takes_or_sentences_is_not_taken_for_speakers(
    name: str, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("kids", "dogs", "door", "talk")

    def named(person: str, emotion: str, take: int) -> str:
        number = PEOPLE.index(person)
        return name.format(person, emotion, take, number, words[take], 4 * number + take)

    record(tmp_path / "own", named)
    result = found(call, capsys, "own")
    assert result["speakers"] == []
    assert "no speakers are known" in result["doubts"][0]
    assert read_recipe(tmp_path / "own.toml").splits.fractions == (1.0, 0.0, 0.0), "nobody can be kept apart"
    if "{5}" not in name:
        assert "--speaker-pattern" in doubts(result)
        assert found(call, capsys, "own", "--force", "--speaker-pattern", "/([a-z0-9]+)_")["speakers"]


class Answers(io.StringIO):
    """What somebody at a terminal types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "speakers"), [("7\n1\n", 6), ("one\n2\n", 4), ("0\n", 0)])
def test_at_a_terminal_it_asks_who_speaks(
    typed: str, speakers: int, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    record(tmp_path / "own", lambda person, emotion, take: f"{emotion}/{PEOPLE.index(person)}_{take}.wav")
    monkeypatch.setattr("sys.stdin", Answers(typed))
    monkeypatch.setattr("sys.stderr", Answers())
    result = found(call, capsys, "own")
    assert len(result["speakers"]) == speakers
    assert ("who speaks is a guess" in doubts(result)) is False, "it was said"


def test_a_known_layout(call: Call, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = found(call, capsys, data / "ravdess", "--out", "r.toml", "--licence", "CC BY-NC-SA 4.0")
    assert (result["layout"], len(result["speakers"])) == ("the layout of ravdess", 6)
    (corpus,) = read_recipe(tmp_path / "r.toml").corpora
    assert (corpus.name, corpus.licence, corpus.licence_verified) == ("ravdess", "CC BY-NC-SA 4.0", True)
    assert not (tmp_path / "r.csv").exists()
    emovo(tmp_path / "emovo")
    assert call("affectd-calibrate", "init", "emovo") == 2
    assert "is emovo, whose licence allows evaluation only" in capsys.readouterr().err
    assert not (tmp_path / "emovo.toml").exists()


def test_words_that_are_no_label(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {"neutral": "plain", "happy": "glad", "angry": "anger"}
    record(tmp_path / "own", lambda person, emotion, take: f"{words[emotion]}/{person}_{take}.wav")
    assert call("affectd-calibrate", "init", "own") == 2
    assert "nothing says how they sound" in capsys.readouterr().err
    result = found(call, capsys, "own", "--label", "Glad=happy")
    assert result["labels"] == {"happy": 24, "angry": 24}
    assert result["unmapped"] == {"plain": 24}
    assert "no label for 'plain' (24 clips): left out; --label 'plain=LABEL'" in doubts(result)
    assert len(read_corpus("csv", tmp_path / "own.csv", strict=True).utterances) == 48
    result = found(call, capsys, "own", "--force", "--label", "glad=happy", "--label", "plain=neutral")
    assert result["labels"] == {"neutral": 24, "happy": 24, "angry": 24}
    assert call("affectd-calibrate", "init", "own", "--label", "glad=hapy") == 2
    assert "did you mean 'happy'?" in capsys.readouterr().err
    assert call("affectd-calibrate", "init", "own", "--label", "glad") == 2
    assert "is not WORD=LABEL" in capsys.readouterr().err


def test_what_is_doubtful(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "own", "{1}/{0}_{2}.wav".format)
    write_clip(tmp_path / "own" / "fear" / "anna_0.wav", emotional("angry", "fear"))
    (tmp_path / "own" / "fear" / "anna_1.wav").write_bytes(b"no audio")
    result = found(call, capsys, "own")
    for doubt in (
        "fear: 1 clips; with fewer than 20",
        "fear: of one speaker only",
        "6 speakers: figures on those held out are rough",
        "1 cannot be opened and are left out",
    ):
        assert doubt in doubts(result)
    assert "! fear: of one speaker only" in (tmp_path / "own.toml").read_text(), "and at the head of the recipe"
    record(tmp_path / "one", "{1}/spk1-{2}.wav".format, people=("anna",), each=8)
    assert "one speaker" in doubts(found(call, capsys, "one", "--speaker-pattern", "(spk[0-9])"))


@pytest.mark.parametrize("name", ["happy", "glad"])
def test_one_label_is_too_few(name: str, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "own", lambda person, emotion, take: f"{name}/{person}{emotion}{take}.wav")
    assert call("affectd-calibrate", "init", "own") == 2
    assert "affectd-calibrate: own: has" in (error := capsys.readouterr().err) or "nothing says" in error


def test_nothing_is_replaced_without_force(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "own", "{1}/{0}_{2}.wav".format)
    for existing in ("own.toml", "own.csv"):
        (tmp_path / existing).write_text("mine")
        assert call("affectd-calibrate", "init", "own") == 2
        assert f"{existing} exists already; --force replaces it" in capsys.readouterr().err
        assert (tmp_path / existing).read_text() == "mine"
        assert call("affectd-calibrate", "init", "own", "--force") == 0
        (tmp_path / "own.toml").unlink()
        (tmp_path / "own.csv").unlink()


def test_a_folder_with_nothing_to_find(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for folder, message in (("gone", "gone: no such folder"), ("empty", "empty: holds no recordings")):
        assert call("affectd-calibrate", "init", folder) == 2
        assert message in capsys.readouterr().err
    record(tmp_path / "own", lambda person, emotion, take: f"{person}{EMOTIONS[emotion][0]:.0f}{take}.wav")
    assert call("affectd-calibrate", "init", "own", "--layout", "table") == 2
    assert "holds no CSV" in capsys.readouterr().err
    write_table(tmp_path / "own" / "a.csv", ("path", "label"), [("gone.wav", "happy")])
    assert call("affectd-calibrate", "init", "own") == 2
    assert "'gone.wav': no such recording" in capsys.readouterr().err
    shutil.copy(tmp_path / "own" / "a.csv", tmp_path / "own" / "b.csv")
    assert call("affectd-calibrate", "init", "own") == 2
    assert "several tables, a.csv, b.csv" in capsys.readouterr().err


@pytest.mark.parametrize("count", [*range(1, 26), 60, 500])
def test_splits_fit_the_number_of_speakers(count: int, tmp_path: Path) -> None:
    rows = [(f"{person}.wav", f"p{person}", "happy") for person in range(count)]
    for path, *_ in rows:
        (tmp_path / path).touch()
    write_table(tmp_path / "t.csv", ("path", "speaker", "emotion"), rows)
    utterances = read_corpus("csv", tmp_path).utterances
    drawn = list(make_splits(utterances, split_fractions(count)).values())
    assert len(drawn) == count
    assert drawn.count("train") >= count / 2
    assert drawn.count("test") >= (0 if count < 2 else 1 if count < 4 else 2)


def test_an_oddly_named_folder_makes_a_valid_recipe(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ('my "clips" \\ 2', "voix été", "a.b c", "-dash", "=SUM(1)"):
        record(tmp_path / name, "{1}/{0}_{2}.wav".format, each=2)
        result = found(call, capsys, tmp_path / name)
        assert result["clips"] == 36
    for path in tmp_path.glob("*.toml"):
        recipe = read_recipe(path)
        assert read_corpus("csv", tmp_path / recipe.corpora[0].folder, strict=True).utterances
        with (tmp_path / recipe.corpora[0].folder).open(newline="", encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == 36
