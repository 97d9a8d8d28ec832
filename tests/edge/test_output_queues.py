import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from edge.errors import OutputError, UsageError
from edge.event import Event, status
from edge.meter import Meter
from edge.outputs import Outputs, output_queue
from edge.outputs.output_queue import REFRESH_S

HANGS_S = 10.0
STUCK = """
import sys
from edge.event import Event
from edge.outputs import Outputs, open_output
outputs = Outputs([open_output(json=True)])
outputs.open()
for number in range(1000):
    outputs.write(Event("status", "talk.wav", "", message=1000 * "x"))
outputs.close(flush_s=0.3)
print(outputs.lost["JSON lines"] > 900, file=sys.stderr)
"""


def nothing() -> None:
    pass


class Fake:
    """An output that keeps what it gets, and does what the test wants when it is called."""

    def __init__(
        self,
        name: str = "fake",
        on_open: Callable[[], None] = nothing,
        on_write: Callable[[], None] = nothing,
        on_close: Callable[[], None] = nothing,
    ) -> None:
        self.name, self.on_open, self.on_write, self.on_close = name, on_open, on_write, on_close
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")
        self.on_open()

    def write(self, event: Event) -> None:
        self.on_write()
        self.calls.append(event.message or "")

    def close(self) -> None:
        self.calls.append("close")
        self.on_close()


class Gate:
    """What holds a fake up until the test opens it."""

    def __init__(self) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._opened.wait(HANGS_S)

    def open(self) -> None:
        self._opened.set()


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class FakeDisplay(Fake):
    """An output that keeps what it is to show, too."""

    def __init__(self, can_refresh: bool = True, on_refresh: Callable[[], None] = nothing) -> None:
        super().__init__()
        self.can_refresh, self.on_refresh = can_refresh, on_refresh
        self.seen: list[Sequence[Meter]] = []
        self.refreshed = threading.Event()

    def refresh(self, meters: Sequence[Meter]) -> None:
        self.seen.append(meters)
        self.refreshed.set()
        self.on_refresh()


def event(number: int) -> Event:
    return Event("status", "talk.wav", "2026-01-02T03:04:05.678+01:00", message=str(number))


def numbers(*spans: range) -> list[str]:
    return [str(number) for span in spans for number in span]


def write(outputs: Outputs, count: int) -> None:
    for number in range(count):
        outputs.write(event(number))


@pytest.mark.parametrize("wait", [True, False])
def test_every_output_gets_all_events_in_order_between_open_and_close(wait: bool) -> None:
    fakes = [Fake("one"), Fake("two", on_write=lambda: time.sleep(0.001)), Fake("three")]
    with Outputs(fakes, wait) as outputs:
        write(outputs, 100)
    for fake in fakes:
        assert fake.calls == ["open", *numbers(range(100)), "close"]
    assert outputs.lost == {}


def test_a_slow_output_delays_nobody_and_loses_its_oldest_events() -> None:
    gate, troubles = Gate(), []
    slow, quick = Fake("slow", on_write=gate), Fake("quick")
    with Outputs([slow, quick], report=troubles.append, max_events=10) as outputs:
        outputs.write(event(0))
        assert gate.reached.wait(HANGS_S)
        started_s = time.monotonic()
        for number in range(1, 1000):
            outputs.write(event(number))
            while len(quick.calls) < number:
                time.sleep(0)
        assert time.monotonic() - started_s < HANGS_S
        gate.open()
    assert quick.calls == ["open", *numbers(range(1000)), "close"]
    assert slow.calls == ["open", "0", *numbers(range(990, 1000)), "close"]
    assert outputs.lost == {"slow": 989}
    assert troubles == ["output slow is too slow: events are lost"]


def test_with_waiting_a_full_queue_holds_the_producer_up_and_nothing_is_lost() -> None:
    gate = Gate()
    slow = Fake("slow", on_write=gate)
    outputs = Outputs([slow], wait=True, max_events=10)
    with outputs:
        producer = threading.Thread(target=write, args=(outputs, 100))
        producer.start()
        assert gate.reached.wait(HANGS_S)
        producer.join(0.2)
        assert producer.is_alive()
        gate.open()
        producer.join(HANGS_S)
    assert slow.calls == ["open", *numbers(range(100)), "close"]
    assert outputs.lost == {}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("No space left on device")])
@pytest.mark.parametrize("step", ["on_open", "on_write", "on_close"])
def test_a_broken_output_ends_no_run_and_its_events_are_counted(step: str, error: Exception) -> None:
    troubles: list[str] = []
    broken, healthy = Fake("broken", **{step: failing(error)}), Fake("healthy")
    with Outputs([broken, healthy], report=troubles.append) as outputs:
        write(outputs, 100)
    assert healthy.calls == ["open", *numbers(range(100)), "close"]
    assert outputs.lost == ({} if step == "on_close" else {"broken": 100})
    assert broken.calls.count("close") == 1
    assert troubles == ["output broken failed: No space left on device"]
    outputs.check()
    with pytest.raises(OutputError, match="output broken: No space left on device"):
        outputs.raise_failure()


def test_a_broken_output_holds_up_nobody_who_waits() -> None:
    with Outputs([Fake("broken", on_write=failing(ValueError("no"))), Fake()], wait=True, max_events=2) as outputs:
        write(outputs, 100)
    assert outputs.lost == {"broken": 100}


@pytest.mark.parametrize("error", [BrokenPipeError(), UsageError("cannot write x.csv: Permission denied")])
def test_a_run_ends_with_an_error_when_no_output_is_left(error: Exception) -> None:
    fakes = [Fake("one", on_write=failing(error)), Fake("two", on_open=failing(ValueError("no")))]

    def run() -> None:
        with Outputs(fakes, report=lambda message: None) as outputs:
            for number in range(1_000_000):
                outputs.write(event(number))
                time.sleep(0.001)

    with pytest.raises(type(error)) as caught:
        run()
    assert caught.value is error


def test_an_output_that_does_not_open_is_known_before_anything_is_written() -> None:
    fakes = [Fake(on_open=lambda: time.sleep(0.1)), Fake(on_open=failing(UsageError("cannot write x.csv")))]
    with Outputs(fakes, wait=True) as outputs, pytest.raises(UsageError, match=r"x\.csv"):
        outputs.raise_failure()


def test_a_slow_open_delays_nobody() -> None:
    gate = Gate()
    fake = Fake(on_open=gate)
    with Outputs([fake]) as outputs:
        write(outputs, 100)
        gate.open()
    assert fake.calls == ["open", *numbers(range(100)), "close"]


def test_what_an_output_does_not_write_in_time_at_the_end_is_lost() -> None:
    gate, troubles = Gate(), []
    stuck, healthy = Fake("stuck", on_write=gate), Fake("healthy", on_write=lambda: time.sleep(0.001))
    outputs = Outputs([stuck, healthy], report=troubles.append)
    outputs.open()
    write(outputs, 100)
    started_s = time.monotonic()
    outputs.close(flush_s=0.5)
    assert time.monotonic() - started_s < HANGS_S
    assert outputs.lost == {"stuck": 100}
    assert troubles == ["output stuck is too slow: its last 100 events are lost"]
    assert healthy.calls == ["open", *numbers(range(100)), "close"]
    gate.open()


def test_an_interrupted_producer_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.outputs.queued.FLUSH_S", 0.1)
    gate = Gate()
    outputs = Outputs([Fake(on_write=gate)], wait=True)

    def interrupted() -> None:
        with outputs:
            write(outputs, 3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert outputs.lost == {"fake": 3}
    gate.open()


def test_a_process_ends_although_nobody_reads_what_it_writes() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.wait(60) == 0
    assert process.communicate()[1].splitlines()[-1] == "True"


def test_a_display_is_refreshed_while_no_event_comes_and_nothing_else_is() -> None:
    display, other, meters = FakeDisplay(), Fake(), [Meter()]
    with Outputs([display, other], meters=meters) as outputs:
        for number in range(3):
            display.refreshed.clear()
            assert display.refreshed.wait(HANGS_S)
            outputs.write(event(number))
    assert display.calls == other.calls == ["open", *numbers(range(3)), "close"]
    assert all(seen is meters for seen in display.seen)


@pytest.mark.parametrize("can_refresh", [True, False])
def test_a_display_that_nobody_looks_at_is_left_alone(can_refresh: bool) -> None:
    display = FakeDisplay(can_refresh)
    with Outputs([display], meters=None if can_refresh else [Meter()]):
        assert not display.refreshed.wait(3 * REFRESH_S)
    assert display.calls == ["open", "close"]


@pytest.mark.parametrize("wait", [True, False])
def test_a_display_that_is_stuck_delays_nobody(wait: bool) -> None:
    gate = Gate()
    display, other = FakeDisplay(on_refresh=gate), Fake()
    outputs = Outputs([display, other], wait, meters=[Meter()])
    outputs.open()
    assert gate.reached.wait(HANGS_S)
    write(outputs, 100)
    outputs.stop_waiting()
    outputs.close(flush_s=0.2)
    assert outputs.lost == {"fake": 100}
    assert other.calls == ["open", *numbers(range(100)), "close"]
    gate.open()


def test_a_display_that_fails_is_an_output_that_fails() -> None:
    troubles: list[str] = []
    display = FakeDisplay(on_refresh=failing(OSError(5, "Input/output error")))
    with Outputs([display, Fake()], report=troubles.append, meters=[Meter()]) as outputs:
        assert display.refreshed.wait(HANGS_S)
        while not troubles:
            time.sleep(0.001)
        write(outputs, 3)
    assert (outputs.lost, troubles) == ({"fake": 3}, ["output fake failed: Input/output error"])


class Late:
    """An output whose place is not there at first."""

    name, is_patient = "late", True

    def __init__(self, failures: int) -> None:
        self.failures, self.events = failures, list[Event]()

    def open(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise OutputError("the address is in use")

    def write(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass


def test_what_cannot_be_opened_yet_is_tried_again_and_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_queue, "RETRY_S", 0.01)
    late, reports = Late(failures=3), list[str]()
    with Outputs([late], report=reports.append) as outputs:
        outputs.write(status("hall", "ready", "ready"))
        outputs.raise_failure()  # there is none, and it does not wait for one
        outputs.write(status("hall", "ready", "ready"))
        deadline_s = time.monotonic() + HANGS_S
        while len(late.events) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
    assert reports == ["output late fails, and is tried again: the address is in use", "output late works"]
    assert outputs.lost == {}


def test_what_never_opens_is_an_error_at_the_end_and_what_waited_is_counted() -> None:
    outputs = Outputs([Late(failures=1_000)])
    outputs.open()
    outputs.write(status("hall", "ready", "ready"))
    outputs.close()
    assert outputs.lost == {"late": 1}
