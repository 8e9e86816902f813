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
    names = list(roles)
    if not fetch:
        found = {name: cached(name) for name in names}
        return {
            name: each.digest if each else next(iter(manifest.role(name).digests)) for name, each in found.items()
        }, {}
    track: Track | None = None

    def progress(done: int, total: int, description: str) -> None:
        nonlocal track
        track = track or Track(total, description)
        track.description = f"fetching {description}"
        track.advance(done - track.done)

    have, missing = fetch_all(names, progress)
    return {name: each.digest for name, each in have.items()}, missing
