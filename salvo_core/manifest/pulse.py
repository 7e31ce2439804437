"""Whether it was Redis that fell silent, or a worker: each worker says regularly that it is there."""

from __future__ import annotations

from salvo_core.manifest import keys
from salvo_core.manifest.connection import translated
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.scripts import script_text


async def pulse(manifest: Manifest, *, silence_s: float, mercy_s: float) -> float:
    """Say that a worker is here; return for how long no lease may be taken back yet, seconds.

    Args:
        manifest: Where it is said.
        silence_s: When no worker was heard for so long, Redis was away, and not each of them.
        mercy_s: How long all have then to say that they are there.
    """
    script = manifest.redis.register_script(script_text("pulse"))
    with translated(manifest.address):
        return (
            int(await script(keys=[keys.PULSE], args=[round(silence_s * 1000), round(mercy_s * 1000)])) / 1000
        )
