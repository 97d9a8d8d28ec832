from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from calibrate.recipe import AugmentationRecipe, Recipe, read_recipe
from calibrate.recipe.reference import meaning, recipe_markdown
from calibrate.training.augment import augment
from edge.errors import UsageError
from edge.shipped import CONFIGS

ROOT = Path(__file__).resolve().parents[2]

Write = Callable[..., Path]

SECTIONS = ("splits", "encoder", "augmentation", "head", "schedule", "finetune", "pretraining")
KEYS = [("", "name"), ("", "seed"), ("", "labels")]
KEYS += [(section, key) for section in SECTIONS for key in Recipe.model_fields[section].annotation.model_fields]

anything = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 40),
    st.floats(),
    st.text(st.characters(max_codepoint=0x2FF, exclude_categories=("C",)), max_size=6),
    st.sampled_from(["linear", "weighted", "happy", ""]),
    st.lists(st.one_of(st.integers(-2, 5), st.floats(-1, 50), st.sampled_from(["happy", "sad", "zen"])), max_size=4),
)


RECIPES = [ROOT / "configs" / name for name in ("default-train.toml", "finetune.toml", "staged.toml")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_are_valid(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.corpora
    assert all(corpus.licence for corpus in recipe.corpora)


def test_what_is_not_given_has_its_default(recipe_file: Write) -> None:
    recipe = read_recipe(recipe_file(augmentation={}))
    assert recipe.seed == 0
    assert recipe.augmentation.copies == 1
    assert recipe.augmentation.key == AugmentationRecipe().key
    assert recipe.corpora[0].licence_verified
    assert not recipe.corpora[1].licence_verified
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"schedule": {"epoch": 3}}, ("schedule.epoch", "did you mean 'epochs'?")),
        ({"encoder": {"layer": 3}}, ("encoder.layer", "did you mean 'layers'?")),
        ({"sed": 1}, ("sed", "did you mean 'seed'?")),
        ({"corpora": [{"name": "csv", "folder": ".", "license": "MIT"}]}, ("corpora.0.license", "'licence'")),
        ({"head": {"kind": "quadratic"}}, ("head.kind", "'linear', 'logistic', 'dense' or 'stack'")),
        ({"head": {"dropout": 1.0}}, ("head.dropout", "less than 1")),
        ({"head": {"kind": "dense", "regulars": 0.5}}, ("head.regulars", "not permitted")),
        ({"head": {"kind": "stack", "rank": 8}}, ("head", "rank needs kind = 'dense', not 'stack'")),
        ({"head": {"kind": "dense", "hidden": [8]}}, ("head", "hidden needs kind = 'stack'")),
        ({"head": {"kind": "stack"}, "schedule": {"batch": 1}}, ("normalises over the batch",)),
        ({"head": {"speaker": "name"}}, ("head.speaker", "'none', 'id' or 'mfcc'")),
        ({"encoder": {"pooled": [3]}}, ("encoder.pooled (3,) exceeds encoder.layers = 2",)),
        ({"encoder": {"pooled": []}}, ("encoder.pooled", "at least 1")),
        ({"encoder": {"pooled": [-1]}}, ("encoder.pooled.0", "greater than or equal to 0")),
        ({"encoder": {"finetune": 3}}, ("encoder.finetune = 3 exceeds encoder.layers = 2",)),
        ({"encoder": {"finetune": 1}, "finetune": {"front": True}}, ("finetune.front needs encoder.finetune = 2",)),
        ({"schedule": {"epochs": 0}}, ("schedule.epochs = 0 trains nothing",)),
        ({"finetune": {"rnk": 4}}, ("finetune.rnk", "did you mean 'rank'?")),
        ({"finetune": {"layer_decay": 0}}, ("finetune.layer_decay", "greater than 0")),
        ({"augmentation": {"tempo": 0.6}}, ("augmentation.tempo", "less than or equal to 0.5")),
        ({"encoder": {"max_s": 31}}, ("encoder.max_s", "less than or equal to 30")),
        ({"corpora": []}, ("at least one [[corpora]] is needed",)),
        ({"labels": ["happy", "angy"]}, ("label 'angy' is not one of", "did you mean 'angry'?")),
        ({"labels": ["happy", "sad", "happy"]}, ("labels happy, sad, happy name one twice",)),
        ({"labels": ["happy"]}, ("labels", "at least 2")),
        ({"seed": -1}, ("seed", "greater than or equal to 0")),
        ({"augmentation": {"decay_s": [0.5, 0.1]}}, ("augmentation.decay_s", "0.5 exceeds the upper one 0.1")),
        ({"augmentation": {"decay_s": [0.0, 0.1]}}, ("augmentation.decay_s.0", "greater than")),
        ({"augmentation": {"gain_db": -3}}, ("augmentation.gain_db", "3.0 exceeds the upper one -3.0")),
        ({"augmentation": {"gain_db": "loud"}}, ("augmentation.gain_db",)),
    ],
)
def test_mistakes_name_the_key_and_what_is_allowed(
    recipe_file: Write, changes: dict[str, Any], messages: tuple[str, ...]
) -> None:
    path = recipe_file(**changes)
    with pytest.raises(UsageError) as error:
        read_recipe(path)
    for message in (str(path), *messages):
        assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_told_before_the_key_it_was_meant_to_be(recipe_file: Write) -> None:
    path = recipe_file()
    path.write_text(path.read_text().replace("layers = ", "layer = "))
    with pytest.raises(UsageError, match=r"encoder\.layer: .*did you mean 'layers'"):
        read_recipe(path)


def test_a_mistake_in_a_section_of_a_section_is_told(recipe_file: Write) -> None:
    path = recipe_file()
    path.write_text(path.read_text() + "[finetune.augmentation]\nspeeed = 0.1\n")
    with pytest.raises(UsageError, match=r"finetune\.augmentation\.speeed: .*did you mean 'speed'"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        (
            {"sed": 1, "encoder": {"layer": 3, "max_s": 31}, "head": {"kind": "quadratic", "dropout": 2}},
            ("sed:", "encoder.layer:", "encoder.max_s:", "head.kind:", "head.dropout:"),
        ),
        (
            {"corpora": [{"name": "csv", "license": "MIT"}, {"folder": ".", "role": "tset", "licence": "own"}]},
            ("corpora.0.license: ", "corpora.0.folder: ", "corpora.1.name: ", "corpora.1.role: "),
        ),
        (
            {"encoder": {"pooled": [3], "finetune": 3}, "schedule": {"batch": 1}, "head": {"kind": "stack"}},
            ("encoder.pooled (3,) exceeds", "encoder.finetune = 3 exceeds", "normalises over the batch"),
        ),
        (
            {"labels": ["angy", "happy", "hapy", "happy"], "head": {"kind": "logistic", "mix": "weighted", "rank": 1}},
            ("label 'angy'", "label 'hapy'", "name one twice", "kind = 'logistic' is fitted at once"),
        ),
        (
            {"head": {"kind": "linear", "rank": 8, "hidden": [4]}, "augmentation": {"mask": 2, "copies": -1}},
            ("rank needs kind", "hidden needs kind", "augmentation.mask:", "augmentation.copies:"),
        ),
    ],
)
def test_all_mistakes_are_reported_at_once(
    recipe_file: Write, changes: dict[str, Any], messages: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        read_recipe(recipe_file(**changes))
    assert [message for message in messages if message not in str(error.value)] == []
    assert "\n" not in str(error.value)


def test_a_misspelt_key_is_not_missing_too(recipe_file: Write) -> None:
    path = recipe_file()
    path.write_text(path.read_text().replace("layers = ", "layer = ").replace("pooled = ", "poled = "))
    with pytest.raises(UsageError) as error:
        read_recipe(path)
    assert str(error.value).count("did you mean") == 2
    assert "required" not in str(error.value)


def test_an_empty_recipe_lacks_all_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    with pytest.raises(UsageError, match=r"name: Field required; corpora: Field required; encoder: Field required"):
        read_recipe(tmp_path / "empty.toml")


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_the_reference_says_what_every_key_means(section: str) -> None:
    kind = Recipe.model_fields[section].annotation if section else Recipe
    keys = [
        key
        for key, field in kind.model_fields.items()
        if key not in (*SECTIONS, "corpora", "values", "sounds", "augmentation", "rounds", "scratch")
    ]
    assert [key for key in keys if not meaning(kind, key)] == []
    text = recipe_markdown()
    assert [key for key in keys if f"| `{key}` |" not in text] == []


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("name = [")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.toml").touch()
    for name, message in (
        ("gone.toml", "No such file"),
        (".", "cannot read recipe"),
        ("bad.toml", "is not valid TOML"),
        ("bytes.toml", "is not valid TOML"),
        ("empty.toml", "name: Field required"),
    ):
        with pytest.raises(UsageError, match=message):
            read_recipe(tmp_path / name)


@example({("augmentation", "gain_db"): 180_453.0})
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), anything, min_size=1, max_size=3))
def test_any_values_make_a_valid_recipe_or_a_usage_error(
    recipe_file: Write, values: dict[tuple[str, str], Any]
) -> None:
    changes: dict[str, Any] = {key: value for (section, key), value in values.items() if not section}
    for (section, key), value in values.items():
        if section:
            changes.setdefault(section, {})[key] = value
    path = recipe_file(**changes)
    with suppress(UsageError):
        recipe = read_recipe(path)
        assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
        copy = augment(np.ones(800, np.float32), recipe.augmentation, np.random.default_rng(recipe.seed))
        assert np.isfinite(copy).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_make_a_usage_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_recipe(path)


def test_corpora_are_left_out_by_name(recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of()
    assert [corpus.name for corpus in recipe.leave_out(["csv"]).corpora] == ["ravdess"]
    assert recipe.leave_out([]) == recipe
    assert recipe.leave_out(["csv", "ravdess"]).corpora == ()
    with pytest.raises(UsageError, match=r"--without ravdes: the recipe has ravdess, csv \(did you mean 'ravdess'\?\)"):
        recipe.leave_out(["ravdes"])


def test_layers_to_fine_tune_are_chosen_on_the_command_line(recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of()
    assert recipe.with_finetune(2) == recipe_of(encoder={"finetune": 2})
    assert recipe.with_finetune(2).with_finetune(0) == recipe
    assert recipe.with_merge(True) == recipe_of(encoder={"merge": True})
    assert recipe.with_merge(True).with_merge(False) == recipe
    with pytest.raises(UsageError, match=r"fine-tuning 3 layers: .*encoder\.finetune = 3 exceeds encoder\.layers = 2"):
        recipe.with_finetune(3)


@pytest.mark.parametrize("path", sorted((CONFIGS / "heads").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_heads_take_the_place_of_a_recipes(path: Path, recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of()
    changed = recipe.with_head(path.stem)
    assert changed == recipe.with_head(str(path))
    assert (changed.encoder, changed.corpora, changed.labels) == (recipe.encoder, recipe.corpora, recipe.labels)
    assert changed.head != recipe.head
    assert changed.schedule != recipe.schedule
    assert ("personal" in path.stem, "mfcc" in path.stem) == (
        changed.head.speaker == "id",
        changed.head.speaker == "mfcc",
    )


def test_a_head_that_is_not_there(recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = recipe_of()
    assert recipe.with_head(None) is recipe
    with pytest.raises(
        UsageError, match=r"--head 'bas': no such file here, .* base, deep, .*\(did you mean 'base'\?\)"
    ):
        recipe.with_head("bas")
    (tmp_path / "mine.toml").write_text("[head]\nkind = 'stack'\n[schedule]\nbatch = 1\n")
    with pytest.raises(UsageError, match="normalises over the batch"):
        recipe.with_head(str(tmp_path / "mine.toml"))
    (tmp_path / "mine.toml").write_text("[head]\nkinds = 'stack'\n[schedule]\n")
    with pytest.raises(UsageError, match=r"head\.kinds: .*did you mean 'kind'"):
        recipe.with_head(str(tmp_path / "mine.toml"))


def test_fine_tuning_has_defaults_of_its_own(recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of()
    assert recipe.finetune.augmentation.speed > recipe.augmentation.speed == 0
    assert recipe.finetune.batch < type(recipe.schedule)().batch
    assert recipe.finetune.average > recipe.schedule.average == 0
