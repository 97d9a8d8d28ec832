"""Temperature scaling: confidence that matches accuracy."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from calibrate.dataset import Part


def fit_temperature(logits: torch.Tensor, part: Part) -> float:
    """Return the temperature with the least balanced negative log-likelihood (Guo et al. 2017, section 4.2)."""
    log_temperature = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")
    logits, labels = logits.clone(), torch.from_numpy(part.labels)
    weights = torch.from_numpy(part.balanced_weights()).float()

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), labels, reduction="none") @ weights
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return float(log_temperature.detach().exp())
