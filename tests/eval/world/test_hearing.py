import numpy as np
import pytest

from eval.world.clips import Clip, Event, compose
from eval.world.hearing import TASKS, caption
from eval.world.recordings import Recordings, tones
from eval.world.subject import HEARD, Subject
from eval.world.vocabulary import Entry, Vocabulary

ALIKE = (frozenset({"bell", "flute"}),)
WORDS = Vocabulary({name: Entry(name) for name in tones(0)["test"]}, ALIKE)


@pytest.fixture(scope="module")
def about():
    recordings = Recordings(tones(0), ALIKE)
    made = [compose(recordings, "test", number, 0)[1] for number in range(300)]
    keyed = [Clip(f"{i:032x}", *(getattr(clip, name) for name in Clip.__slots__[1:])) for i, clip in enumerate(made)]
    return Subject(keyed, WORDS, TASKS, caption, HEARD)


@pytest.mark.parametrize("task", TASKS)
def test_answers_follow_from_the_events(about, task):
    clips = {clip.key: clip for clip in about.records}
    asks = about.asks(task, np.random.default_rng(0))
    assert len(asks) >= 60
    for ask in asks:
        events = clips[ask.picture].events
        names = [event.name for event in events]
        if task == "heard":
            assert [option for option in ask.options if option in names] == [ask.answer]
            like = {"bell", "flute"}
            assert not (like & set(names) and like & set(ask.options) - {ask.answer})
        elif task == "order":
            assert ask.answer == names[0 if ask.words["end"] == "first" else -1]
            assert sorted(ask.options) == sorted(names)
        elif task == "number":
            assert ask.answer == str(len(events))
        elif task == "same":
            assert ask.answer == ("the same" if names[0] == names[1] else "different")
        elif task == "louder":
            assert ask.answer == ("the first" if events[0].softer < events[1].softer else "the second")
        else:
            assert ask.answer == ("the first" if events[0].higher > events[1].higher else "the second")


@pytest.mark.parametrize(
    ("purpose", "events", "said"),
    [
        ("row", [("bell", 0, 0), ("hiss", 0, 0), ("chirp", 0, 0)], "bell, then hiss, then chirp"),
        ("row", [("bell", 0, 0)], "bell"),
        ("pair", [("bell", 0, 0), ("bell", 0, 0)], "bell twice"),
        ("pair", [("bell", 0, 0), ("hiss", 0, 0)], "bell, then hiss"),
        ("loud", [("bell", 0, 0), ("bell", 9, 0)], "bell twice, softer the second time"),
        ("loud", [("bell", 9, 0), ("bell", 0, 0)], "bell twice, louder the second time"),
        ("pitch", [("bell", 0, 7), ("bell", 0, 0)], "bell twice, lower the second time"),
        ("pitch", [("bell", 0, 0), ("bell", 0, 7)], "bell twice, higher the second time"),
    ],
)
def test_captions_say_what_sounds(purpose, events, said):
    heard = tuple(Event(name, 0, 0.1, softer, higher) for name, softer, higher in events)
    assert caption(Clip("", "train", 0, purpose, "", heard), WORDS, np.random.default_rng(0)) == said
