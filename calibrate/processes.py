"""The processes of one training run: ``accelerate launch`` starts many, on GPUs and machines; otherwise there is one.

All draw the same batches. Each encodes its share of a batch, then all see the features of the whole, so that the loss,
which compares utterances of a speaker, is that of one process. Only the main process writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor

from calibrate.workspace import Workspace

PATIENCE = timedelta(days=2)
"""The main process may embed a corpus while the others wait."""

T = TypeVar("T")
Rows = npt.NDArray[np.int64]


def join(workspace: Workspace) -> torch.device:
    """Meet the other processes, and return this one's device: its own among many, otherwise the workspace's.

    Raises:
        UsageError: the workspace's device does not work here.
    """
    state = PartialState(cpu=workspace.device.startswith("cpu"), timeout=PATIENCE)
    return state.device if state.num_processes > 1 else workspace.torch_device()


def meet() -> None:
    """Wait for the other processes."""
    PartialState().wait_for_everyone()


def leave() -> None:
    """Part from the other processes."""
    PartialState().destroy_process_group()


def is_main() -> bool:
    """Return whether this process is the one that writes."""
    return bool(PartialState().is_main_process)


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process through first, then one of every machine, then the rest: one fills each cache."""
    state = PartialState()
    with state.main_process_first(), state.local_main_process_first():
        yield


def share(rows: Rows) -> Rows:
    """Return this process's rows of ``int64[n]``, as many as every other's: the last ones may come twice."""
    state = PartialState()
    whole = np.resize(rows, -(-len(rows) // state.num_processes) * state.num_processes)
    return whole[state.process_index :: state.num_processes]


def gather(own: Tensor, count: int) -> Tensor:
    """Return ``[count, …]`` from everyone's share ``[n, …]``, in the order before sharing.

    Gradients reach the own share only, as many times over as there are processes, because they are averaged later.
    """
    state = PartialState()
    if state.num_processes == 1:
        return own
    shares = [torch.empty_like(own) for _ in range(state.num_processes)]
    torch.distributed.all_gather(shares, own.detach().contiguous())
    if own.requires_grad:
        own.register_hook(lambda gradient: gradient * state.num_processes)  # type: ignore[no-untyped-call]
    shares[state.process_index] = own
    return torch.stack(shares, dim=1).flatten(0, 1)[:count]


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace gradients by their means over the processes."""
    state = PartialState()
    if state.num_processes > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= state.num_processes


def agree(value: T) -> T:
    """Return the main process's value, which everyone must ask for."""
    if PartialState().num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def agree_on(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors with the main process's."""
    if PartialState().num_processes > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.data, 0)
