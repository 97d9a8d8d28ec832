import socket
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from edge import doctor
from edge.bundle import Bundle
from edge.capture import open_source
from edge.capture.devices import Device
from edge.diagnosis import Check, Verdict
from edge.doctor import diagnose, self_test_waveform
from edge.door_checks import check_mqtt, check_web
from edge.encoder import Encoder
from edge.errors import AudioDeviceError
from edge.settings import CaptureSettings, MqttSettings, WebSettings, load_settings
from helpers.brokers import Mosquitto
from helpers.conversation import Conversation
from helpers.gpu import TENSORRT, PretendedGpu, gpu
from helpers.household import anna, enrol
from helpers.ports import free_port

__all__ = ["gpu"]

MICROPHONE = Device(0, "USB Mic", 48_000, 1, is_default=True, host_api="ALSA")


@pytest.fixture(autouse=True)
def microphones(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    devices = [MICROPHONE]
    monkeypatch.setattr(doctor, "list_devices", lambda: devices)
    return devices


def diagnosis(folder: Path | None, **overrides: object) -> dict[str, Check]:
    overrides["encoder.bundle"] = str(folder)
    return {check.name: check for check in diagnose(load_settings(environment={}, overrides=overrides))}


def test_a_healthy_device(bundle_folder: Path) -> None:
    checks = diagnosis(bundle_folder)
    assert {check.verdict for check in checks.values()} == {Verdict.GOOD}
    assert "sha256 of 4 files verified" in checks["bundle"].found
    assert "on CPUExecutionProvider, 1 thread(s)" in checks["self-test"].found
    assert checks["provider"].found == "cpu: the installed onnxruntime offers cpu"
    assert checks["settings"].found == "encoder.bundle (command line)"
    assert checks["microphones"].found == "USB Mic (default)"
    assert f"numpy {np.__version__}" in checks["packages"].found
    assert "CPUExecutionProvider" in checks["onnxruntime"].found


def test_a_damaged_bundle_is_broken(bundle_folder: Path, tmp_path: Path) -> None:
    for file in bundle_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "encoder.onnx").open("ab") as file:
        file.write(b"!")
    checks = diagnosis(tmp_path)
    assert checks["bundle"].verdict is checks["self-test"].verdict is Verdict.BROKEN
    assert "the manifest says" in checks["bundle"].found


def test_a_provider_that_is_wanted_but_not_in_use_is_broken(bundle_folder: Path) -> None:
    checks = diagnosis(bundle_folder, **{"encoder.provider": "cuda"})
    assert checks["bundle"].verdict is Verdict.GOOD
    assert checks["self-test"].verdict is Verdict.BROKEN
    assert "'cuda' was wanted, CPUExecutionProvider is in use" in checks["self-test"].found


def test_a_gpu_is_told_with_the_reason(bundle_folder: Path, gpu: PretendedGpu) -> None:
    checks = diagnosis(bundle_folder)
    assert checks["provider"].found == "cuda: the best that the installed onnxruntime offers"
    assert "on CUDAExecutionProvider" in checks["self-test"].found


def test_tensorrt_without_engines_is_broken_and_not_compiled(
    bundle_folder: Path, bundle: Bundle, gpu: PretendedGpu
) -> None:
    checks = diagnosis(bundle_folder, **{"encoder.provider": "tensorrt"})
    assert checks["provider"].verdict is checks["self-test"].verdict is Verdict.BROKEN
    command = f"3 of 3 engines are not built: affectd-export engines {bundle_folder}"
    assert command in checks["provider"].found
    assert command in checks["self-test"].found
    assert not gpu.opened
    settings = load_settings(environment={}, overrides={"encoder.provider": "tensorrt"}).settings.encoder
    Encoder.of(bundle, settings).load()
    checks = diagnosis(bundle_folder, **{"encoder.provider": "tensorrt"})
    assert {check.verdict for check in checks.values()} == {Verdict.GOOD}
    assert checks["provider"].found.startswith("tensorrt: it was asked for; 3 engines in ")
    assert f"on {TENSORRT}" in checks["self-test"].found


def test_which_voice_activity_detection_runs(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnosis(bundle_folder)["voice activity"].found == "earshot: installed"
    chosen = diagnosis(bundle_folder, **{"vad.detector": "webrtc"})["voice activity"]
    assert chosen.found == "webrtc: wanted by the settings"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fallback = diagnosis(bundle_folder)["voice activity"]
    assert (fallback.verdict, fallback.found) == (
        Verdict.GOOD,
        "webrtc: earshot, which hears more in noise, is not installed",
    )
    missing = diagnosis(bundle_folder, **{"vad.detector": "earshot"})["voice activity"]
    assert missing.verdict is Verdict.BROKEN


def test_microphones_may_be_absent(
    bundle_folder: Path, microphones: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    microphones.clear()
    checks = diagnosis(bundle_folder)
    assert checks["microphones"].verdict is Verdict.ABSENT
    assert checks["source"].verdict is Verdict.BROKEN, "affectd run would have none"
    assert diagnosis(bundle_folder, **{"capture.source": "-"})["source"].found == "standard input"

    def fail() -> list[Device]:
        raise AudioDeviceError("PyAudio is not installed")

    monkeypatch.setattr(doctor, "list_devices", fail)
    assert diagnosis(bundle_folder)["microphones"] == Check("microphones", Verdict.ABSENT, "PyAudio is not installed")


def test_two_onnxruntimes_are_broken(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.2.3" if name == "onnxruntime-gpu" else version(name))
    check = diagnosis(bundle_folder)["onnxruntime"]
    assert check.verdict is Verdict.BROKEN
    assert "overwrite each other" in check.found


def test_a_missing_onnxruntime_is_broken(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "edge.recognizer", raising=False)
    monkeypatch.delitem(sys.modules, "edge.encoder", raising=False)
    checks = diagnosis(bundle_folder)
    assert checks["onnxruntime"].verdict is checks["self-test"].verdict is Verdict.BROKEN
    assert checks["bundle"].verdict is Verdict.GOOD


def test_the_self_test_always_hears_the_same() -> None:
    waveform = self_test_waveform()
    assert waveform.dtype == np.float32
    assert len(waveform) == 24_000
    assert 0.01 < np.abs(waveform).max() <= 1
    assert np.array_equal(waveform, self_test_waveform())


def test_what_would_stop_a_run_is_broken(bundle_folder: Path, conversation: Conversation, tmp_path: Path) -> None:
    good = {"capture.source": str(conversation.path), "outputs.0.path": str(tmp_path / "events")}
    checks = diagnosis(bundle_folder, **good)
    assert {check.verdict for check in checks.values()} == {Verdict.GOOD}
    assert not (tmp_path / "events").exists()
    for name, overrides in (
        ("source", {"capture.source": str(tmp_path / "gone.wav")}),
        ("source", {"capture.source": str(tmp_path)}),
        ("source", {"capture.device": "Headset"}),
        ("source 2", {"sources.0.device": "USB", "sources.1.source": str(tmp_path / "gone.wav")}),
        ("outputs", {"outputs.0.path": str(tmp_path / "gone" / "events")}),
        ("outputs", {"outputs.0.type": "csv", "outputs.0.path": str(tmp_path)}),
        ("people", {"speakers.only": "nobody"}),
        ("people", {"sources.0.device": "USB", "sources.0.speakers": "nobody"}),
    ):
        broken = [check.name for check in diagnosis(bundle_folder, **overrides).values() if check.verdict != "good"]
        assert broken == [name], overrides


def test_each_of_several_sources_has_a_line_of_its_own(bundle_folder: Path, tmp_path: Path) -> None:
    gone = {"sources.0.name": "hall", "sources.0.source": str(tmp_path / "gone.wav")}
    checks = diagnosis(bundle_folder, **gone, **{"sources.1.source": "-", "sources.2.name": "desk"})
    found = {name: check.found for name, check in checks.items() if name.startswith("source")}
    assert list(found) == ["source hall", "source 2", "source desk"], "one that is broken hides no other"
    assert "gone.wav" in found.pop("source hall")
    assert found == {"source 2": "standard input", "source desk": "microphone 'USB Mic'"}


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:{port}", "ws://127.0.0.1:{port}/hall", "unix:{folder}/hall"])
def test_an_address_is_no_file(form: str, bundle_folder: Path, tmp_path: Path) -> None:
    address = form.format(port=free_port(), folder=tmp_path)
    settings = {"capture.source": address, "outputs.0.path": str(tmp_path / "events")}

    def source() -> tuple[Verdict, str]:
        check = diagnosis(bundle_folder, **settings)["source"]
        return check.verdict, check.found

    assert source() == (Verdict.GOOD, f"waits for somebody to send to {address}")
    running = open_source(CaptureSettings(source=address))
    blocks = running.blocks()
    next(blocks)
    assert source() == (Verdict.GOOD, f"{address}: somebody waits there, as an affectd that runs would")
    running.close()
    assert not list(blocks)


@pytest.mark.parametrize(
    "address", ["tcp://192.0.2.1:7000", "ws://0.0.0.0:7000/", "unix:{folder}/no/folder", "tpc://a:1"]
)
def test_an_address_where_nobody_can_wait_is_broken(address: str, bundle_folder: Path, tmp_path: Path) -> None:
    checks = diagnosis(bundle_folder, **{"capture.source": address.format(folder=tmp_path)})
    assert checks["source"].verdict is Verdict.BROKEN


def test_the_state_of_the_store_and_its_key(bundle_folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    def store() -> tuple[Verdict, str]:
        check = diagnosis(bundle_folder, **{"speakers.store": str(tmp_path)})["speaker store"]
        return check.verdict, check.found

    key, database = tmp_path / "store.key", tmp_path / "speakers.db"
    assert store() == (Verdict.GOOD, f"none yet: {database} appears with the first person who is enrolled")
    assert not list(tmp_path.iterdir())
    enrol(tmp_path, bundle, "Anna", anna, clips=1)
    assert store() == (Verdict.GOOD, f"{database} is sound and the key {key} opens it; 1 enrolled")
    right = key.read_text()
    for break_key, found in (
        (lambda: key.write_text("0" * 64), "is not the key of"),
        (lambda: key.write_text("short"), "is no key"),
        (lambda: key.write_text(right) and key.chmod(0o644), "others can use this key"),
        (key.unlink, "the key of the store is missing"),
    ):
        break_key()
        verdict, text = store()
        assert verdict is Verdict.BROKEN
        assert found in text
        key.touch(mode=0o600)
        key.chmod(0o600)
        key.write_text(right)
    database.write_bytes(b"no database at all")
    assert store()[0] is Verdict.BROKEN


def test_telemetry_is_off(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnosis(bundle_folder)["telemetry"].found.startswith("off: ")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert diagnosis(bundle_folder)["telemetry"].verdict is Verdict.BROKEN


def test_the_doors_are_tried(bundle_folder: Path, tmp_path: Path) -> None:
    checks = diagnosis(bundle_folder)
    assert checks["web"] == Check("web", Verdict.GOOD, "off, by the settings")
    assert checks["mqtt"] == Check("mqtt", Verdict.GOOD, "off, by the settings")

    pytest.importorskip("aiohttp")
    port = free_port()
    doors = {"web.address": f"127.0.0.1:{port}", "web.dashboard": True}
    assert check_web(web_settings(**doors)) == Check(
        "web", Verdict.GOOD, f"http://127.0.0.1:{port}, with the dashboard"
    )
    with socket.create_server(("127.0.0.1", port)):
        assert "somebody listens there" in check_web(web_settings(**doors)).found
    for address, wrong in (("0.0.0.0:8377", "web.token"), ("8377", "of the form"), ("192.0.2.1:8377", "cannot listen")):
        check = check_web(web_settings(**{"web.address": address, "web.token": "x" * ("192" in address)}))
        assert check.verdict is Verdict.BROKEN
        assert wrong in check.found


def test_a_package_that_a_door_needs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    check = check_mqtt(MqttSettings(broker="mqtt://127.0.0.1:1"))
    assert check.verdict is Verdict.BROKEN
    assert "pip install 'affectd[mqtt]'" in check.found


def test_the_broker_is_asked_to_let_this_machine_in(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path).start()
    assert check_mqtt(MqttSettings(broker=broker.address)) == Check(
        "mqtt", Verdict.GOOD, f"{broker.address} lets whoever has no mqtt.user in"
    )
    broker.end()
    check = check_mqtt(MqttSettings(broker=broker.address))
    assert (check.verdict, check.found) == (Verdict.ABSENT, f"{broker.address} cannot be reached: Connection refused")
    closed = Mosquitto(tmp_path, "allow_anonymous false\n").start()
    check = check_mqtt(MqttSettings(broker=closed.address, user="affectd", password="wrong"))
    assert check.verdict is Verdict.ABSENT
    assert "refuses user 'affectd'" in check.found
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check = check_mqtt(MqttSettings(broker=f"mqtt://127.0.0.1:{silent.getsockname()[1]}"))
        assert "does not answer as a broker" in check.found


def web_settings(**overrides: object) -> WebSettings:
    return load_settings(environment={}, overrides=overrides).settings.web
