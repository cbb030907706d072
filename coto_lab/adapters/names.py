"""How PEFT names an adapter's tensors: ``base_model.model.``, the adapted module, and a part that begins with the method's tag.

For example ``base_model.model.vit.layers.0.attention.q_proj.lora_A.weight``: the tag is ``lora_``. Tensors that the layers
share lie outside the base (``base_model.vera_A``), and modules that are trained whole have no tag (``...classifier.weight``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PREFIX = "base_model.model."  # before the base's own names
DRAWN = (".vera_A", ".vera_B", ".pvera_A", ".pvera_B", ".randlora_A", ".randlora_B")
"""The ends of the names of tensors that PEFT draws at random and never trains, of VeRA, PVeRA and RandLoRA."""


def lora_keys(module: str) -> tuple[str, str]:
    """The names of a module's LoRA factors A and B; ``module`` begins with `PREFIX`, as in `Adapter.factors`."""
    return f"{module}.lora_A.weight", f"{module}.lora_B.weight"


def module_of(key: str, tag: str) -> str:
    """The module that a tensor of the method with this ``tag`` belongs to, with `PREFIX`; empty for any other tensor.

    >>> module_of("base_model.model.layers.0.q_proj.lora_A.weight", "lora_")
    'base_model.model.layers.0.q_proj'
    """
    return key.rpartition(f".{tag}")[0]


def adapted_modules(keys: Iterable[str], tag: str) -> tuple[str, ...]:
    """The modules that carry tensors of the method with this ``tag``, without `PREFIX`; numbers in names sort as numbers.

    A layer inside another adapter layer (the output projection of ``nn.MultiheadAttention``) belongs to the outer one.

    >>> adapted_modules([f"{PREFIX}layers.{i}.q.lora_{f}.weight" for i in (10, 9) for f in "AB"], "lora_")
    ('layers.9.q', 'layers.10.q')
    """
    modules = {module_of(key, tag) for key in keys}
    own = {name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX) and ".base_layer." not in name}
    return tuple(sorted(own, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]))
