import re
from pathlib import Path

import pytest

from calibrate.metrics import ClassFigures, Figures
from calibrate.recipe import CorpusRecipe
from calibrate.run import Run
from edge.bundle import Bundle, Manifest
from export.bundle.card import CARD_NAME, model_card
from export.bundle.check import Check

pytestmark = pytest.mark.slow

SAD = {"sad": ClassFigures(1, 1, 1, 1)}
FIGURES = Figures(120, 4, 0.7251, 0.75, 0.7, 0.08, {"a": 0.5, "b": 0.9}, 0.5, SAD, [[1]], {}, (0.51, 0.88))
CHECKS = [Check("least cosine", 0.99961, ">= 0.99", True), Check("UA drop", -0.0045, "<= 0.01", True)]


@pytest.fixture
def manifest(exported: object) -> Manifest:
    folder: Path = exported.folder  # type: ignore[attr-defined]
    return Bundle.load(folder).manifest


def licensed(run: Run, manifest: Manifest, *licences: str) -> Manifest:
    """Return the manifest with corpora under these licences, and put them into the run's recipe."""
    names = ("ravdess", "csv")[: len(licences)]
    corpora = [CorpusRecipe(name=name, folder=name, licence=licence) for name, licence in zip(names, licences)]  # noqa: B905
    run.recipe = run.recipe.model_copy(update={"corpora": tuple(corpora)})
    records = [
        record.model_copy(update={"licence": licence})
        for record, licence in zip(manifest.corpora, licences)  # noqa: B905
    ]
    return manifest.model_copy(update={"corpora": tuple(records)})


def test_the_card_says_what_the_model_is_and_how_good(run: Run, manifest: Manifest) -> None:
    card = model_card(manifest, run, None, {"ravdess": FIGURES}, CHECKS)
    assert card.startswith("# tiny 7\n\nSpeech to 3 emotions (neutral, happy, angry). whisper, first layer, fp32, ")
    assert f"opset {manifest.encoder.opset}; the mean and standard deviation of layers 0, 1 over" in card
    assert f"an embedding of 16 numbers, a linear head with temperature {run.temperature:.3f}" in card
    assert "| ravdess | 4 | 24 | CC BY-NC-SA 4.0 |" in card
    assert "| office | 2 | 12 | own (unverified) |" in card
    assert "The pretrained encoder comes from `nowhere/nothing` (MIT)." in card
    assert manifest.metrics["protocol"] in card
    assert "| ravdess | 120 | 4 | 0.725 | 0.51 to 0.88 | 0.750 | 0.700 | 0.080 | 0.700 | 0.500 |" in card
    assert "| least cosine | 0.9996 | >= 0.99 |" in card
    assert "| UA drop | -0.0045 | <= 0.01 |" in card
    assert "no medical, hiring, policing or disciplinary use" in card


def test_the_card_says_why_int8_is_quantised_as_it_is(run: Run, manifest: Manifest) -> None:
    trials = [
        {"quantisation": "static", "cosine": 0.99723, "latency_ms": 13.04},
        {"quantisation": "dynamic", "cosine": 0.99834, "latency_ms": 13.31},
    ]
    encoder = manifest.encoder.model_copy(update={"precision": "int8", "quantisation": "static"})
    metrics = manifest.metrics | {"quantisation": {"rule": "the truer", "trials": trials}}
    card = model_card(
        manifest.model_copy(update={"encoder": encoder, "metrics": metrics}), run, None, {"ravdess": FIGURES}, CHECKS
    )
    assert "first layer, int8 (static), opset" in card
    assert "Both were tried, and one kept: the truer.\n" in card
    assert "| static | 0.9972 | 13.0 | kept |\n| dynamic | 0.9983 | 13.3 |  |\n" in card


def test_the_card_warns_of_licences_that_forbid_commerce(run: Run, manifest: Manifest) -> None:
    card = model_card(manifest, run, None, {"ravdess": FIGURES}, CHECKS)
    assert "**Not for commercial use**: the licences of ravdess bind these weights." in card
    assert "`affectd-calibrate train … --without ravdess` trains without them." in card


def test_a_corpus_is_named_as_the_recipe_names_it_where_it_is_left_out(run: Run, manifest: Manifest) -> None:
    card = model_card(
        licensed(run, manifest, "MIT", "Non-commercial research"), run, None, {"ravdess": FIGURES}, CHECKS
    )
    assert "the licences of office bind" in card
    assert "--without csv`" in card


def test_no_way_out_is_promised_when_every_corpus_is_bound(run: Run, manifest: Manifest) -> None:
    card = model_card(
        licensed(run, manifest, "CC BY-NC 4.0", "CC BY-NC-ND 4.0"), run, None, {"ravdess": FIGURES}, CHECKS
    )
    assert "the licences of ravdess and office bind these weights.\n" in card
    assert "--without" not in card


def test_free_licences_bring_no_warning(run: Run, manifest: Manifest) -> None:
    card = model_card(licensed(run, manifest, "CC BY 4.0", "NCSA"), run, None, {"ravdess": FIGURES}, CHECKS)
    assert not re.search("commercial|--without", card)


def test_every_table_of_the_written_card_is_whole(exported: object) -> None:
    folder: Path = exported.folder  # type: ignore[attr-defined]
    card = (folder / CARD_NAME).read_text()
    tables = re.findall(r"(?:^\|.*\|\n)+", card, re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        rows = table.splitlines()
        assert len(rows) >= 3
        assert len({row.count("|") for row in rows}) == 1
    assert "nan" not in card
