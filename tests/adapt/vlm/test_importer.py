import io
import json

import numpy as np
import pytest

from adapt.vlm import conversations
from adapt.vlm.importer import Conversations
from adapt.vlm.pictures import Pictures, key_of
from presight import card
from presight.errors import PresightError
from presight.stage import scratch


def png(number, size=(6, 5), form="PNG"):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.full((*size, 3), number, np.uint8)).save(buffer, form)
    return buffer.getvalue()


def talk(item, image=None, question="What?", answer="That."):
    record = {"id": item, "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
    return record | ({"image": image} if image is not None else {})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of images, and what a file of records is written with."""
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "images"
    (images / "coco").mkdir(parents=True)
    for number in range(12):
        (images / "coco" / f"{number}.png").write_bytes(png(number))
    (images / "same.png").write_bytes(png(0))
    (images / "torn.jpg").write_bytes(png(99, form="JPEG", size=(60, 60))[:-200])
    return tmp_path


def made(place, found, name="out", lines=False, **fields):
    """Run the stage on these records; conversations by split, the artifact's folder and its counts."""
    path = place / ("x.jsonl" if lines else "x.json")
    path.write_text("\n".join(map(json.dumps, found)) if lines else json.dumps(found))
    fields = {"images": str(place / "images"), "tolerance": 1.0} | fields
    settled = Conversations(path=str(path), **fields).settle(fetch=False)
    out = place / name / "payload"
    out.mkdir(parents=True)
    settled.run(out, {})
    return settled, out, json.loads((out / "counts.json").read_text())


@pytest.mark.parametrize("lines", [False, True])
def test_conversations_and_pictures_lie_in_one_folder(place, lines):
    found = [talk(f"{n}", f"coco/{n}.png", f"<image>\nWhat is {n}?", f"It is {n}.") for n in range(12)]
    found.insert(5, talk("words", None, "How are you?"))
    _, out, counts = made(place, found, lines=lines, shard=5)
    read, pictures = conversations.read(out), Pictures(out)
    assert [each.item for each in read] == [each["id"] for each in found]
    assert pictures.modality == "image"
    assert len(pictures) == 12
    assert sorted(path.name for path in out.glob("*.tar")) == [f"pictures-{n:06d}.tar" for n in range(3)]
    for each in read:
        if each.item == "words":
            assert (each.picture, each.turns) == (None, ("How are you?", "That."))
            continue
        content = (place / "images" / "coco" / f"{each.item}.png").read_bytes()
        assert each.picture == key_of(content)
        assert pictures.read(each.picture) == content
        assert each.turns == (f"What is {each.item}?", f"It is {each.item}.")
    assert (counts["conversations"], counts["pictured"], counts["pictures"]) == (13, 12, 12)
    assert (counts["mended"], counts["renamed"]) == (0, 0)
    assert json.loads((out / "left_out.json").read_text()) == {"counts": {}, "named": []}


def test_what_is_left_out_is_counted_and_named(place, capsys):
    found = [
        talk("good", "coco/1.png"),
        talk("missing", "coco/none.png"),
        talk("torn", "torn.jpg"),
        talk("torn again", "torn.jpg"),
        talk("several", ["coco/1.png", "coco/2.png"]),
        talk("mute", "coco/1.png", answer=""),
        talk("folder", "coco"),
        talk("opening", "coco/2.png") | {"conversations": [{"from": "gpt", "value": "A caption."}]},
        "no record",
    ]
    _, out, counts = made(place, found)
    assert [each.item for each in conversations.read(out)] == ["good", "opening"]
    left = json.loads((out / "left_out.json").read_text())
    once = ("image is missing", "has several images", "has no answer", "is no record")
    assert left["counts"] == {"image cannot be read": 3} | dict.fromkeys(once, 1)
    assert dict(left["named"])["missing"] == "coco/none.png: image is missing"
    assert dict(left["named"])["several"] == "has several images"
    assert counts["left out, has several images"] == 1
    assert counts["pictures"] == len(Pictures(out)) == 2
    assert "left out 7 records (image cannot be read: 3" in capsys.readouterr().err


def test_more_broken_than_tolerated_stops(place):
    found = [talk(f"{n}", f"coco/{n}.png") for n in range(9)] + [talk("missing", "coco/none.png")]
    made(place, found, "just", tolerance=0.1)
    with pytest.raises(PresightError) as error:
        made(place, found, "over", tolerance=0.05)
    assert str(error.value).startswith(
        "path: 1 of 10 records cannot be used, as missing (coco/none.png: image is missi"
    )
    assert not (place / "over" / "payload" / "left_out.json").exists()
    with pytest.raises(PresightError, match="1 of 10 records"):
        made(place, found, "none", tolerance=0)
    several = [talk(f"{n}", ["coco/1.png", "coco/2.png"]) for n in range(5)]
    made(place, [*several, talk("one", "coco/1.png")], "several", tolerance=0)  # not broken, only not read here
    with pytest.raises(PresightError, match="holds 5 records, none of which can be used"):
        made(place, several, "nothing")
    with pytest.raises(PresightError, match="0 records, none of which"):
        made(place, [], "empty")


def test_a_wrong_folder_is_found_out_early(place, monkeypatch):
    monkeypatch.setattr("adapt.vlm.importer.HOPELESS", 3)
    seen = []
    monkeypatch.setattr("adapt.vlm.importer._Album._read", _counting(seen))
    with pytest.raises(PresightError, match=r"3 of 3 records cannot be used.*name the right folder in images"):
        made(place, [talk(f"{n}", f"elsewhere/{n}.png") for n in range(50)])
    assert len(seen) == 3


def _counting(seen):
    from adapt.vlm.importer import _Album

    real = _Album._read

    def read(album, item, image):
        seen.append(image)
        return real(album, item, image)

    return read


@pytest.mark.parametrize("image", ["../secret.png", "/etc/passwd", "coco/../../secret.png", "a\0b.png"])
def test_no_path_leads_out_of_the_folder(place, image):
    (place / "secret.png").write_bytes(png(1))
    with pytest.raises(PresightError, match="leads out of the folder"):
        made(place, [talk("good", "coco/1.png"), talk("sly", image)])
    assert not (place / "out" / "payload" / "pictures.json").exists()


def test_an_image_is_read_once_and_kept_once(place, monkeypatch):
    seen = []
    monkeypatch.setattr("adapt.vlm.importer._Album._read", _counting(seen))
    found = [talk(f"{n}", ("coco/0.png", "same.png", "torn.jpg")[n % 3]) for n in range(9)]
    _, out, counts = made(place, found)
    assert seen == ["coco/0.png", "same.png", "torn.jpg"]
    assert len(Pictures(out)) == counts["pictures"] == 1
    assert len({each.picture for each in conversations.read(out)}) == 1


def test_names_that_come_twice_are_numbered(place):
    items = ["a", "b", "a", "a#2", "a", "", 7]
    found = [talk(each, "coco/1.png") for each in items]
    _, out, counts = made(place, found)
    assert [each.item for each in conversations.read(out)] == ["a", "b", "a#2", "a#2#2", "a#3", "record 6", "7"]
    assert counts["renamed"] == 3


def test_draws_are_nested_and_pictures_stay_on_one_side(place):
    found = [talk(f"{n}", f"coco/{n % 12}.png") for n in range(60)]
    whole = {each.item for each in conversations.read(made(place, found)[1])}
    drawn = [
        {each.item for each in conversations.read(made(place, found, f"limit{limit}", limit=limit)[1])}
        for limit in (5, 20, 100)
    ]
    assert [len(each) for each in drawn] == [5, 20, 60]
    assert drawn[0] < drawn[1] < drawn[2] == whole
    other = conversations.read(made(place, found, "other", limit=20, seed=1)[1])
    assert {each.item for each in other} != drawn[1]
    _, out, counts = made(place, found, "split", validation=0.3)
    sides = [{each.picture for each in conversations.read(out, split)} for split in ("train", "validation")]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert counts["split train"] + counts["split validation"] == 60


def test_the_same_content_gives_the_same_bytes_and_name(place, monkeypatch):
    found = [talk(f"{n}", f"coco/{n}.png") for n in range(12)] + [talk("torn", "torn.jpg")]
    first, one, _ = made(place, found, "one")
    second, two, _ = made(place, found, "two")
    assert first.fingerprint == second.fingerprint
    assert [path.name for path in card.payload(one)] == [path.name for path in card.payload(two)]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(card.payload(one), card.payload(two), strict=True))
    (place / "images" / "coco" / "3.png").write_bytes(png(200))
    third, _, _ = made(place, found, "three")
    assert third.fingerprint != first.fingerprint
    with pytest.raises(PresightError, match="changed since it was planned"):
        first.run(one, {})


def test_what_was_decoded_before_a_kill_is_not_decoded_again(place, monkeypatch):
    from adapt.vlm import pictures

    decoded, real = [], pictures.picture
    monkeypatch.setattr(pictures, "picture", lambda name, content: decoded.append(name) or real(name, content))
    found = [talk(f"{n}", f"coco/{n}.png") for n in range(6)] + [talk("torn", "torn.jpg")]
    settled, out, _ = made(place, found)
    assert len(decoded) == 7
    whole = {path.name: path.read_bytes() for path in card.payload(out)}
    journal = scratch(out) / "decoded.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + lines[4][:10])  # a kill within the fifth
    settled.run(out, {})
    assert len(decoded) == 7 + 3
    assert {path.name: path.read_bytes() for path in card.payload(out)} == whole


def test_images_may_be_declared_and_may_be_none(place):
    found = [talk("a", "coco/1.png")]
    settled, out, _ = made(place, found, declared="coco@2017")
    assert settled.content["images"] == "coco@2017"
    assert len(Pictures(out)) == 1
    _, bare, _ = made(place, [talk("a")], "bare", images=None)
    assert len(Pictures(bare)) == 0
    with pytest.raises(PresightError, match=r"images: a has the image 'coco/1.png', and no folder is given"):
        made(place, found, "lost", images=None)
    for fields, said in (
        ({"declared": "coco"}, "has no version"),
        ({"declared": "coco@1", "images": None}, "says what no images are"),
        ({"images": str(place / "nowhere")}, "is not here; name a folder that is"),
        ({"path": str(place / "images")}, "is not here; name a file that is"),
    ):
        given = {"path": str(place / "x.json"), "images": str(place / "images")} | fields
        with pytest.raises(PresightError) as error:
            Conversations(**given).settle(fetch=False)
        assert said in str(error.value)


def test_a_limit_does_not_turn_few_broken_records_into_many(place):
    found = [talk(f"{n}", f"coco/{n % 12}.png") for n in range(500)] + [talk("mute", answer="")]
    _, _, counts = made(place, found, limit=5, tolerance=0.01)
    assert counts["conversations"] == 5
    with pytest.raises(PresightError, match="1 of 501 records cannot be used"):
        made(place, found, "strict", limit=5, tolerance=0.001)


def test_one_picture_under_two_paths_is_on_one_side_only(place):
    (place / "images" / "coco" / "twin").mkdir()
    for number in range(12):
        (place / "images" / "coco" / "twin" / f"{number}.png").write_bytes(png(number))
    found = [talk(f"{n} {way}", f"coco/{way}{n}.png") for n in range(12) for way in ("", "twin/")]
    _, out, _ = made(place, found, validation=0.5)
    sides = [{each.picture for each in conversations.read(out, split)} for split in ("train", "validation")]
    assert all(sides)
    assert not sides[0] & sides[1]
