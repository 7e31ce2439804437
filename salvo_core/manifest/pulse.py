"""Whether it was Redis that fell silent, or a worker: each worker says regularly that it is there."""

from __future__ import annotations

from salvo_core.manifest import keys
from salvo_core.manifest.connection import translated
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.scripts import script_text


def silence_s(lease_s: float, sweep_s: float) -> float:
    """Return when no worker was heard for so long that Redis was away, and not each of them; seconds.

    Args:
        lease_s: How long a lease lasts.
        sweep_s: How often each worker says that it is there.
    """
    return max(lease_s / 2, 3 * sweep_s)


async def pulse(manifest: Manifest, *, silence_s: float, mercy_s: float) -> float:
    """Say that a worker is here; return for how long no lease may be taken back yet, seconds.

    Args:
        manifest: Where it is said.
        silence_s: When no worker was heard for so long, Redis was away, and not each of them.
        mercy_s: How long all have then to say that they are there.
    """
    return await _mercy_s(manifest, silence_s, mercy_s, worker=True)


async def mercy(manifest: Manifest, *, silence_s: float, mercy_s: float) -> float:
    """Return for how long no lease may be taken back yet, seconds, to somebody who is no worker.

    Args:
        manifest: Where workers say that they are there.
        silence_s: As for ``pulse``.
        mercy_s: As for ``pulse``.
    """
    return await _mercy_s(manifest, silence_s, mercy_s, worker=False)


async def _mercy_s(manifest: Manifest, silence_s: float, mercy_s: float, *, worker: bool) -> float:
    script = manifest.redis.register_script(script_text("pulse"))
    told = [round(silence_s * 1000), round(mercy_s * 1000), int(worker)]
    with translated(manifest.address):
        return int(await script(keys=[keys.PULSE], args=told)) / 1000
