"""One seed for a study, and a separate stream for each purpose.

A stage never shares a random stream with another: adding a draw in one place must not change every figure
after it. Python's ``hash`` is refused because it differs between processes.
"""

from __future__ import annotations

import hashlib


def derive(seed: int, *names: str) -> int:
    """A seed for one purpose, the same on every machine.

    Args:
        seed: the study's seed.
        names: what it is for, for example ``("split", "test")``.

    Returns:
        A non-negative integer below 2**63, from SHA-256 over the seed and the names.
    """
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1
