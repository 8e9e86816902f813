"""What a recipe needs to know of the sample before anything runs: digests, and what cannot be had."""

from __future__ import annotations

from collections.abc import Iterable

from presight.console import Track
from presight.errors import PresightError
from presight.packages import manifest
from presight.packages.cache import cached, fetch_all


def digests(roles: Iterable[str], fetch: bool) -> tuple[dict[str, str], dict[str, PresightError]]:
    """The digest of each role's data, and why some cannot be had.

    With ``fetch`` what is not cached is downloaded. Without, a role that is not cached is taken to be what the
    manifest expects: a plan needs no network.
    """
    here = {name: cached(name) for name in roles}
    found = {name: each.digest for name, each in here.items() if each}
    wanted = [name for name in here if name not in found]
    if not fetch:
        return found | {name: manifest.role(name).digests[0] for name in wanted}, {}
    track: Track | None = None

    def progress(done: int, total: int, description: str) -> None:
        nonlocal track
        track = track or Track(total, description)
        track.description = f"fetching {description}"
        track.advance(done - track.done)

    have, missing = fetch_all(wanted, progress)
    return found | {name: each.digest for name, each in have.items()}, missing
