import ast
import fnmatch
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edge", "calibrate", "export")
TRAINING_ONLY = {"torch", "torchaudio", "transformers", "accelerate", "scikit-learn", "pandas", "matplotlib", "onnx"}
BIGGEST_BYTES = 20_000_000
LONGEST_FILE = 260
LONGEST_FUNCTION = 60

LINK = re.compile(r"\]\(<?([^)>\s#]+)[^)]*\)|(?:src|href)=\"([^\"#]+)\"")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|root)/\w")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    """The files under version control, or about to be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name for name in listing.stdout.decode().split("\0") if name)
    return [path for path in paths if path.is_file()]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def test_a_device_installs_nothing_of_the_training_side(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    base = names(project["project"]["dependencies"])
    for installed in (base, base | names(extras["mic"] + extras["cpu"]), base | names(extras["mic"] + extras["gpu"])):
        assert not installed & TRAINING_ONLY
    assert not {"onnxruntime", "onnxruntime-gpu"} & base
    assert names(extras["train"]) >= TRAINING_ONLY


PROVIDES = {"paho": "paho-mqtt", "sklearn": "scikit-learn", "webrtcvad": "webrtcvad-wheels"}
"""Module to distribution, where they are called differently."""


def imported(folder: Path) -> set[str]:
    """Return the modules, by their top-level names, that the files of a folder import from elsewhere."""
    found = set()
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        branches = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
        for_types = [node for node in branches if ast.unparse(node.test) == "TYPE_CHECKING"]
        unrun = {id(inside) for node in for_types for statement in node.body for inside in ast.walk(statement)}
        for node in ast.walk(tree):
            if id(node) in unrun:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return {name for name in found if name[0] != "_"} - set(sys.stdlib_module_names) - set(PACKAGES)


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("edge", ("cpu", "mic", "mqtt", "web")),
        ("calibrate", ("train", "cpu")),
        ("export/cli", ("train", "cpu")),
        ("export/bundle", ("train", "cpu")),
        ("export/distil", ("train", "cpu")),
        ("export/graph", ("train", "cpu")),
        ("export/speaker", ("train", "cpu")),
        ("export/thin", ("train", "cpu")),
        ("export/measure", ("train", "cpu", "bench")),
    ],
)
def test_what_a_command_imports_is_installed_with_its_extra(
    folder: str, extras: tuple[str, ...], project: dict[str, Any]
) -> None:
    declared = names(project["project"]["dependencies"])
    for extra in extras:
        declared |= names(project["project"]["optional-dependencies"][extra])
    optional = {"tensorrt"}
    missing = {PROVIDES.get(name, name).replace("_", "-") for name in imported(ROOT / folder)} - declared - optional
    assert missing == set()


def test_commands_can_be_called(project: dict[str, Any]) -> None:
    assert set(project["project"]["scripts"]) == {"affectd", "affectd-calibrate", "affectd-export"}
    for target in project["project"]["scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_version_is_in_one_place(project: dict[str, Any]) -> None:
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "edge.__version__"}


def test_the_citation_is_in_step(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation), "what every citation file needs"
    assert (citation["type"], citation["authors"]) == ("software", [{"name": "The affectd authors"}])
    assert citation["version"] == __version__
    assert citation["license"] == project["project"]["license"]


def test_a_wheel_holds_every_module_the_bundles_and_the_configs(project: dict[str, Any]) -> None:
    for package in PACKAGES:
        for module in (ROOT / package).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"setuptools does not find {module.relative_to(ROOT)}"
    patterns = project["tool"]["setuptools"]["package-data"]["edge"]
    folders = ("bundles", "configs", "configs/heads")
    data = [path for name in folders for path in (ROOT / "edge" / name).rglob("*") if path.is_file()]
    data = [path for path in data if path.parent.name != "docker"]  # which builds from a checkout
    for path in (ROOT / "edge" / "py.typed", *data):
        name = path.relative_to(ROOT / "edge").as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), f"{name} is not in package-data"


def test_links_in_the_documentation_lead_somewhere(tracked: list[Path]) -> None:
    pages = [path for path in tracked if path.suffix == ".md"]
    assert pages
    for page in pages:
        for groups in LINK.findall(page.read_text(encoding="utf-8")):
            link = "".join(groups)
            if not re.match(r"[a-z]+:", link):
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}"


def test_no_file_is_too_big_for_the_repository(tracked: list[Path]) -> None:
    sizes = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in tracked}
    assert {name: size for name, size in sizes.items() if size > BIGGEST_BYTES} == {}


def test_no_text_names_a_path_of_someones_machine(tracked: list[Path]) -> None:
    for path in tracked:
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        found = MACHINE_PATH.search(data.decode(errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} names {found.group() if found else ''}…"


def test_files_and_functions_stay_short() -> None:
    too_long = []
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LONGEST_FILE:
            too_long.append(path.relative_to(ROOT).as_posix())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                # A command has as many options as it needs.
                start = node.body[0].lineno if "cli" in path.parts else node.lineno
                if (node.end_lineno or 0) - start >= LONGEST_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT).as_posix()}: {node.name}")
    assert too_long == []


def test_make_lists_its_verbs() -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    listing = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    verbs = [line.split()[1] for line in listing.stdout.splitlines()]
    assert verbs == [
        "help",
        "system",
        "run",
        "test",
        "quick",
        "check",
        "docs",
        "soak",
        "fuzz",
        "screenshots",
        "fleet",
        "arm64",
        "bench",
        "default",
        "nano",
        "clean",
    ]
