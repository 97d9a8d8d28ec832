import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibrate.dataset import Part, read_parts
from calibrate.run import Run
from calibrate.speakers.factor_model import device_head, population_of
from calibrate.speakers.verifier import SpeakerModel
from calibrate.speech_check import SPEECH_ODDS
from edge.audio import SAMPLE_RATE_HZ, read_audio
from edge.bundle import MANIFEST_NAME, Bundle, sha256_of
from edge.errors import ModelError, UsageError
from edge.high_pass import high_passed
from edge.recognizer import Recognizer
from edge.settings import EncoderSettings
from export.bundle import check
from export.bundle import write as module
from export.bundle.card import CARD_NAME
from export.bundle.contents import Identity, Model
from export.bundle.examine import LEAST_SHARE
from export.bundle.write import Export, export_bundle
from export.graph import precision
from export.graph.inventory import Inventory
from export.graph.precision import Trial
from helpers.models import hiss

pytestmark = pytest.mark.slow

FLOAT = Identity("tiny", "7", "fp32")
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture
def export(run: Run, data: Path, speaker_model: SpeakerModel, tmp_path: Path, traced: None) -> Any:
    """Export the tiny run to a folder; keyword arguments change the identity, the parts and the size allowed."""
    parts = read_parts(run.recipe, data)
    population = population_of(run, parts["train"], run.source(tmp_path / "cache"))
    model = Model(run, population, speaker_model)

    def export(target: Path, max_mb: float | None = None, without: str = "", **changes: Any) -> Export:
        kept = parts | ({without: parts[without].select(np.zeros(len(parts[without].paths), bool))} if without else {})
        return export_bundle(model, kept, target, replace(FLOAT, **changes), "by a test", max_mb)

    return export


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow for what 16 channels lose by quantisation."""
    monkeypatch.setattr(check, "LEAST_COSINE", dict.fromkeys(PRECISIONS, 0.9))
    monkeypatch.setattr(check, "LEAST_LOW_COSINE", 0.9)
    monkeypatch.setattr(check, "MOST_PADDING_ERROR", dict.fromkeys(PRECISIONS, 0.1))
    monkeypatch.setattr(check, "MOST_UA_DROP", 0.5)


@pytest.fixture
def old(tmp_path: Path, bundle_folder: Path) -> Path:
    """A bundle that is in the way, with a file that the new one has not."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundles" / "mine"))
    (folder / "notes.txt").write_text("old")
    return folder


def content(folder: Path) -> dict[str, tuple[str, int]]:
    return {path.name: (sha256_of(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def loaded(folder: Path) -> Recognizer:
    recognizer = Recognizer(Bundle.load(folder), EncoderSettings(provider="cpu", threads=1))
    recognizer.load()
    return recognizer


def test_a_written_bundle_answers_as_the_run_does(exported: Any, run: Run, test_part: Part, tmp_path: Path) -> None:
    recognizer = loaded(exported.folder)
    manifest = recognizer.bundle.manifest
    assert (manifest.name, manifest.version, manifest.labels) == ("tiny", "7", run.recipe.labels)
    assert manifest.buckets_s == (1.0, 1.5, 2.0, 2.5, 3.0)
    assert list(manifest.corpora) == run.corpora
    assert CARD_NAME in manifest.files
    assert manifest.speaker is not None
    assert manifest.speaker.architecture == "brightness.onnx"
    assert recognizer.bundle.population.labels == run.recipe.labels
    assert set(manifest.files) | {MANIFEST_NAME} == {path.name for path in exported.folder.iterdir()}
    readable, expected = run.probabilities(test_part, run.source(tmp_path))
    assert readable.paths == test_part.paths
    found = recognizer.probabilities([high_passed(read_audio(path)) for path in test_part.paths])
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert manifest.metrics["corpora"]["ravdess"]["utterances"] == 6
    assert manifest.metrics["corpora"]["office"]["speakers"] == 1


def test_a_bundle_tells_speech_from_the_sounds_of_its_recipe(exported: Any, test_part: Part) -> None:
    recognizer = loaded(exported.folder)
    check = recognizer.bundle.head.speech
    assert check is not None
    least = SPEECH_ODDS / (1 + SPEECH_ODDS)
    heard = recognizer.encode([high_passed(read_audio(path)) for path in test_part.paths])
    assert min(check.probability(encoding.embedding) for encoding in heard) > least
    hisses = recognizer.encode([high_passed(hiss(seed)) for seed in range(100, 110)])
    assert max(check.probability(encoding.embedding) for encoding in hisses) < least
    assert "twelve hisses, CC0" in (exported.folder / CARD_NAME).read_text()


def test_the_head_is_the_classifiers_last_layer(run: Run) -> None:
    head = device_head(run, run.temperature)
    assert head.temperature == run.temperature
    np.testing.assert_array_equal(head.weight, run.classifier.output.weight.detach().numpy())
    np.testing.assert_array_equal(head.bias, run.classifier.output.bias.detach().numpy())


def test_an_int8_bundle_is_checked_against_torch_and_the_float_graph(export: Any, tmp_path: Path, coarse: None) -> None:
    written: Export = export(tmp_path / "deep" / "er" / "bundle", precision="int8", quantisation="dynamic")
    encoder = written.bundle.manifest.encoder
    assert (encoder.precision, encoder.quantisation) == ("int8", "dynamic")
    assert [check.name for check in written.checks] == [
        "least cosine of fp32 to torch",
        "padding error of fp32",
        "batch mates move fp32 by",
        "least cosine of int8 to torch",
        "5th percentile of the cosines of int8 to torch",
        "padding error of int8",
        "batch mates move int8 by",
        "UA drop on ravdess",
        "UA drop on office",
        "padding error of voiceprints",
    ]
    assert all(check.passed for check in written.checks)
    assert not written.trials
    card = (written.bundle.folder / CARD_NAME).read_text()
    assert "int8 (dynamic)" in card
    assert "by a test" in card
    assert len(loaded(written.bundle.folder).probabilities([np.zeros(900, np.float32)] * 3)) == 3


def test_int8_is_quantised_in_the_better_of_two_ways(export: Any, tmp_path: Path, coarse: None) -> None:
    written: Export = export(tmp_path / "int8", precision="int8")
    kept, other = written.trials
    assert {kept.quantisation, other.quantisation} == {"dynamic", "static"}
    assert min(kept.cosine, other.cosine) > 0.97
    assert precision.prefer_static(*sorted(written.trials, key=lambda trial: trial.quantisation)) is (
        kept.quantisation == "static"
    )
    manifest = written.bundle.manifest
    assert manifest.encoder.quantisation == kept.quantisation
    assert manifest.metrics["quantisation"]["trials"][0]["cosine"] == kept.cosine
    card = (written.bundle.folder / CARD_NAME).read_text()
    assert f"| {kept.quantisation} | {kept.cosine:.4f} | {kept.latency_ms:.1f} | kept |" in card
    assert set(content(tmp_path / "int8")) == {*manifest.files, MANIFEST_NAME}, "the other way leaves no file"


@pytest.mark.parametrize(
    ("static_cosine", "static_ms", "expected"),
    [(0.996, 10.9, True), (0.996, 11.1, False), (0.9941, 9.0, True), (0.9939, 1.0, False), (0.9981, 99.0, True)],
)
def test_the_rule_of_the_better_way(static_cosine: float, static_ms: float, expected: bool) -> None:
    dynamic, static = Trial("dynamic", 0.996, 10.0), Trial("static", static_cosine, static_ms)
    assert precision.prefer_static(dynamic, static) is expected


def test_without_speech_to_calibrate_on_int8_is_dynamic(export: Any, tmp_path: Path, coarse: None) -> None:
    written: Export = export(tmp_path / "int8", precision="int8", without="train")
    assert written.bundle.manifest.encoder.quantisation == "dynamic"
    with pytest.raises(UsageError, match="calibrates on training utterances, and there are none"):
        export(tmp_path / "static", precision="int8", quantisation="static", without="train")


def test_a_half_precision_bundle_runs_on_the_cpu(export: Any, tmp_path: Path) -> None:
    written: Export = export(tmp_path / "fp16", precision="fp16")
    encoder = written.bundle.manifest.encoder
    assert (encoder.precision, encoder.quantisation) == ("fp16", None)
    assert "least cosine of fp16 to torch" in [check.name for check in written.checks]
    assert Inventory.of(written.bundle.encoder_path, SAMPLE_RATE_HZ).share("fp16") > LEAST_SHARE
    assert "fp16, opset" in (tmp_path / "fp16" / CARD_NAME).read_text()


def test_the_version_is_not_in_the_encoder(export: Any, tmp_path: Path) -> None:
    first, second = (export(tmp_path / version, version=version).bundle for version in ("1", "2"))
    assert first.encoder_hash == second.encoder_hash, "people's profiles outlive a version that hears alike"


def test_a_bundle_beyond_its_size_is_refused(export: Any, tmp_path: Path, old: Path) -> None:
    before = content(old.parent)
    size_mb = sum(path.stat().st_size for path in export(tmp_path / "fits").bundle.folder.iterdir()) / 1e6
    assert export(tmp_path / "exactly", max_mb=size_mb).bundle.manifest.name == "tiny"
    with pytest.raises(ModelError, match=r"the bundle has 0\.\d+ MB of at most 0\.05: encoder\.onnx 0\.\d+, bundle"):
        export(old, max_mb=0.05)
    assert content(old.parent) == before


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"LEAST_COSINE": dict.fromkeys(PRECISIONS, 1.1)},
            r"least cosine of fp32 to torch is (1|1\.0000|0\.9999), allowed is >= 1.1",
        ),
        (
            {"MOST_PADDING_ERROR": dict.fromkeys(PRECISIONS, -1.0)},
            r"padding error of fp32 is \S+, allowed is <= -1",
        ),
        (
            {"MOST_UA_DROP": -1.0, "LEAST_CHANCE": 2.0},
            r"UA drop on ravdess is 0, allowed is <= -1, or p >= 2; of 6 answers 0 lost and 0 gained, p = 1; UA",
        ),
        ({"padding_errors": lambda *_: {1.0: 0.0, 2.0: float("nan")}}, "padding error of fp32 is nan"),
    ],
)
def test_a_failed_check_leaves_the_old_bundle_alone(
    export: Any, old: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, object], message: str
) -> None:
    before = content(old.parent)
    for limit, value in limits.items():
        monkeypatch.setattr(check, limit, value)
    with pytest.raises(ModelError, match=f"the export fails its checks: {message}"):
        export(old)
    assert content(old.parent) == before
    with pytest.raises(ModelError):
        export(old.parent / "new")
    assert [path.name for path in old.parent.iterdir()] == ["mine"]


def test_a_good_export_replaces_a_bundle_whole(export: Any, old: Path) -> None:
    assert export(old).bundle.manifest.version == "7"
    names = {"bundle.json", "encoder.onnx", "head.safetensors", "population.safetensors", "speaker.onnx", CARD_NAME}
    assert set(content(old)) == names
    assert [path.name for path in old.parent.iterdir()] == ["mine"]
    for path in (old, *old.iterdir()):
        assert path.stat().st_mode & 0o444 == 0o444, f"{path.name} is for everyone to read"


def test_an_empty_folder_is_filled(export: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export(tmp_path / "empty")
    assert Bundle.load(tmp_path / "empty").manifest.name == "tiny"


@pytest.mark.parametrize("victim", ["rename", "copytree"])
@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_crash_while_replacing_keeps_the_old_bundle(
    export: Any, old: Path, monkeypatch: pytest.MonkeyPatch, victim: str, failure: BaseException
) -> None:
    before = content(old.parent)
    rename = Path.rename

    def fail(*_: object) -> None:
        raise failure

    def fail_once_the_old_is_gone(source: Path, target: Path) -> Path:
        if source.name == "new":
            raise failure
        return rename(source, target)

    if victim == "copytree":
        monkeypatch.setattr(shutil, "copytree", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail_once_the_old_is_gone)
    expected = UsageError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="mine: cannot be written: No space" if expected is UsageError else None):
        export(old)
    assert content(old.parent) == before
    assert [path.name for path in old.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bundle_is_never_replaced(
    export: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(module, "write_onnx", lambda *_: pytest.fail("refused only after the work"))
    target = tmp_path / "thesis"
    if kind == "folder":
        target.mkdir()
        (target / "chapter1.tex").write_text("precious")
    else:
        target.write_text("precious")
    with pytest.raises(UsageError, match="thesis: holds something else than a bundle"):
        export(target)
    assert (target / "chapter1.tex" if kind == "folder" else target).read_text() == "precious"


def test_a_model_for_very_short_speech_has_one_bucket(export: Any, run: Run, tmp_path: Path) -> None:
    run.recipe = run.recipe.model_copy(update={"encoder": run.recipe.encoder.model_copy(update={"max_s": 0.3})})
    bundle: Bundle = export(tmp_path / "short").bundle
    assert bundle.manifest.buckets_s == (0.3,), "and test clips beyond it are cut for the checks"
    assert loaded(bundle.folder).buckets.longest == round(0.3 * SAMPLE_RATE_HZ)
