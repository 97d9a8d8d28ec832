import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.audio import SAMPLE_RATE_HZ
from edge.buckets import Batch, Buckets
from edge.bundle import Bundle
from export.bundle.check import opened
from export.measure.batching import BUCKETED, STRATEGIES, TO_BATCH_LONGEST, TO_LONGEST, UNPADDED, embed, peak_mb, waste
from export.measure.plan import Plan
from export.measure.streams import separately, together
from helpers.signals import speech_like

BUCKETS = Buckets((1.0, 2.0, 4.0))

several = st.lists(st.integers(1, BUCKETS.longest), min_size=1, max_size=40)


@pytest.mark.parametrize("name", STRATEGIES)
@given(lengths=several, most=st.integers(1, 9))
def test_every_utterance_is_in_one_batch_that_holds_it(name: str, lengths: list[int], most: int) -> None:
    batches = STRATEGIES[name](lengths, BUCKETS, most)
    assert sorted(row for batch in batches for row in batch.indices) == list(range(len(lengths)))
    assert all(len(batch.indices) <= most for batch in batches)
    assert all(lengths[row] <= batch.samples for batch in batches for row in batch.indices)
    assert 0 <= waste(lengths, batches) < 1


@given(several, st.integers(1, 9))
def test_padding_is_least_without_and_most_to_the_longest_of_all(lengths: list[int], most: int) -> None:
    wastes = {name: waste(lengths, strategy(lengths, BUCKETS, most)) for name, strategy in STRATEGIES.items()}
    assert wastes[UNPADDED] == 0
    assert wastes[TO_BATCH_LONGEST] <= wastes[TO_LONGEST] + 1e-12
    assert wastes[BUCKETED] == pytest.approx(wastes["one by one, in buckets"])


def test_padding_is_a_share_of_what_is_heard() -> None:
    assert waste([10, 30], [Batch((0, 1), 40)]) == 0.5


@pytest.mark.parametrize("name", STRATEGIES)
def test_embeddings_come_in_the_order_of_the_utterances(name: str, bundle: Bundle) -> None:
    recognizer = opened(bundle, 1)
    waveforms = [speech_like(0.7 + 0.6 * seed, seed) for seed in range(5)]
    lengths = [len(waveform) for waveform in waveforms]
    found = embed(recognizer.encoder, waveforms, STRATEGIES[name](lengths, recognizer.buckets, 2))
    expected = np.concatenate([recognizer.encoder.embed([waveform], len(waveform)) for waveform in waveforms])
    assert found == pytest.approx(expected, rel=1e-4)


def test_memory_is_that_of_a_process_of_its_own(bundle: Bundle) -> None:
    peaks = peak_mb(bundle, BUCKETED, [SAMPLE_RATE_HZ, 3 * SAMPLE_RATE_HZ])
    assert set(peaks) == {"loaded", "run"}
    assert 0 <= peaks["loaded"] <= peaks["run"] < 1_000


@pytest.mark.parametrize("feed", [separately, together])
def test_every_utterance_of_every_stream_has_a_latency(feed: object, bundle: Bundle) -> None:
    streams = [[speech_like(0.5, seed), speech_like(0.9, seed)] for seed in range(3)]
    load = feed(opened(bundle, 1), streams)  # type: ignore[operator]
    assert len(load.latencies_ms) == 6


def test_some_clips_are_the_same_in_every_run(bundle: Bundle, tmp_path: object) -> None:
    clips = [tmp_path / str(number) for number in range(50)]  # type: ignore[operator]
    plan = Plan((bundle,))
    assert plan.some(clips, 9) == plan.some(clips, 9)
    assert len(set(plan.some(clips, 9))) == 9
