"""Where computations run."""

from __future__ import annotations

import torch


def default_device() -> torch.device:
    """The accelerator if there is one in this machine, else the CPU."""
    # Without the check, current_accelerator() names what torch was built for, which the machine may not have.
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")
