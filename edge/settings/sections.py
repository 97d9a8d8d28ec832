"""Every setting, its default, range and meaning: one section per stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from edge.folders import expanded
from edge.settings.hours import Hours
from edge.settings.section import Names, Secret, Section


class CaptureSettings(Section):
    """Where audio comes from and how much of it may wait."""

    source: str = "mic"
    """``mic``, a path to an audio file or a named pipe, ``-`` for standard input, or an address at which to wait for
    somebody who sends: ``tcp://127.0.0.1:7000``, ``unix:/run/user/1000/hall.sock``, ``ws://127.0.0.1:7001/hall``, or
    ``wyoming://127.0.0.1:10300`` for voice assistants. What comes is raw 16-bit mono PCM, unless it begins like a WAV,
    FLAC, MP3, Ogg or another audio file, or is said to be something else."""
    device: str = ""
    """Microphone name (or part of it) or index, see ``affectd devices``; empty is the system default."""
    rate_hz: Annotated[int, Field(ge=8_000, le=192_000)] = 16_000
    """Sample rate of raw PCM; files, streams with a header and microphones know their own."""
    token: Secret = ""
    """What a WebSocket client has to send, as `?token=`; needed where other machines reach the address."""
    origins: Names = ()
    """Web pages that may send to a WebSocket, as `https://example.org`, separated by commas; no others may. Programs
    have no origin."""
    upstream: str = ""
    """Speech-to-text that makes the words where the source is ``wyoming://``: ``tcp://127.0.0.1:10301`` or ``unix:…``;
    empty is none, and the text of every transcript is."""
    realtime: bool = True
    """Play files at the speed of their own clock, and never let standard input wait; false reads as fast as possible
    and loses nothing."""
    queue_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Audio that may wait for voice activity detection; beyond it the oldest is overwritten and counted."""
    report_s: Annotated[float, Field(ge=0, le=60)] = 5.0
    """A source that is silent or below `vad.gate_dbfs`, has a dead channel or channels that cancel each other, or clips
    for so long is reported by a `status` event, and when it recovers; 0 reports nothing."""
    hours: str = ""
    """When to listen, by the local clock, such as `Mon-Fri 08:00-18:00, Sat 10:00-12:30`; a microphone is closed
    meanwhile. Empty is always."""

    @property
    def key(self) -> str:
        """What it is known by from one run to the next."""
        return f"{self.source} {self.device}".strip()

    @property
    def people(self) -> tuple[str, ...]:
        """Enrolled people whom the source is bound to; empty is as ``speakers.only`` says."""
        return ()

    @field_validator("hours")
    @classmethod
    def _hours_can_be_read(cls, hours: str) -> str:
        Hours.parse(hours)
        return hours


class VadSettings(Section):
    """Which 30 ms frames are voiced."""

    high_pass_hz: Annotated[float, Field(ge=0, le=300)] = 80.0
    """Hum and rumble below this are taken out before anything else, for voice activity detection and the models; 0
    takes out nothing. The models learn with 80."""
    detector: Literal["auto", "earshot", "webrtc"] = "auto"
    """``earshot`` is a small neural network that hears in noise, ``webrtc`` runs everywhere; ``auto`` takes Earshot
    where it is installed."""
    aggressiveness: Annotated[int, Field(ge=0, le=3)] = 2
    """WebRTC mode: 0 lets most through, 3 is strictest about noise."""
    gate_dbfs: Annotated[float, Field(ge=-120, le=0)] = -80.0
    """Frames quieter than this are never voiced."""
    above_noise_db: Annotated[float, Field(ge=0, le=60)] = 3.0
    """Frames must exceed the tracked noise floor by this much; WebRTC needs 5 more."""


class SegmenterSettings(Section):
    """How voiced frames become utterances."""

    start_s: Annotated[float, Field(ge=0.03, le=0.3)] = 0.09
    """Voice needed within the last ``2 * start_s`` to open an utterance."""
    end_silence_s: Annotated[float, Field(ge=0.1, le=5)] | Literal["auto"] = 0.5
    """Silence that closes an utterance; ``auto`` adapts it to the pauses of the source, between 0.3 and 0.8 s."""
    pre_roll_s: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Audio kept from before the first voiced frame."""
    tail_s: Annotated[float, Field(ge=0, le=0.5)] = 0.09
    """Audio kept from after the last voiced frame. When it is there the answer can be given, provisionally."""
    withdrawn_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Provisional answers that may be withdrawn because they went on, as a share. Where there are more, answers come
    later in a pause than ``tail_s``, at most after ``end_silence_s``; 1 never waits."""
    min_speech_s: Annotated[float, Field(ge=0.03, le=1)] = 0.3
    """Utterances with less voice than this are ignored."""
    max_s: Annotated[float, Field(ge=2, le=60)] = 12.0
    """Longer speech is cut here and marked truncated; never more than the bundle's longest bucket."""

    @property
    def first_end_silence_s(self) -> float:
        """What closes an utterance before anything is known of the source."""
        return 0.5 if self.end_silence_s == "auto" else self.end_silence_s


class PartialSettings(Section):
    """What is said of an utterance while it lasts."""

    every_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    """From one `partial` event to the next, from one second of speech on; 0 is none. Each is a run of the encoder, and
    is left out while anything else waits for it."""


class EncoderSettings(Section):
    """Which model runs, and on what."""

    bundle: str = ""
    """Bundle folder, or `default` or `nano` inside the package; empty is `default`."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """Preferred execution provider; ``auto`` takes CUDA where it is installed, unless the bundle is int8."""
    require_provider: bool = False
    """Fail when the wanted provider is not the one in use, instead of falling back to the CPU."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of one inference."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Most utterances of one length bucket per inference; ``affectd run`` batches what waits while it is busy."""
    queue_utterances: Annotated[int, Field(ge=1, le=1_000)] = 8
    """Utterances that may wait for the encoder, at least one for each source; beyond it the oldest is dropped with a
    ``skipped`` event."""
    gpu_device: Annotated[int, Field(ge=0, le=63)] = 0
    """Which GPU, as CUDA numbers them."""
    gpu_memory_mb: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    """Most memory in MB for CUDA's arena, and for TensorRT's workspace; 0 is no limit."""
    engines: str = ""
    """Folder of the TensorRT engines, see ``affectd-export engines``; empty is `affectd` in the XDG cache folder."""
    trt_optimization: Annotated[int, Field(ge=0, le=5)] = 3
    """How hard TensorRT tries when it builds an engine: from 0, built soon, to 5, built in many times as long."""

    @property
    def bundle_folder(self) -> Path | None:
        """The bundle's folder or name; None is the default one inside the package."""
        return expanded(self.bundle) if self.bundle else None

    @property
    def engine_folder(self) -> Path | None:
        """The engines' folder; None is the one in the XDG cache folder."""
        return expanded(self.engines) if self.engines else None


class OverloadSettings(Section):
    """What is done without, a step at a time, while live sources say more than the encoder keeps up with: first partial
    answers, then all but the end of long utterances, then the larger model, then every other answer."""

    enabled: bool = True
    """Go down the steps, and back up; false drops the oldest utterances that wait instead, and nothing else."""
    wait_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """The next step is taken when an utterance has waited so long for the encoder, or was dropped."""
    calm_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Time without such a wait after which a step is taken back; twice as long after each that was taken back too
    soon."""
    longest_s: Annotated[float, Field(ge=1, le=60)] = 4.0
    """Of a longer utterance its last part is encoded."""
    bundle: str = "nano"
    """The smaller model: a bundle folder or name; empty is none. It knows nobody who was enrolled with the other."""
    every: Annotated[int, Field(ge=1, le=100)] = 2
    """At last one utterance of a source in so many is answered, and the others are `skipped`; 1 answers each."""


class SpeakerSettings(Section):
    """Who is known, how they are recognised, and what follows from it."""

    enabled: bool = True
    """Recognise enrolled people and adapt to them; false treats everyone as a stranger."""
    store: str = ""
    """Folder of the speaker store; empty is `affectd` in the XDG data folder."""
    only: Names = ()
    """Enrolled people whom the source is bound to, separated by commas. Everything heard is from the only one, or from
    one of several; empty lets strangers speak too."""
    gate: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """What `affectd run` hears of a bound source and is from nobody of `only`, from this probability on, is left out by
    a `skipped` event; 1 takes it for theirs."""
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.7
    """A speaker is named, and adapted to, from this probability on."""
    stranger: Annotated[float, Field(ge=0, lt=1)] = 0.4
    """How often a new voice is nobody's of those enrolled."""
    stay: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How often the voice of the last utterance goes on, without a pause."""
    forget_s: Annotated[float, Field(gt=0)] = 120.0
    """Pause after which that has fallen to a third."""
    refine: bool = True
    """Slowly refine the profiles of those who agreed to it, see `affectd speakers refine`."""
    label_prior: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How far it is believed how often someone enrolled shows each emotion, as their clips and daily speech suggest:
    0.5 where they are enrolled by clips of daily life. 0 takes everyone to show all as often as the model expects,
    since what people read aloud to be enrolled says nothing of how they live."""
    value_shift: Literal["off", "full", "mu", "sigma"] = "off"
    """Bring values of someone enrolled, such as arousal, to the mean and deviation of the training speakers who sound
    most like them: ``full``; ``mu`` moves the mean alone, and ``sigma`` scales around their own."""
    adapt_strangers: bool = False
    """Adapt to a stranger from their earlier utterances in the same conversation; nothing of it is kept."""

    @property
    def store_folder(self) -> Path | None:
        """The store's folder; None is the one in the XDG data folder."""
        return expanded(self.store) if self.store else None


class RoomSettings(Section):
    """What is always there in a source, microphone, room and language, and is taken out of every utterance."""

    enabled: bool = True
    """Estimate the room of each source of `affectd run` from the latest utterances, whoever speaks, and apply it."""
    pseudo_utterances: Annotated[float, Field(ge=1, le=1_000)] = 16.0
    """Utterances after which the estimate is trusted half: ``n`` count for ``n / (n + pseudo_utterances)``. While most
    answers are the same, more are needed."""
    window: Annotated[float, Field(ge=8, le=10_000)] = 64.0
    """Utterances that the estimate remembers; older ones decay."""
    label_shift: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How much of what an emotion does to speech, as far as it was recognised, is not taken for the room."""
    remember: bool = True
    """Keep the rooms of microphones and live pipes from one run to the next, as encrypted numbers beside the speaker
    store; see `affectd rooms`. Through ``edge.listen`` it is off unless it is set."""


class DecisionSettings(Section):
    """What the probabilities become."""

    review_threshold: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Events with less confidence carry ``needs_review``."""


class EventSettings(Section):
    """What is reported."""

    early: bool = True
    """Also `speech_start`, `provisional` and `resumed`, which come before an utterance is over."""
