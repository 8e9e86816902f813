from collections import Counter

import numpy as np
import pytest
import toy_tuning as toy
from hypothesis import given
from hypothesis import strategies as st

from adapt.vlm.conversations import Conversation, write
from adapt.vlm.packing import IGNORED
from adapt.vlm.samples import Choice, Samples, Shelf
from adapt.vlm.template import Template
from presight.errors import PresightError


@pytest.fixture(scope="module")
def template():
    return Template("plain", toy.word_tokenizer())


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """The features of the pictures, in two artifacts."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    toy.write_features(folders[0], toy.CAPTIONS[:40])
    toy.write_features(folders[1], toy.CAPTIONS[30:])
    return Shelf.of(folders)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("captions", "instructions")]
    toy.Captions().run(folders[0], {})
    toy.Instructions().run(folders[1], {})
    return folders


def samples(conversations, template, features, batch=24, seed=0, context=96, limit=64):
    blank = np.zeros((1, 16, toy.WIDTH), np.float16)
    return Samples(conversations, template, 4, context, limit, batch, seed, features, blank)


@given(st.integers(1, 70), st.integers(0, 3), st.integers(1, 3))
def test_every_conversation_is_read_once_an_epoch_whoever_reads(said, template, batch, seed, epochs):
    conversations = Choice().of(said[:1])[0]
    found = samples(conversations, template, None, batch, seed)
    orders = []
    for epoch in range(epochs):
        steps = range(epoch * found.steps, (epoch + 1) * found.steps)
        chosen = [found.chosen(step) for step in steps]
        assert all(len(each) == batch for each in chosen[:-1])
        orders.append([number for each in chosen for number in each])
        assert sorted(orders[-1]) == list(range(64))
    again = samples(conversations, template, None, batch, seed)
    assert again.chosen(found.steps * epochs - 1) == chosen[-1]
    if epochs > 1:
        assert orders[0] != orders[1]


@pytest.mark.parametrize("world", [1, 2, 3, 16])
@pytest.mark.parametrize("together", [1, 4])
def test_ranks_share_the_rows_and_come_together_as_often(said, template, shelf, world, together):
    found = samples(Choice().of(said)[0], template, shelf, batch=20)
    for step in (0, found.steps - 1):
        rows, counts = found.rows(step)
        shares = [found.share(step, rank, world, together) for rank in range(world)]
        assert len({len(each.parts) for each in shares}) == 1
        assert {each.learnt for each in shares} == {counts["tokens learnt"]}
        learnt, pictures = 0, Counter()
        for share in shares:
            for part, features in share.parts:
                learnt += int((part.targets != IGNORED).sum())
                pictures.update(part.pictures)
                assert part.ids.shape[0] <= together
                assert len(features) == max(1, len(part.pictures))
                assert int(part.shown.sum()) == 4 * len(part.pictures)
        assert learnt == counts["tokens learnt"] == sum(sample.learnt for row in rows for sample in row)
        assert pictures == Counter(sample.picture for row in rows for sample in row if sample.picture)


def test_features_come_in_the_order_in_which_pictures_stand(said, template, shelf):
    found = samples(Choice().of(said[:1])[0], template, shelf, batch=64)
    ((part, features),) = found.share(0, 0, 1, 100).parts
    assert len(part.pictures) == 64
    for key, each in zip(part.pictures, features, strict=True):
        caption = toy.CAPTIONS[toy.KEYS.index(key)]
        assert np.array_equal(each, toy.features_of(caption).astype(np.float16))
    words = template.tokenizer.decode(part.ids[part.positions >= 0][: part.ids.shape[1]])
    first = toy.CAPTIONS[toy.KEYS.index(part.pictures[0])]
    assert f"Assistant: {first}</s>" in words


def test_shares_ahead_are_those_asked_for_one_by_one(said, template):
    found = samples(Choice().of(said)[0], template, None, batch=50)
    ahead = list(found.shares(range(1, 6), 0, 1, 3))
    assert len(ahead) == 5
    for step, share in enumerate(ahead, 1):
        alone = found.share(step, 0, 1, 3)
        assert share.counts == alone.counts
        for (mine, _), (theirs, _) in zip(share.parts, alone.parts, strict=True):
            assert np.array_equal(mine.ids, theirs.ids)
    assert list(found.shares(range(0), 0, 1, 3)) == []


def test_pictures_withheld_are_not_there_at_all(said, template, shelf):
    conversations = Choice().of(said)[0]
    seen, blind = (samples(conversations, template, each, batch=192) for each in (shelf, None))
    (_, mine), (_, theirs) = seen.rows(0), blind.rows(0)
    assert (mine["pictures"], mine["tokens of pictures"]) == (128, 4 * 128)
    assert (theirs["pictures"], theirs["tokens of pictures"]) == (0, 0)
    assert mine["tokens"] - theirs["tokens"] == 4 * 128
    assert mine["tokens learnt"] == theirs["tokens learnt"]


def test_what_is_over_is_cut_and_counted(template, shelf):
    key = toy.KEYS[0]
    said = [
        Conversation("fits", ("Q", "a red cat"), key),
        Conversation("long", ("Q", "a red cat" + 50 * " dog"), key),
        Conversation("asks too much", ("Q" * 90, "a red cat"), key),
    ]
    found = samples(said, template, shelf, limit=40)
    rows, counts = found.rows(0)
    assert sorted(len(sample) for row in rows for sample in row) == [14, 40]
    assert (counts["samples"], counts["samples cut"], counts["samples without an answer left"]) == (3, 2, 1)
    full = samples(said, template, shelf, context=128, limit=128).rows(0)[1]
    assert full["tokens"] == counts["tokens"] + counts["tokens cut"] + 40  # the one left out was of 40 by then
    assert counts["tokens learnt"] == 4 + 40 - 10


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_smaller_choice_is_part_of_a_larger_one(said, one, other):
    few, many = (Choice(items=items).of(said[:1])[0] for items in sorted((one, other)))
    assert (len(few), len(many)) == tuple(sorted((one, other)))
    assert {each.item for each in few} <= {each.item for each in many}


def test_what_is_left_out_is_counted(said):
    whole, counts = Choice().of(said)
    assert (len(whole), counts) == (192, {})
    found, counts = Choice(without=("perception",)).of(said)
    assert counts == {"left out: perception": 32}
    assert {each.tag for each in found} == {"", "reasoning", "other"}
    found, counts = Choice(pictured=True, fraction=0.5).of(said)
    assert counts == {"left out: without a picture": 64, "left out: beyond what was asked for": 64}
    assert all(each.picture for each in found)
    with pytest.raises(PresightError, match="no conversation is left"):
        Choice(without=("other", "perception", "reasoning")).of(said[1:])


def test_what_cannot_be_read_is_one_sentence(tmp_path, said, template, shelf):
    conversations = Choice().of(said)[0]
    stranger = [*conversations, Conversation("x", ("", "y"), "f" * 32)]
    with pytest.raises(PresightError, match="features: 1 of the 65 pictures are not among them, as ffff"):
        samples(stranger, template, shelf)
    with pytest.raises(PresightError, match="tokens: 4 of a picture leave no room for words: a conversation has 5"):
        samples(conversations, template, shelf, limit=5)
    with pytest.raises(PresightError, match="a conversation of 4 turns is no caption"):
        samples(conversations, Template("caption", template.tokenizer), shelf)
    toy.write_features(tmp_path / "other", encoder="other@2")
    with pytest.raises(PresightError, match="are of other@2 and toy@1"):
        Shelf.of([tmp_path / "other", shelf.artifacts[0].folder])


def test_one_name_in_two_artifacts_is_two_conversations(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, [Conversation("same", ("", name))])
    assert [each.turns[1] for each in Choice().of([tmp_path / "a", tmp_path / "b"])[0]] == ["a", "b"]
    assert len(Choice(items=1).of([tmp_path / "a", tmp_path / "b"])[0]) == 1
