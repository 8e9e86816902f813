"""A conversation as tokens: segments of text, each known to be learnt or not before it is tokenised by itself.

Labels found by comparing strings or token counts of whole and part go wrong with every other tokenizer; here a token
is learnt because its segment is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from presight.errors import PresightError, nearest

if TYPE_CHECKING:
    from adapt.vlm.chat import Chat

Name = Literal["caption", "plain", "chat"]
NAMES = ("caption", "plain", "chat")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a conversation.

    Attributes:
        text: as it stands there; empty where the picture stands.
        learnt: whether the model is to write it.
        marked: whether special tokens spelled in it are such: in a template's own text, never in what data say.
        picture: whether the picture's tokens stand here.
    """

    text: str
    learnt: bool = False
    marked: bool = False
    picture: bool = False


PICTURE = Segment("", picture=True)


@dataclass(frozen=True, eq=False, slots=True)
class Tokens:
    """The text tokens of a conversation.

    Attributes:
        ids: int64 [T].
        learnt: bool [T].
        place: the picture's tokens stand before the text token of this number; None: no picture.
    """

    ids: npt.NDArray[np.int64]
    learnt: npt.NDArray[np.bool_]
    place: int | None


class Template:
    """How turns are written for a model.

    ``caption``: picture, caption, end of text; what is asked is left out, and the caption alone is learnt, as in
    Prismatic's alignment. ``plain``: ``User: …`` and ``Assistant: …``, the picture before them. ``chat``: the
    tokenizer's own template, the picture at the beginning of the first thing said. The tokenizer's token for the
    beginning of a text, if it has one, stands in front of all (a chat template writes its own); what ends an answer
    is learnt with it.

    Args:
        name: one of these.
        tokenizer: a fast one of transformers.

    Attributes:
        lead: what an answer begins with: options to be scored after `prompt` have it in front.
        ends: the tokens that end an answer.

    Raises:
        PresightError: no such template, a tokenizer without an end of text, or a chat template that cannot be parted.
    """

    def __init__(self, name: str, tokenizer: Any) -> None:
        if name not in NAMES:
            raise PresightError("template", f"{name!r} is none", nearest(name, NAMES))
        if tokenizer.eos_token_id is None:
            raise PresightError(
                "template", "the tokenizer has no end-of-text token", "set eos_token and save it again"
            )
        self.name, self.tokenizer = name, tokenizer
        self.lead = " " if name == "plain" else ""
        self._chat: Chat | None = None
        ends = {int(tokenizer.eos_token_id)}
        if name == "chat":
            from adapt.vlm.chat import Chat

            self._chat = Chat(tokenizer)
            self.lead = self._chat.lead
            ends.add(self._ids(Segment(self._chat.end, marked=True))[-1])
        self.ends = tuple(sorted(ends))

    def segments(self, turns: Sequence[str], picture: bool) -> list[Segment]:
        """The segments of a conversation, in order.

        Args:
            turns: the user's and the assistant's in turn, as of a `adapt.vlm.conversations.Conversation`; without the
                last, the segments end where the assistant's answer begins.
            picture: whether it has one.

        Raises:
            PresightError: several turns where a caption is wanted.
        """
        said = [turn.strip() for turn in turns]
        if self._chat:
            return self._chat.segments(said, picture)
        found = [Segment(self.tokenizer.bos_token, marked=True)] if self.tokenizer.bos_token else []
        found += [PICTURE] if picture else []
        return found + (self._caption(said) if self.name == "caption" else self._plain(said))

    def _caption(self, said: list[str]) -> list[Segment]:
        if len(said) > 2:
            problem = f"a conversation of {len(said)} turns is no caption"
            raise PresightError("template", problem, "give captions, or template: plain")
        if len(said) == 1:  # a question to a model that writes captions stands where they would begin
            return [Segment(said[0])] if said[0] else []
        return [Segment(said[1], learnt=True), self._end]

    def _plain(self, said: list[str]) -> list[Segment]:
        found = []
        for place, turn in enumerate(said):
            if place % 2:
                found += [Segment(self.lead + turn, learnt=True), self._end]
            else:
                before = "\nUser: " if place else "User: "
                found.append(Segment((before + turn).rstrip(" ") + "\nAssistant:"))
        return found

    @property
    def _end(self) -> Segment:
        return Segment(self.tokenizer.eos_token, learnt=True, marked=True)

    def conversation(self, turns: Sequence[str], picture: bool) -> Tokens:
        """The tokens of a conversation to learn from."""
        return self._tokens(self.segments(turns, picture))

    def prompt(self, question: str, picture: bool) -> Tokens:
        """The tokens of a question, up to where the answer begins."""
        return self._tokens(self.segments([question], picture))

    def _tokens(self, segments: list[Segment]) -> Tokens:
        ids: list[int] = []
        learnt: list[bool] = []
        place = None
        for segment in segments:
            if segment.picture:
                place = len(ids)
                continue
            found = self._ids(segment)
            ids += found
            learnt += [segment.learnt] * len(found)
        return Tokens(np.array(ids, dtype=np.int64), np.array(learnt, dtype=np.bool_), place)

    def _ids(self, segment: Segment) -> list[int]:
        read = self.tokenizer(
            segment.text, add_special_tokens=False, split_special_tokens=not segment.marked, verbose=False
        )
        return list(read["input_ids"])
