"""The model hub: what a branch or tag stood for when it was first looked up, so that a recipe keeps its meaning."""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path
from typing import Literal

from presight.console import say
from presight.errors import PresightError, Unavailable
from presight.packages import cache_root

REVISIONS = "hub.json"  # in the cache: commits once looked up
COMMIT = re.compile(r"[0-9a-f]{40}")


def commit(kind: Literal["dataset", "model"], name: str, revision: str, field: str, fetch: bool) -> str:
    """The commit that a branch or tag of a repository stood for when it was first looked up.

    Args:
        kind: of repository.
        name: ``owner/name``.
        revision: branch, tag or commit.
        field: what asks, for errors.
        fetch: whether the hub may be asked; if not, what was not looked up yet stays as it is.

    Raises:
        PresightError: no such repository.
        Unavailable: the hub is out of reach.
    """
    if COMMIT.fullmatch(revision):
        return revision
    path = cache_root() / REVISIONS
    known = _known(path)
    named = f"{name}@{revision}"
    key = named if kind == "dataset" else f"models/{named}"
    if key in known:
        return str(known[key])
    if not fetch:
        return revision  # a plan can be made of it; nothing can have been
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    ask = HfApi().dataset_info if kind == "dataset" else HfApi().model_info
    try:
        found = ask(name, revision=revision).sha
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        mend = "check the id and revision; if it is gated, accept its terms and log in with `hf auth login`"
        raise PresightError(field, f"the hub shows no {named}", mend) from error
    except Exception as error:  # of any layer of the network
        mend = "write a commit, or name a copy of it here"
        raise Unavailable(field, f"the hub cannot be asked for {named} ({line(error)})", mend) from error
    say(f"{field}: {named} is {found}; write that to share it")
    return _pinned(path, key, str(found))


def _pinned(path: Path, key: str, found: str) -> str:
    """Write a commit down beside those that others found meanwhile; what is written first holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _known(path)
        pinned = str(known.setdefault(key, found))
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known, indent=1))
        temporary.replace(path)
    return pinned


def _known(path: Path) -> dict[str, str]:
    """Commits looked up before; of a damaged file none, which is said."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        say(f"{path} cannot be read ({error}): revisions are looked up again")
        return {}


def line(error: Exception) -> str:
    """An error of the hub's libraries on one line, cut short."""
    return " ".join(str(error).split())[:200].rstrip(".")
