import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from transformers import HubertConfig

from edge.bundle import ENCODER_NAME, HEAD_NAME, MANIFEST_NAME, Bundle, sha256_of
from export.bundle import latency
from export.bundle.check import (
    AT_BUCKET,
    Check,
    at_least,
    at_most,
    check_invariance,
    check_parity,
    failures,
    in_brief,
    opened,
    skipped,
)
from export.cli.app import main
from export.graph.parity import bucketed_embeddings
from helpers.calling import exit_code
from helpers.models import RECIPE, toml
from helpers.signals import speech_like
from helpers.tiny import tiny_bundle, write_manifest

pytestmark = pytest.mark.slow

NAN = float("nan")

Call = Callable[..., int]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``affectd-export check`` inside the test's process and return its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: exit_code(main, monkeypatch, "affectd-export", "check", *arguments, "--threads", "1")


@pytest.fixture
def rows(call: Call, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, dict[str, Any]]]]:
    """The same with ``--json``: the exit code, and what was printed by name."""

    def rows(*arguments: object) -> tuple[int, dict[str, dict[str, Any]]]:
        code = call(*arguments, "--json")
        printed = json.loads(capsys.readouterr().out)
        assert printed["passed"] is (code == 0)
        return code, {row["name"]: row for row in printed["checks"]}

    return rows


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A bundle to do harm to."""
    return tiny_bundle(tmp_path / "mine")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe of the tiny corpora as a file."""
    (tmp_path / "recipe.toml").write_text(toml(RECIPE))
    return tmp_path / "recipe.toml"


def changed(folder: Path, **encoder: object) -> Path:
    """Write the manifest anew for what is in a bundle's folder, with other fields of the encoder."""
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    for name, record in manifest["files"].items():
        record.update(sha256=sha256_of(folder / name), bytes=(folder / name).stat().st_size)
    manifest["encoder"].update(encoder)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return folder


def test_a_good_bundle_passes_without_any_data(call: Call, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(mine) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "FAILED" not in printed.out
    for said in (
        f"checks of {mine}",
        "padding error of fp32 at 1 s",
        "padding error of fp32 at 4 s",
        "batch mates move fp32 by",
        "padding error of voiceprints",
        "skipped: neither --against nor --run given",
        "skipped: --data not given",
        "skipped: --latency not given",
    ):
        assert said in printed.out


def test_a_changed_file_fails(rows: Any, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((mine / HEAD_NAME).read_bytes())
    content[-1] ^= 1
    (mine / HEAD_NAME).write_bytes(content)
    code, found = rows(mine)
    assert code == 3
    assert [name for name, row in found.items() if row["passed"] is False] == ["loads", HEAD_NAME]
    assert f"{HEAD_NAME}: sha256 is" in found["loads"]["figure"]
    assert found["everything else"]["limit"] == "skipped: the bundle does not load"


def test_missing_and_stray_files_fail(call: Call, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "notes.txt").touch()
    (mine / HEAD_NAME).unlink()
    assert call(mine) == 3
    printed = capsys.readouterr()
    assert f"{HEAD_NAME} is missing, allowed is " in printed.err
    assert "files not in the manifest is notes.txt, allowed is none" in printed.err


def test_a_folder_without_a_manifest_is_no_bundle(call: Call, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert call(tmp_path / "empty") == 3
    assert "bundle.json: cannot be read: No such file" in capsys.readouterr().err
    assert call(tmp_path / "nothing") == 3
    assert "no bundle folder" in capsys.readouterr().err


def test_a_damaged_manifest_is_a_row(rows: Any, mine: Path) -> None:
    (mine / MANIFEST_NAME).write_text("{}")
    code, found = rows(mine)
    assert code == 3
    assert "schema_version" in found["loads"]["figure"]


def test_size_is_limited(rows: Any, mine: Path) -> None:
    size_mb = sum(path.stat().st_size for path in mine.iterdir()) / 1e6
    assert rows(mine, "--max-mb", size_mb)[0] == 0
    code, found = rows(mine, "--max-mb", 0.001)
    assert code == 3
    assert found["megabytes"]["figure"] == pytest.approx(size_mb)


def test_a_graph_that_hears_its_padding_fails_at_every_bucket_it_is_padded_to(rows: Any, mine: Path) -> None:
    nodes = [
        helper.make_node("Abs", ["waveform"], ["magnitude"]),
        helper.make_node("ReduceMean", ["magnitude"], ["loudness"], axes=[1], keepdims=1),
        helper.make_node("Concat", ["loudness"] * 3, ["embedding"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph(nodes, "leaking", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, mine / ENCODER_NAME)
    write_manifest(mine)
    code, found = rows(mine)
    assert code == 3
    padding = {name: row["passed"] for name, row in found.items() if name.startswith("padding error of fp32 at ")}
    assert padding == {f"padding error of fp32 at {bucket} s": False for bucket in (1, 2, 4)}
    assert found["batch mates move fp32 by"]["passed"], "alone or not, the row is as long"


def test_a_graph_that_does_not_run_is_a_row(rows: Any, mine: Path) -> None:
    shutil.copy(mine / "speaker.onnx", mine / ENCODER_NAME)
    code, found = rows(changed(mine))
    assert code == 3
    assert "has inputs" in found["runs"]["figure"]


def test_a_manifest_that_lies_about_its_graph_fails(rows: Any, exported: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "lying"))
    code, found = rows(changed(folder, precision="int8", opset=17))
    assert code == 3
    assert (found["opset"]["figure"], found["opset"]["limit"]) == ("20", "17")
    assert found["share in int8 behind the front end"]["figure"] == 0
    assert re.fullmatch(r"front end \d\d%, fp32 \d+%", found["operations"]["figure"])
    assert "LayerNormalization" in found["operators"]["figure"]


def test_figures_and_parity_with_data_and_a_float_bundle(rows: Any, exported: Any, data: Path, recipe: Path) -> None:
    code, found = rows(exported.folder, "--data", data, "--recipe", recipe, "--against", exported.folder)
    assert code == 0
    assert found["least cosine of fp32 to fp32"]["figure"] == pytest.approx(1, abs=1e-6)
    published = Bundle.load(exported.folder).manifest.metrics["corpora"]
    for corpus in ("ravdess", "office"):
        assert found[f"UA on {corpus}"]["figure"] == pytest.approx(published[corpus]["ua"], abs=1e-4)
        assert "as in the manifest" in found[f"UA on {corpus}"]["limit"]
        assert found[f"UA drop on {corpus}"]["figure"] == 0


def test_the_run_itself_is_a_reference_and_brings_its_recipe(
    rows: Any, exported: Any, data: Path, run_folder: Path, tmp_path: Path
) -> None:
    code, found = rows(exported.folder, "--data", data, "--run", run_folder, "--cache", tmp_path / "cache")
    assert code == 0
    assert found["least cosine of fp32 to torch"]["figure"] > 0.9999
    assert found["UA drop on office"]["passed"]


def test_figures_that_are_not_those_of_the_manifest_fail(
    rows: Any, exported: Any, data: Path, recipe: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported.folder, tmp_path / "boasting"))
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    manifest["metrics"]["corpora"]["ravdess"]["ua"] += 0.17
    del manifest["metrics"]["corpora"]["office"]
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    code, found = rows(folder, "--data", data, "--recipe", recipe)
    assert code == 3
    assert found["UA on ravdess"]["passed"] is False
    assert found["UA on office"]["passed"] is None
    assert found["UA drop"]["limit"] == "skipped: neither --against nor --run given"
    manifest["metrics"]["corpora"]["ravdess"]["ua"] -= 0.01
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert rows(folder, "--data", data, "--recipe", recipe)[0] == 0, "of 6 answers, 2 a label, one may change"


def test_another_model_is_no_reference(call: Call, exported: Any, mine: Path, capsys: Any) -> None:
    assert call(exported.folder, "--against", mine) == 2
    assert "has labels and dim (('neutral', 'happy', 'angry'), 16), what it is compared with" in capsys.readouterr().err


def test_latency_is_a_ratio_to_a_teacher(rows: Any, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    shape = HubertConfig(conv_dim=(4,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=1, **small)
    monkeypatch.setitem(latency.SHAPES, "tiny shape", shape)
    code, found = rows(mine, "--latency", "--teacher", "tiny shape", "--least-ratio", 0)
    assert code == 0
    mine_ms = found["milliseconds for 4 s of audio"]["figure"]  # of its buckets the first that holds 3 s
    its_ms = found["milliseconds of the tiny shape"]["figure"]
    assert found["times faster than the tiny shape"]["figure"] == pytest.approx(its_ms / mine_ms)
    assert rows(mine, "--latency", "--teacher", "tiny shape", "--least-ratio", 1e9)[0] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--latency", "--teacher", "HuBERT-largo shape"], "(did you mean 'HuBERT-large shape'?)"),
        (["--data", "."], "with --data goes --recipe"),
        (["--against", ".", "--run", "."], "either --against a float bundle or with its --run"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    call: Call, mine: Path, capsys: Any, options: list[str], said: str
) -> None:
    assert call(mine, *options) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err


def test_dynamic_int8_may_feel_its_mates_and_static_may_not(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = opened(Bundle.load(mine), threads=1)
    speech = [speech_like(1.0), speech_like(2.0, 1)]
    embed = recognizer.encoder.embed
    monkeypatch.setattr(
        recognizer.encoder, "embed", lambda waves, samples: embed(waves, samples) * (1 + len(waves) / 9)
    )
    passed = {}
    for quantisation in (None, "dynamic", "static"):
        record = recognizer.bundle.manifest.encoder.model_copy(
            update={"precision": "int8", "quantisation": quantisation}
        )
        manifest = recognizer.bundle.manifest.model_copy(update={"encoder": record})
        recognizer.bundle = replace(recognizer.bundle, manifest=manifest)
        passed[quantisation] = check_invariance(recognizer, speech)[-1].passed
    assert passed == {None: True, "dynamic": True, "static": False}


def test_one_utterance_that_int8_rounds_harder_is_no_bad_graph_and_many_are(mine: Path) -> None:
    recognizer = opened(Bundle.load(mine), threads=1)
    speech = [speech_like(0.3 + 0.02 * seed, seed) for seed in range(40)]
    expected = bucketed_embeddings(recognizer.encoder, speech)
    moved = expected[:, [1, 0, 2]] * [1, -1, 0]  # at a right angle
    moved *= np.linalg.norm(expected, axis=1, keepdims=True) / np.linalg.norm(moved, axis=1, keepdims=True)

    def passed(precision: str, rows: int, cosine: float) -> list[bool | None]:
        other = expected.copy()
        other[:rows] = cosine * expected[:rows] + np.sqrt(1 - cosine**2) * moved[:rows]
        encoder = recognizer.bundle.manifest.encoder.model_copy(update={"precision": precision})
        manifest = recognizer.bundle.manifest.model_copy(update={"encoder": encoder})
        recognizer.bundle = replace(recognizer.bundle, manifest=manifest)
        return [check.passed for check in check_parity(recognizer, speech, other, "torch")]

    assert passed("int8", 1, 0.985) == [True, True]
    assert passed("int8", 8, 0.985) == [True, False]
    assert passed("int8", 1, 0.94) == [False, True], "wrong somewhere, as in one bucket"
    assert passed("int8", 40, 0.991) == [True, True]
    assert passed("fp32", 1, 0.985) == [False], "float has nothing to round"


def test_what_is_not_a_number_passes_nothing() -> None:
    assert not at_least("a", NAN, 0).passed
    assert not at_most("a", NAN, 0).passed
    assert at_least("a", 1, 1).passed
    assert at_most("a", 1, 1).passed
    assert failures([at_most("a", 0.25, 0.2), skipped("b", "no data"), at_least("c", NAN, 1)]) == (
        "a is 0.2500, allowed is <= 0.2; c is nan, allowed is >= 1"
    )


def test_json_has_no_figure_that_is_not_a_number() -> None:
    row = json.loads(json.dumps(at_most("a", NAN, 1).as_json(), allow_nan=False))
    assert row == {"name": "a", "figure": "nan", "limit": "<= 1", "passed": False}
    assert at_most("a", 0.5, 1).as_json()["figure"] == 0.5


def test_in_brief_the_worst_bucket_stands_for_all() -> None:
    buckets = [at_most(f"error{AT_BUCKET}{bucket} s", error, 0.5) for bucket, error in ((1, 0.1), (2, 0.7), (3, 0.2))]
    assert in_brief([at_least("cosine", 0.9, 0.5), *buckets]) == [
        Check("cosine", 0.9, ">= 0.5", True),
        Check("error", 0.7, "<= 0.5", False),
    ]
    (lost,) = in_brief([at_most(f"error{AT_BUCKET}1 s", NAN, 0.5), at_most(f"error{AT_BUCKET}2 s", 0.1, 0.5)])
    assert np.isnan(lost.figure)
    assert lost.passed is False
