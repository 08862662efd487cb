"""Which type of numbers the hardware computes in."""

from __future__ import annotations

import torch


def fast_dtype() -> torch.dtype:
    """The shortest type that this machine multiplies without emulation."""
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if able else torch.float16
    # older releases of torch cannot tell; float32 is then right on every CPU, only slower on some
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    able = any(able for name, able in capabilities.items() if name.endswith("bf16"))
    return torch.bfloat16 if able else torch.float32
