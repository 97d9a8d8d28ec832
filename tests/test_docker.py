"""The Dockerfiles: what can be checked without docker, and where its daemon answers, the image itself."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "configs" / "docker"
DOCKERFILES = sorted(path for path in FOLDER.glob("Dockerfile*") if not path.name.endswith(".dockerignore"))
REGISTRIES = ("python:", "nvcr.io/nvidia/")
"""Docker's own, and NVIDIA's for Jetsons: both public."""
BUILT_FROM = {"pyproject.toml", "README.md", "LICENSE", "configs", "edge", "calibrate", "export"}
"""What the package is; ``edge/configs`` is a link to ``configs``."""
NO_NETWORK = re.compile(r"dial tcp|timeout|no such host|network is unreachable|temporary failure", re.I)

each_dockerfile = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return the instructions with their arguments on one line."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(name, " ".join(arguments.split())) for name, arguments in lines]


def last(dockerfile: Path, name: str) -> str:
    return [arguments for found, arguments in instructions(dockerfile) if found == name][-1]


def test_there_is_one_for_a_cpu_and_one_for_a_jetson() -> None:
    assert [path.name for path in DOCKERFILES] == ["Dockerfile", "Dockerfile.jetson"]
    assert "NOT RUN" in DOCKERFILES[1].read_text(encoding="utf-8")


@each_dockerfile
def test_images_are_public_and_pinned(dockerfile: Path) -> None:
    images = [arguments.split()[0] for name, arguments in instructions(dockerfile) if name == "FROM"]
    assert images
    for image in images:
        assert image.startswith(REGISTRIES)
        assert re.search(r":[\w.-]*\d[\w.-]*$", image)
        assert "latest" not in image
    for name, arguments in instructions(dockerfile):
        if name == "RUN":
            assert not re.search(r"https?://|index-url|find-links|trusted-host", arguments)


@each_dockerfile
def test_what_is_copied_is_there_and_is_the_package(dockerfile: Path) -> None:
    copied = [arguments.split() for name, arguments in instructions(dockerfile) if name == "COPY"]
    sources = [source for words in copied if not words[0].startswith("--from") for source in words[:-1]]
    assert set(sources) == BUILT_FROM | {"configs/docker/asound.conf"}
    ignored = dockerfile.with_name(f"{dockerfile.name}.dockerignore").read_text(encoding="utf-8").splitlines()
    wanted = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for source in sources:
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) or source.startswith(f"{pattern}/") for pattern in wanted)


@each_dockerfile
def test_what_is_installed_is_the_device_side(dockerfile: Path) -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = re.findall(r"'\.\[([\w,]+)\]'", " ".join(arguments for _, arguments in instructions(dockerfile)))
    (extras,) = (found.split(",") for found in installed)
    assert set(extras) <= set(project["optional-dependencies"])
    assert extras == (["cpu", "mic"] if dockerfile.name == "Dockerfile" else ["mic"])


@each_dockerfile
def test_it_runs_affectd_as_an_ordinary_user_and_without_a_network(dockerfile: Path) -> None:
    names = [name for name, _ in instructions(dockerfile)]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert last(dockerfile, "USER") == "affectd"
    assert "EXPOSE" not in names
    assert json.loads(last(dockerfile, "ENTRYPOINT")) == ["affectd"]
    assert json.loads(last(dockerfile, "CMD"))[0] == "run"
    check = last(dockerfile, "HEALTHCHECK")
    assert json.loads(check[check.index("[") :]) == ["affectd", "status"]
    assert last(dockerfile, "VOLUME") == "/data"
    assert "XDG_DATA_HOME=/data" in last(dockerfile, "ENV")
    usage = dockerfile.read_text(encoding="utf-8").partition("FROM")[0]
    assert "--network none" in usage
    assert "--cap-drop ALL" in usage


@pytest.mark.slow
def test_the_image_hears_the_example(tmp_path: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no docker daemon answers here")
    image = f"affectd-test-{os.getpid()}"
    build = ["docker", "build", "-q", "-f", "configs/docker/Dockerfile", "-t", image, "."]
    built = subprocess.run(
        build, cwd=ROOT, env=os.environ | {"DOCKER_BUILDKIT": "1"}, capture_output=True, text=True, check=False
    )
    if built.returncode and NO_NETWORK.search(built.stderr):
        pytest.skip(f"docker reaches no registry here: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    try:
        hardening = ("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")
        examples = f"{ROOT / 'examples'}:/examples:ro"
        arguments = ("run", "--source", "/examples/conversation.flac", "--fast")
        heard = subprocess.run(
            ["docker", "run", "--rm", *hardening, "-v", examples, image, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert heard.returncode == 0, heard.stderr
        events = [json.loads(line) for line in heard.stdout.splitlines()]
        assert sum(event["type"] == "utterance" for event in events) == 6
    finally:
        subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)
