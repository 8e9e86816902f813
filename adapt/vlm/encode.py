"""Pictures through a frozen encoder, once: what is trained and measured behind it reads features instead of pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, field_validator

from adapt.vlm import features
from adapt.vlm.features import View
from adapt.vlm.pictures import Modality, Pictures
from presight import hub, index, packages
from presight.console import Track
from presight.errors import PresightError, Unavailable
from presight.stage import Cost, Needs, PartedStage, Stage, scratch

if TYPE_CHECKING:
    from adapt.vlm.encoders import Encoder, Prepared

ROLES = {"sample": "model.vision", "resemblyzer": "model.hearing"}  # encoders out of packages
SIDE = 224  # pixels of the pictures that they are meant for
FEATURES = {  # numbers a picture or clip, places × width, by default: for estimates of the disk
    "sample": 49 * 1280,
    "facebook/metaclip-b16-fullcc2.5b": 196 * 768,
    "facebook/dinov2-giant": 256 * 1536,
    "facebook/vit-mae-huge": 256 * 1280,
}
PLAIN = "log-mel"  # what needs no weights
IMAGES = ("sample",)  # of the named encoders, those that see; the others hear
_FILES = ("*.json", "*.safetensors")
_PICKLED = "pytorch_model*"  # read as tensors only


class Encoding(Stage):
    """What stages share that need an encoder: which it is, how it is read, and its content, which is its identity."""

    encoder: Literal["sample", "resemblyzer", "log-mel"] | Path | None = Field(
        None,
        exclude=True,
        description="of images, sample (EfficientNet-lite0); of sounds, resemblyzer or log-mel, which has no weights; "
        "or a folder of transformers: encoder and processor",
    )
    repository: str | None = Field(None, description="instead, owner/name of the hub, or owner/name@revision")
    side: int | None = Field(None, ge=1, description="pixels of images; default what the encoder was trained with")
    seconds: float | None = Field(None, gt=0, description="sounds are cut or filled up to; default 10")
    layer: int | None = Field(None, description="read; default the last but one, of the named encoders the last")
    dtype: Literal["float32", "float16", "bfloat16"] = Field("float32", description="of a transformer's arithmetic")
    content: str = Field("", description="digest of the encoder; filled in")

    def settle(self, fetch: bool) -> Stage:
        """Learn the encoder's content, or pin its commit.

        Raises:
            PresightError: none is named or two are, the named one cannot read pictures of that side, a folder without
                files, or a repository that the hub lacks.
            Unavailable: a package can neither be found nor fetched.
        """
        if (self.encoder is None) == (self.repository is None):
            given = "neither is given" if self.encoder is None else "both are given"
            raise PresightError("encoder or repository", given, "name one: sample, a folder, or owner/name of the hub")
        if self.repository is not None:
            name, _, revision = self.repository.partition("@")
            found = hub.commit("model", name, revision or "main", "repository", fetch)
            return self.changed(repository=f"{name}@{found}")
        if self.encoder in IMAGES and self.side is not None:
            from adapt.vlm.encoders import divided

            divided(self.side)
        if self.content:
            return self
        if isinstance(self.encoder, Path):
            return self.changed(content=index.content(self.encoder.expanduser()))
        if self.encoder not in ROLES:
            return self.changed(content=PLAIN)
        role = ROLES[str(self.encoder)]
        digests, missing = packages.digests([role], fetch)
        if error := missing.get(role):
            raise Unavailable(error.field, error.problem, error.mend)
        return self.changed(content=digests[role])

    def opened(self, modality: Modality) -> tuple[Encoder, str]:
        """The encoder, and what it is called where its features are described: it, its content, how it is read.

        Raises:
            PresightError: it is not for this modality, its files changed since they were planned, or they cannot be
                read.
        """
        named = self.encoder if isinstance(self.encoder, str) else None
        if named and (named in IMAGES) != (modality == "image"):
            mend = "take sample" if modality == "image" else "take resemblyzer or log-mel"
            raise PresightError("encoder", f"{named} cannot read {modality}s", f"{mend}, or a folder")
        if (self.seconds if modality == "image" else self.side) is not None:
            raise PresightError(
                "seconds" if modality == "image" else "side", f"is given of {modality}s", "leave it out"
            )
        if self.dtype != "float32" and named:
            raise PresightError("dtype", f"{named} computes in float32", "leave it out")
        found = self._named(named) if named else self._folder(modality)
        pin = str(self.repository) if self.repository else f"{found.name} {self.content[:12]}"
        read = [pin, f"layer {found.layer}", found.size, *([self.dtype] if self.dtype != "float32" else [])]
        return found, ", ".join(read)

    @property
    def device(self) -> str:
        """Where it runs."""
        return "cuda" if self.resources.gpus else "cpu"

    def _named(self, name: str) -> Encoder:
        from adapt.vlm import encoders, hearing

        if name == PLAIN:
            if self.layer is not None:
                raise PresightError("layer", f"{name} has none", "leave it out")
            return hearing.Spectrogram(self.seconds, device=self.device)
        fetched = packages.fetch(ROLES[name])
        self._unchanged(fetched.digest)
        if name in IMAGES:
            return encoders.sample(fetched, self.side, self.layer, self.device)
        if self.layer is not None:
            raise PresightError("layer", f"of {name} only the last is read", "leave it out")
        return hearing.speaker(fetched, self.seconds, self.device)

    def _folder(self, modality: Modality) -> Encoder:
        folder = _fetched(self.repository) if self.repository else Path(str(self.encoder)).expanduser()
        if not self.repository:
            self._unchanged(index.content(folder))
        if modality == "image":
            from adapt.vlm.towers import Tower

            return Tower(folder, self.side, self.layer, self.device, self.dtype)
        from adapt.vlm.hearing import Listener

        return Listener(folder, self.seconds, self.layer, self.device, self.dtype)

    def _unchanged(self, digest: str) -> None:
        if digest != self.content:
            raise PresightError("encoder", "its files changed since it was planned", "run again")


class Encode(Encoding, PartedStage):
    """Features of every picture of an artifact over the encoder's own grid: ``features``.

    The encoder is known by its content; pictures by theirs. The number of tokens that a model is shown is not chosen
    here: features are resized when they are read.
    """

    kind = "features"
    version = "1"

    pictures: Annotated[Stage, Needs("pictures", "conversations", "questions")] = Field(
        description="or conversations or questions that keep their pictures beside them"
    )
    views: tuple[View, ...] = Field(
        ("plain",), min_length=1, description="plain, and scrambled: phases at random, a control"
    )
    batch: int = Field(32, ge=1, exclude=True, description="pictures at once")

    @field_validator("views")
    @classmethod
    def _once(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) != len(views):
            raise ValueError("a view is named twice")
        return views

    def estimate(self) -> Cost:
        """Pictures, and the disk that their features fill where the encoder's grid is known beforehand."""
        items = self.pictures.estimate().items
        name = str(self.repository or self.encoder).partition("@")[0]
        numbers = FEATURES.get(name, 0) * (1 if self.side is None else (self.side / SIDE) ** 2)
        return Cost(items=items, disk=int(2 * items * len(self.views) * numbers))

    def run_shard(self, shard: int, out: Path, inputs: Mapping[str, Path]) -> None:
        """Encode one stretch of the pictures; what a killed run has finished of it is kept.

        Raises:
            PresightError: as `opened`, or a picture is broken.
        """
        pictures = Pictures(inputs["pictures"])
        keys = pictures.keys[self._bound(shard, pictures) : self._bound(shard + 1, pictures)]
        if not keys and shard:
            return
        encoder, called = self.opened(pictures.modality)
        if shard == 0:
            self._describe(out, pictures, encoder, called)
        target = out / features.part(shard, self.parts)
        if target.exists() or not keys:
            return
        shape = (len(keys), len(self.views), encoder.grid[0] * encoder.grid[1], encoder.width)
        rows = scratch(out) / f"{self.fingerprint}-{shard}.npy"
        noted = rows.with_suffix(".rows")  # how many of them are written
        done = int(noted.read_text()) if noted.exists() and rows.exists() else 0
        written = np.lib.format.open_memmap(rows, "r+" if done else "w+", np.float16, shape)
        track = Track(len(keys), f"encoding {pictures.modality}s")
        track.advance(done)
        for prepared in self._prepared(pictures, keys[done:], encoder):
            for view, each in enumerate(self.views):
                shown = prepared if each == "plain" else self._scrambled(prepared, keys[done:])
                written[done : done + len(prepared), view] = _half(encoder.encode(shown), keys[done:])
            written.flush()
            done += len(prepared)
            partial = noted.with_suffix(".partial")
            partial.write_text(str(done))
            partial.replace(noted)
            track.advance(len(prepared))
        del written
        rows.replace(target)
        noted.unlink()

    def finish(self, out: Path, inputs: Mapping[str, Path]) -> None:
        """Count them.

        Raises:
            PresightError: files are missing.
        """
        found = features.Features(out)
        (out / "counts.json").write_text(json.dumps({"pictures": len(found), "views": len(found.views)}))

    def _bound(self, shard: int, pictures: Pictures) -> int:
        return len(pictures) * shard // self.parts

    def _describe(self, out: Path, pictures: Pictures, encoder: Encoder, called: str) -> None:
        np.save(out / features.BLANK, _half(encoder.encode([encoder.blank()]), ["of a blank picture"])[0])
        described = {
            "encoder": called,
            "modality": pictures.modality,
            "keys": list(pictures.keys),
            "views": list(self.views),
            "grid": list(encoder.grid),
            "width": encoder.width,
            "layer": encoder.layer,
        }
        (out / features.INDEX).write_text(json.dumps(described))
        if self.encoder in ROLES:
            licences = packages.fetch(ROLES[str(self.encoder)]).licences.values()
            (out / "licences.json").write_text(json.dumps(sorted(set(licences))))

    def _prepared(self, pictures: Pictures, keys: Sequence[str], encoder: Encoder) -> Iterator[list[Prepared]]:
        """Decoded pictures, a batch at a time, each while the one before it is encoded."""
        waiting: list[Future[Prepared]] = []
        with ThreadPoolExecutor(self.resources.threads) as pool:
            for start in range(0, len(keys), self.batch):
                batch = [pool.submit(encoder.prepare, pictures, key) for key in keys[start : start + self.batch]]
                if waiting:
                    yield [each.result() for each in waiting]
                waiting = batch
            if waiting:
                yield [each.result() for each in waiting]

    def _scrambled(self, prepared: Sequence[Prepared], keys: Sequence[str]) -> list[Prepared]:
        from adapt.vlm.encoders import scrambled

        return [scrambled(each, key) for each, key in zip(prepared, keys, strict=False)]


def _half(found: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Features in float16.

    Raises:
        PresightError: of a picture some are not finite there; names its key.
    """
    with np.errstate(over="ignore"):
        rounded = found.astype(np.float16)
    if not (finite := np.isfinite(rounded).all((1, 2))).all():
        key = keys[int(np.flatnonzero(~finite)[0])]
        raise PresightError(key, "its features are not finite in float16", "take another layer, or dtype: float32")
    return rounded


def _fetched(repository: str) -> Path:
    """The folder of a repository at its commit, fetched once; pickled weights only where there are no others."""
    from huggingface_hub import snapshot_download

    name, _, revision = repository.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", _PICKLED]))
    except Exception as error:  # of any layer of the network
        mend = "download it where the hub is in reach (`hf download`), or name a copy in encoder"
        raise PresightError("repository", f"{name} cannot be had ({hub.line(error)})", mend) from error
    return folder
