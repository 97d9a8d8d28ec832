"""The web door as whoever asks meets it: what is answered, and who is not let in."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.doors import Inside, open_door
from edge.doors.web import address, pages, server
from edge.doors.web.address import parse_web_address
from edge.errors import OutputError, UsageError
from edge.recent import RecentEvents
from edge.settings import WebSettings
from helpers.web import Serving, actions, ask, free_port, raw, serving

ELSEWHERE = "https://elsewhere.example"


def door(**settings: Any) -> Any:
    return open_door(WebSettings(**settings), Inside(actions({}), RecentEvents()))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8377", "127.0.0.1", 8377), ("[::1]:80", "::1", 80), ("Hall.local:1", "hall.local", 1)],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_web_address(text) == address.WebAddress(host, port)


@pytest.mark.parametrize(
    "text",
    ["8377", ":8377", "127.0.0.1", "127.0.0.1:0", "h:70000", "u@h:1", "h:1/x", "h:1?x", "http://h:1", " h:1", "::1"],
)
def test_an_address_that_is_wrong_is_an_error_that_shows_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"not of the form 127\.0\.0\.1:8377"):
        door(address=text)


@pytest.mark.parametrize("origin", ["*", "null", "example.org", "https://example.org/", "https://example.org/page"])
def test_an_origin_that_is_wrong_is_an_error(origin: str) -> None:
    with pytest.raises(UsageError, match="not of the form https://"):
        door(address="127.0.0.1:8377", origins=(origin,))


@given(st.text())
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert parse_web_address(text).port > 0


def test_an_address_that_others_reach_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reached in ("0.0.0.0:8377", "[::]:8377", "hall.local:8377", "192.168.1.2:8377"):
        with pytest.raises(UsageError, match="so that it needs"):
            door(address=reached)
        door(address=reached, token="secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "web-token").write_text("secret\n")
    door(address="0.0.0.0:8377")


def test_an_address_in_use_is_waited_for_and_then_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BIND_S", 0.3)
    with serving() as there:
        second = door(address=f"127.0.0.1:{there.port}")
        with pytest.raises(
            OutputError, match=rf"cannot listen at http://127.0.0.1:{there.port}: Address already in use"
        ):
            second.open()
        second.close()
        assert ask(f"{there.url}/health").status == 200


def test_an_address_that_is_not_of_this_machine_is_an_error() -> None:
    for host in ("192.0.2.1", "nowhere.invalid"):
        nowhere = door(address=f"{host}:{free_port()}", token="secret")
        with pytest.raises(OutputError, match=f"cannot listen at http://{host}:"):
            nowhere.open()
        nowhere.close()


def test_a_door_takes_over_from_another_that_closes() -> None:
    with serving(token="old") as there:
        threading.Timer(0.5, there.door.close).start()
        successor = door(address=f"127.0.0.1:{there.port}", token="new")
        successor.open()
        try:
            assert ask(f"{there.url}/status?token=new").status == 200
        finally:
            successor.close()


def test_what_is_asked_for_is_done_or_why_not() -> None:
    with serving() as there:

        def do(name: str, **request: Any) -> tuple[int, Any]:
            answer = ask(f"{there.url}/do/{name}", "POST", **request)
            return answer.status, answer.json

        assert do("double", json={"number": 4}) == (200, {"answer": 8})
        assert do("double", json={}) == (400, {"error": "double needs a number"})
        assert do("lock", json={}) == (503, {"error": "the store is locked"})
        assert do("dubble", json={})[0] == 404
        assert "did you mean 'double'?" in do("dubble", json={})[1]["error"]
        assert do("fail", json={}) == (500, {"error": "/do/fail failed; the log of affectd run says why"})
        assert ask(f"{there.url}/status").json["answer"]["waiting"] == 3
        assert ask(f"{there.url}/do/double").status == 405
        assert "did you mean '/events'?" in ask(f"{there.url}/evnts").json["error"]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"\xff{}", "application/json", 400),
        (b'{"number": 1}', "application/json; charset=utf-8", 200),
        (b'{"number": 1}', "text/plain", 415),
        (b"number=1", "application/x-www-form-urlencoded", 415),
        (b'{"number": 1' + b" " * 70_000 + b"}", "application/json", 413),
    ],
)
def test_a_request_is_a_json_object_and_no_form_of_a_page(
    there: Serving, body: bytes, content_type: str, expected: int
) -> None:
    answer = ask(f"{there.url}/do/double", "POST", {"Content-Type": content_type}, data=body)
    assert (answer.status, "error" in answer.json) == (expected, expected != 200)


@pytest.fixture(scope="module")
def there() -> Any:
    with serving(origins=(ELSEWHERE,)) as serving_door:
        yield serving_door


def test_a_request_that_is_said_to_be_compressed_and_is_not_is_an_error(there: Serving) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert ask(f"{there.url}/do/double", "POST", headers, data=b'{"number": 1}').status == 400


def test_every_answer_forbids_a_browser_what_nobody_needs(there: Serving) -> None:
    for path in ("/", "/status", "/nowhere", "/metrics"):
        headers = ask(f"{there.url}{path}").headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_only_by_its_own_names_is_it_reached_from_this_machine(there: Serving) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
        assert ask(f"{there.url}/status", headers={"Host": f"{host}:{there.port}"}).status == 200
    for host in ("evil.example", f"evil.example:{there.port}", "localhost", "localhost:1", ""):
        assert ask(f"{there.url}/status", headers={"Host": host}).status == 403
        assert ask(f"{there.url}/health", headers={"Host": host}).status == 200
    assert b" 403 " in raw(there.port, b"GET /status HTTP/1.0\r\n\r\n")
    twice = f"Host: localhost:{there.port}\r\nHost: evil.example\r\n".encode()
    assert b" 200 " not in raw(there.port, b"GET /status HTTP/1.1\r\n" + twice + b"\r\n")


def test_other_pages_ask_only_where_they_are_welcome(there: Serving) -> None:
    def origin(value: str, path: str = "/status", method: str = "GET") -> Any:
        return ask(f"{there.url}{path}", method, {"Origin": value})

    assert origin(there.url).status == 200
    assert "Access-Control-Allow-Origin" not in origin(there.url).headers
    assert origin(ELSEWHERE).headers["Access-Control-Allow-Origin"] == ELSEWHERE
    assert origin(ELSEWHERE, "/nowhere").headers["Vary"] == "Origin"
    preflight = origin(ELSEWHERE, "/do/double", "OPTIONS")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Methods"]) == (204, "GET, POST")
    for other in ("https://evil.example", "null", ELSEWHERE + ":444", f"http://127.0.0.1:{there.port + 1}", ""):
        for path in ("/", "/status", "/events", "/live", "/page/x"):
            refused = origin(other, path)
            assert (refused.status, "Access-Control-Allow-Origin" in refused.headers) == (403, False)
        assert origin(other, "/do/double", "OPTIONS").status == 403


def test_without_the_token_nothing_is_told_but_how_it_is() -> None:
    with serving(token="sésame", origins=(ELSEWHERE,)) as there:
        quoted = "s%C3%A9same"
        for path in ("/", "/status", "/events", "/live", "/metrics", "/nowhere"):
            for wrong in ("", "?token=", "?token=sesame", "?token=%00", "?token=%ff"):
                answer = ask(f"{there.url}{path}{wrong}")
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert ask(f"{there.url}{path}", headers={"Authorization": f"Basic {quoted}"}).status == 401
        assert ask(f"{there.url}/do/double", "POST", json={}).status == 401
        assert ask(f"{there.url}/status?token={quoted}").status == 200
        assert ask(f"{there.url}/status", headers={"Authorization": "bearer sésame"}).status == 200
        assert [ask(f"{there.url}{path}").status for path in ("/health", "/ready")] == [200, 200]
        assert ask(f"{there.url}/status", "OPTIONS", {"Origin": ELSEWHERE}).status == 204
        assert ask(f"{there.url}/status", "OPTIONS").status == 401


def test_only_files_of_the_dashboard_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<title>affectd</title>")
    (folder / "app.js").write_text("1")
    (folder / "notes.txt").write_text("x")
    (tmp_path / "secret.js").write_text("x")
    (folder / "folder.js").mkdir()
    monkeypatch.setattr(pages, "FOLDER", folder)
    with serving(dashboard=True) as there:
        assert ask(there.url).headers["Content-Type"] == "text/html; charset=utf-8"
        assert ask(f"{there.url}/page/app.js").headers["Content-Type"] == "text/javascript; charset=utf-8"
        names = ("../secret.js", "..%2fsecret.js", "%2e%2e/secret.js", "..", ".", "", "notes.txt", "x.js", "a%00.js")
        for name in (*names, f"/{tmp_path}/secret.js", "..%5csecret.js", "folder.js"):
            found = raw(there.port, f"GET /page/{name} HTTP/1.1\r\nHost: localhost:{there.port}\r\n\r\n".encode())
            assert found.split()[1] in (b"404", b"403", b"400"), name
    with serving() as there:
        assert "/events" in ask(there.url).text
        assert ask(f"{there.url}/page/app.js").status == 404


def test_headers_that_are_no_headers_end_the_connection_and_nothing_else(there: Serving) -> None:
    start = f"GET /status HTTP/1.1\r\nHost: localhost:{there.port}\r\n".encode()
    for data in (
        start + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        start + b"".join(b"X%d: x\r\n" % number for number in range(5_000)) + b"\r\n",
        b"\0\1\2\r\n\r\n",
        start + b"Content-Length: -1\r\n\r\n",
        start + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ):
        with suppress(ConnectionResetError, BrokenPipeError):
            assert b" 200 " not in raw(there.port, data)[:20] or b"websocket" in data
    assert ask(f"{there.url}/health").status == 200


def test_more_connections_than_anybody_needs_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(server, "IDLE_S", 0.5)
    with serving() as there:
        silent = [socket.create_connection(("127.0.0.1", there.port)) for _ in range(4)]
        assert silent[-1].recv(1) == b""
        for connection in silent[:-1]:
            assert connection.recv(1) == b""
            connection.close()
        deadline_s = time.monotonic() + 10
        while ask(f"{there.url}/health").status != 200:
            assert time.monotonic() < deadline_s
