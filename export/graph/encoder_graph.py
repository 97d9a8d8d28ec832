"""The graph: pooled encoder and projection as one ONNX model from waveform to embedding."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from onnxscript.optimizer import optimize_ir
from torch import Tensor, nn

from calibrate.encoders.pretrained import ConvolutionalEncoder, PooledEncoder
from calibrate.run import Run
from calibrate.training.heads import Classifier
from edge.audio import SAMPLE_RATE_HZ
from edge.errors import ModelError

OPSET = 20
PRODUCER = "affectd-export"
FOLDED = {"Transpose": True, "Reshape": True, "Mul": False, "Mod": False}
"""Besides what is small: weights laid out anew for a product become constants; the Fourier basis stays a formula."""
TRACED_S, LEAST_S = 2.0, 0.1
"""Of the example that is traced, where the model takes as much, and of the shortest input."""
SUPPORTED = "Whisper, and layer-norm HuBERT, wav2vec 2.0 and WavLM"


class EmbeddingGraph(nn.Module):
    """What runs on the device: ``float32[batch, samples]``, ``int64[batch]`` to ``z`` as ``float32[batch, dim]``."""

    def __init__(self, encoder: PooledEncoder, classifier: Classifier) -> None:
        super().__init__()
        self.encoder, self.classifier = encoder, classifier

    @classmethod
    def of(cls, run: Run) -> EmbeddingGraph:
        """Return the graph of a trained run, in inference mode.

        Raises:
            ModelError: the encoder's valid frames feel the padding, so its answers would depend on the bucket.
        """
        speech = run.encoder.encoder
        if isinstance(speech, ConvolutionalEncoder) and not speech.normalise:
            raise ModelError(
                f"{run.encoder_label}: a group-norm encoder feels its padding and cannot run on the device; "
                f"{SUPPORTED} can"
            )
        graph = cls(run.encoder, run.classifier)
        return graph.eval()

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Return embeddings."""
        pooled = self.encoder(waveform, lengths)
        return self.classifier.embed(pooled.unflatten(1, (len(self.encoder.pooled), -1)))


def write_onnx(
    graph: nn.Module, path: Path, description: str, output: str = "embedding", longest_s: float = TRACED_S
) -> onnx.ModelProto:
    """Export to ``path`` with dynamic batch and length and one named output, check the result, and return it.

    Args:
        graph: takes ``float32[batch, samples]`` and ``int64[batch]``.
        path: of the file.
        description: for whoever opens it.
        output: what it returns is called.
        longest_s: that it takes, such as the table of positions that it was trained with; what is traced is no longer.

    Raises:
        ModelError: the exporter cannot trace the model, or makes an invalid graph of it, or the model takes less than
            0.1 s.
    """
    if longest_s < LEAST_S:
        raise ModelError(f"encoder.max_s = {longest_s:g}: a graph takes {LEAST_S} s at least; train with a longer one")
    samples = round(min(TRACED_S, longest_s) * SAMPLE_RATE_HZ)
    example = torch.zeros(2, samples), torch.tensor([samples, samples // 2])
    batch, length = torch.export.Dim("batch"), torch.export.Dim("samples", min=round(LEAST_S * SAMPLE_RATE_HZ))
    try:
        with quiet_libraries():
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=["waveform", "lengths"],
                output_names=[output],
                dynamic_shapes={"waveform": {0: batch, 1: length}, "lengths": {0: batch}},
                optimize=False,
                verbose=False,
            )
        assert program is not None
        _free_name(program, output)
        optimize_ir(program.model, should_fold=lambda node: FOLDED.get(node.op_type))
        model = program.model_proto
        onnx.checker.check_model(model)
    except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the encoder cannot be exported ({SUPPORTED} can): {_reason(error)}") from error
    model.producer_name, model.doc_string = PRODUCER, description
    del model.graph.value_info[:]  # stale once a quantiser rewrites a node
    # Stack traces, which give this machine's paths away and change with every edited line: profiles of people are kept
    # by the encoder's hash, so that the same model must be the same bytes.
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
    onnx.save(model, path)
    return model


def _reason(error: Exception) -> str:
    """Return the first sentence of what the exporter says, with what a colon at the end of a line announces."""
    cause = error.__cause__ or error
    said: list[str] = []
    for line in filter(None, map(str.strip, str(cause).splitlines())):
        said.append(line)
        if not line.endswith(":"):
            break
    return " ".join(said) or type(cause).__name__


def _free_name(program: torch.onnx.ONNXProgram, name: str) -> None:
    """Rename inner values called like the output: the exporter names values after operators, and one is embedding."""
    outputs = set(program.model.graph.outputs)
    for node in program.model.graph:
        for value in node.outputs:
            if value.name == name and value not in outputs:
                value.name = f"{name}_inner"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hold back the advice that exporter and quantiser log and warn about on every run; their errors are raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
