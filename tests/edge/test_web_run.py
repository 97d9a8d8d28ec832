"""The web door of a real ``affectd run``: the same events as at any other door, and settings that change meanwhile."""

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edge.daemon.client import attach
from helpers.web import HANGS_S, Answer, ask, free_port, messages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
Start = Callable[..., "subprocess.Popen[bytes]"]


def is_there(url: str) -> bool:
    try:
        return ask(url).status == 200
    except aiohttp.ClientError:
        return False


def wait_for(url: str) -> None:
    deadline_s = time.monotonic() + HANGS_S
    while not is_there(url):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


async def from_all_doors(url: str, pid: int) -> list[list[dict[str, Any]]]:
    """Return the events of a run until its end, from each of its doors."""

    async def stream(client: aiohttp.ClientSession) -> list[dict[str, Any]]:
        async with client.get(f"{url}/events?after=0") as response:
            found = [message async for message in messages(response) if message.data]
        assert [message.id.split("-")[1] for message in found] == [str(index + 1) for index in range(len(found))]
        return [json.loads(message.data) for message in found]

    async def websocket(client: aiohttp.ClientSession) -> list[dict[str, Any]]:
        async with client.ws_connect(f"{url}/events?after=0") as connection:
            return [json.loads(message.data) async for message in connection]

    def control_socket() -> list[dict[str, Any]]:
        with closing(attach(pid)) as client:
            return list(client.events(after=0))

    async with aiohttp.ClientSession() as client:
        return await asyncio.gather(stream(client), websocket(client), asyncio.to_thread(control_socket))


def test_every_door_has_the_same_events(start: Start) -> None:
    port = free_port()
    source, address = ROOT / "examples" / "conversation.flac", f"web.address=127.0.0.1:{port}"
    process = start("run", "--json", "--source", source, "--set", address, "--set", "room.remember=false")
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/ready")
    assert ask(f"{url}/status").json["answer"]["pid"] == process.pid
    assert ask(f"{url}/do/pause", "POST", json={"source": "hal"}).status == 400
    found = asyncio.run(from_all_doors(url, process.pid))
    output, _ = process.communicate()
    lines = [json.loads(line) for line in output.splitlines()]
    assert sum(event["type"] == "utterance" for event in lines) == 6
    for events in found:
        assert events == lines


def test_settings_of_the_door_change_by_what_is_asked_through_it(
    start: Start, bundle_folder: Path, tmp_path: Path
) -> None:
    config, port = tmp_path / "affectd.toml", free_port()
    settings = f'[encoder]\nbundle = "{bundle_folder}"\n[capture]\nsource = "unix:{tmp_path}/hall"\n'
    web = f'[web]\naddress = "127.0.0.1:{port}"\ntoken = '
    config.write_text(f'{settings}{web}"old"\n')
    process = start("run", "--json", "--config", config)
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/health")

    def reload(token: str) -> Answer:
        return ask(f"{url}/do/reload", "POST", {"Authorization": f"Bearer {token}"}, json={})

    async def next_id(after: str, token: str) -> str:
        headers = {"Last-Event-ID": after, "Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(headers=headers) as client, client.get(f"{url}/events") as response:
            async for message in messages(response):
                if message.id:
                    return str(message.id)
        return ""

    assert reload("old").json == {"answer": {"changed": []}}
    known = asyncio.run(next_id("", "old"))
    config.write_text(f'{settings}{web}"new"\n')
    assert reload("old").json == {"answer": {"changed": ["web.token"]}}
    wait_for(f"{url}/status?token=new")
    assert ask(f"{url}/status?token=old").status == 401
    run, _, number = known.partition("-")
    assert asyncio.run(next_id(known, "new")) == f"{run}-{int(number) + 1}"
    config.write_text(f'{settings}[web]\naddress = "0.0.0.0:{port}"\n')
    refused = reload("new")
    assert (refused.status, "needs web.token" in refused.json["error"]) == (400, True)
    config.write_text(settings)
    assert reload("new").status == 200
    deadline_s = time.monotonic() + HANGS_S
    while is_there(f"{url}/health"):
        assert time.monotonic() < deadline_s
    process.terminate()
    assert process.wait(HANGS_S) == 0


def test_a_server_whose_port_was_in_use_is_opened_by_a_reload(
    start: Start, bundle_folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "affectd.toml"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = f'[encoder]\nbundle = "{bundle_folder}"\n[capture]\nsource = "unix:{tmp_path}/hall"\n'
        config.write_text(f'{settings}[web]\naddress = "127.0.0.1:{port}"\n')
        process = start("run", "--json", "--config", config)
        assert process.stdout
        assert any(b"Address already in use" in line for line in process.stdout)
    with closing(attach(process.pid)) as client:
        assert client.ask("reload") == {"changed": []}
    wait_for(f"http://127.0.0.1:{port}/health")
    process.terminate()
    assert process.wait(HANGS_S) == 0


@pytest.mark.parametrize("package", ["aiohttp", "prometheus_client"])
def test_a_package_that_is_missing_is_an_error_that_names_the_extra(start: Start, package: str) -> None:
    program = f"import sys; sys.modules['{package}'] = None; from edge.cli.app import main; main()"
    source, address = ROOT / "examples" / "conversation.flac", f"web.address=127.0.0.1:{free_port()}"
    process = start("run", "--source", source, "--set", address, program=("-c", program))
    _, said = process.communicate()
    assert process.returncode == 2
    assert f"web.address needs the package {package}: pip install 'affectd[web]'" in said.decode()
