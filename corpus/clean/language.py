"""What language a document is in: fastText's small model of 176 languages, out of an ordinary package."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from presight.errors import PresightError, nearest

if TYPE_CHECKING:
    from presight.packages import Fetched

LABEL = "__label__"
BATCH = 256  # documents given to the model at once
LOOKED_AT = 5_000  # characters of a document: enough to tell
GUESSES = 5  # likeliest languages whose probabilities are looked at


def load(fetched: Fetched) -> Any:
    """The fastText model among the members of a fetched package."""
    import fasttext

    members = [content for package in fetched.archives for _, content in fetched.members(package)]
    with tempfile.TemporaryDirectory() as folder:  # fastText reads from files alone
        path = Path(folder) / "model"
        path.write_bytes(members[0])
        return fasttext.load_model(str(path))


class Language(BaseFilter):
    """Keeps documents that are likely enough in one of the given languages.

    datatrove's own filter of this kind insists on another build of fastText, which cannot be installed beside ours.

    Args:
        model: a fastText classifier whose labels are languages.
        languages: codes of the languages to keep, as in the model's labels: ``("en", "de")``.
        threshold: their probabilities together, at least.

    Raises:
        PresightError: the model does not know a language; names the nearest.
    """

    name = "Language"

    def __init__(self, model: Any, languages: Iterable[str], threshold: float) -> None:
        super().__init__(batch_size=BATCH)
        self.model, self.languages, self.threshold = model, frozenset(languages), threshold
        known = {label.removeprefix(LABEL) for label in model.labels}
        for language in sorted(self.languages - known):
            raise PresightError("languages", f"{language!r} is none the model knows", nearest(language, known))

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Whether to keep the document, or the language it is in instead."""
        return self.filter_batch([doc])[0]

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """``filter`` of each document."""
        # to fastText a line is a document, and joining lines without a space would make new words
        found = self.model.predict([" ".join(doc.text[:LOOKED_AT].split()) for doc in batch], GUESSES)
        return [self._verdict(*guesses) for guesses in zip(*found, strict=True)]

    def _verdict(self, labels: list[str], probabilities: Any) -> bool | tuple[bool, str]:
        guesses = [label.removeprefix(LABEL) for label in labels]
        wanted = sum(float(p) for guess, p in zip(guesses, probabilities, strict=True) if guess in self.languages)
        if wanted >= self.threshold:
            return True
        return False, "unsure" if not guesses or guesses[0] in self.languages else guesses[0]
