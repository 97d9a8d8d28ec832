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


def write_onnx(graph: nn.Module, path: Path, description: str, output: str = "embedding") -> onnx.ModelProto:
    """Export to ``path`` with dynamic batch and length and one named output, check the result, and return it.

    Raises:
        ModelError: the exporter cannot trace the model, or makes an invalid graph of it.
    """
    waveform = torch.zeros(2, 2 * SAMPLE_RATE_HZ)
    lengths = torch.tensor([2 * SAMPLE_RATE_HZ, SAMPLE_RATE_HZ])
    batch, samples = torch.export.Dim("batch"), torch.export.Dim("samples", min=SAMPLE_RATE_HZ // 10)
    try:
        with quiet_libraries():
            program = torch.onnx.export(
                graph,
                (waveform, lengths),
                dynamo=True,
                opset_version=OPSET,
                input_names=["waveform", "lengths"],
                output_names=[output],
                dynamic_shapes={"waveform": {0: batch, 1: samples}, "lengths": {0: batch}},
                optimize=False,
                verbose=False,
            )
        assert program is not None
        _free_name(program, output)
        optimize_ir(program.model, should_fold=lambda node: FOLDED.get(node.op_type))
        model = program.model_proto
        onnx.checker.check_model(model)
    except (torch.onnx.OnnxExporterError, onnx.checker.ValidationError) as error:
        reason = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
        raise ModelError(f"the encoder cannot be exported ({SUPPORTED} can): {reason}") from error
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
