from pathlib import Path

import pytest
from pydantic import BaseModel

from calibrate.encoders.shapes import CompactShape, WhisperStudentShape
from calibrate.recipe.recipe import read_toml
from calibrate.recipe.reference import meaning, recipe_markdown
from export.distil.student_recipe import DistilRecipe, StudentAugmentation

SECTIONS = ("student", "augmentation")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PAGE = recipe_markdown(DistilRecipe)


@pytest.mark.parametrize("kind", [DistilRecipe, WhisperStudentShape, CompactShape, StudentAugmentation])
def test_the_reference_says_what_every_key_means(kind: type[BaseModel]) -> None:
    keys = [key for key in kind.model_fields if key not in SECTIONS]
    assert [key for key in keys if not meaning(kind, key)] == []
    assert [key for key in keys if f"| `{key}` |" not in PAGE] == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("distil-*.toml")), ids=lambda path: path.stem)
def test_the_reference_knows_every_key_of_a_recipe_that_comes_along(path: Path) -> None:
    recipe = read_toml(path, DistilRecipe)
    keys = recipe.model_fields_set | recipe.student.model_fields_set | recipe.augmentation.model_fields_set
    assert [key for key in keys - set(SECTIONS) if f"| `{key}` |" not in PAGE] == []


def test_each_kind_of_student_has_its_table() -> None:
    assert '### `[student] kind = "whisper"`' in PAGE
    assert '### `[student] kind = "compact"`' in PAGE
    assert "[[corpora]]" not in PAGE
