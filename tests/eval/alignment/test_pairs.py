import csv
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from eval.alignment.pairs import Pair, emoji, local
from presight.errors import PresightError
from presight.packages import Fetched


@pytest.fixture
def folder(tmp_path):
    """Twelve images; the list has two captions of the first."""
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(12):
        Image.new("RGB", (20 + i, 30), (10 * i, 100, 200)).save(tmp_path / "images" / f"{i}.png")
        rows.append({"file": f"images/{i}.png", "caption": f"thing {i}"})
    write(tmp_path, [*rows, {"file": "images/0.png", "caption": "another"}])
    return tmp_path


def write(folder, rows, name="pairs.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")


def table(folder, name, head, rows):
    (folder / "pairs.jsonl").unlink()
    with (folder / name).open("w", encoding="utf-8-sig", newline="") as opened:
        written = csv.writer(opened, delimiter="\t" if name.endswith("tsv") else ",")
        written.writerow(head)
        written.writerows(rows)


def test_pairs_are_read_with_the_first_caption_of_each_image(folder):
    found = local(folder)
    assert found.pairs == tuple(Pair(f"images/{i}.png", f"thing {i}") for i in range(12))
    some = found.take([3, 1])
    assert [pair.caption for pair in some.pairs] == ["thing 3", "thing 1"]
    assert [each.size for each in some.pictures()] == [(23, 30), (21, 30)]
    assert some.pictures()[0].getpixel((0, 0)) == (30, 100, 200)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.tsv", "metadata.csv"])
@pytest.mark.parametrize(
    "head", [("caption", "file"), ("text", "file_name"), ("caption_reference_description", "image")]
)
def test_tables_and_their_names_for_columns(folder, name, head):
    lines = local(folder).pairs
    rows = [(pair.caption, pair.file) for pair in lines]
    table(folder, name, head, [*rows, ('a, "second"\nline', "images/3.png")])
    assert local(folder).pairs == lines


def coco(folder, images, annotations, name="captions_val.json"):
    (folder / "pairs.jsonl").unlink(missing_ok=True)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"images": images, "annotations": annotations}))


def test_captions_of_coco(folder):
    images = [{"id": 7, "file_name": "3.png"}, {"id": 4, "file_name": "images/5.png"}, {"id": 9, "file_name": "1.png"}]
    notes = [
        {"id": 12, "image_id": 7, "caption": "later"},
        {"id": 3, "image_id": 7, "caption": " first\n"},
        {"id": 1, "image_id": 7, "caption": "  "},
        {"id": 8, "image_id": 4, "caption": "five"},
    ]
    for name in ("captions.json", "annotations/captions_val.json"):
        coco(folder, images, notes, name)
        assert local(folder).pairs == (Pair("images/3.png", "first"), Pair("images/5.png", "five"))
        (folder / name).unlink()
    (folder / "more").mkdir()
    (folder / "more" / "3.png").write_bytes(b"")
    coco(folder, images, notes)
    with pytest.raises(PresightError, match=r"'3\.png' is there 2 times"):
        local(folder)
    coco(folder, [{"id": 7, "file_name": "none.png"}], notes)
    with pytest.raises(PresightError, match=r"'none\.png' is not in the folder"):
        local(folder)
    coco(folder, [{"id": 7}], notes)
    with pytest.raises(PresightError, match="no list of captions as of COCO"):
        local(folder)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ('{"file": "images/0.png"}', "lacks file or caption"),
        ('{"file": "images/0.png", "caption": " "}', "lacks file or caption"),
        ('{"file": 3, "caption": "three"}', "lacks file or caption"),
        ("[1]", "lacks file or caption"),
        ("{", "cannot be read"),
        ('{"file": "../pairs.py", "caption": "a"}', "not in the folder"),
    ],
)
def test_records_that_cannot_be_read_are_refused(folder, record, problem):
    (folder / "pairs.jsonl").write_text(record)
    with pytest.raises(PresightError, match=problem):
        local(folder)


def test_no_list_and_two_lists_are_refused(folder):
    write(folder, [], "metadata.jsonl")
    with pytest.raises(PresightError, match=r"several lists: pairs\.jsonl and metadata\.jsonl"):
        local(folder)
    (folder / "pairs.jsonl").unlink(), (folder / "metadata.jsonl").unlink()
    with pytest.raises(PresightError, match=r"has none of pairs\.jsonl"):
        local(folder)


def encoded(pixels, **options):
    image, written = Image.fromarray(pixels), io.BytesIO()
    image.save(written, **{"format": "png"} | options)
    return written.getvalue()


def packed(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def packages(tmp_path):
    """Packages as the real ones are laid out: three pictures, of which two have a name, and a name without one."""
    names = [
        {"hexcode": "1F600", "label": "grinning face", "tags": ["smile", "happy"], "group": 0},
        {"hexcode": "0023-FE0F", "label": "keycap: #", "group": 1},
        {"hexcode": "1F1E9", "label": "regional indicator D"},
        {"hexcode": "1F601", "label": "beaming face", "tags": ["eye"], "group": 0},
    ]
    pictures = {}
    for i, code in enumerate(["0023-fe0f", "1f1e9", "1f600"]):
        pixels = np.full((8, 8, 4), (i, 0, 0, 255), np.uint8)
        pictures[f"package/assets/{code}.webp"] = encoded(pixels, format="webp", lossless=True)
    meta = {"groups": {"0": "smileys", "1": "symbols"}, "subgroups": {}}
    described = {"package/en/data.json": json.dumps(names), "package/meta/groups.json": json.dumps(meta)}
    archives = {
        "@lobehub/fluent-emoji-3d": packed(tmp_path / "fluent.tgz", pictures),
        "emojibase-data": packed(tmp_path / "names.tgz", {name: text.encode() for name, text in described.items()}),
    }
    return Fetched("images.emoji", archives, "digest", {})


def test_emoji_with_picture_and_name(packages):
    found = emoji(packages)
    assert found.pairs == (
        Pair("package/assets/0023-fe0f.webp", "keycap: #", "symbols"),
        Pair("package/assets/1f600.webp", "grinning face", "smileys"),
    )
    assert [each.getpixel((0, 0)) for each in found.pictures()] == [(0, 0, 0), (2, 0, 0)]
    assert [pair.caption for pair in emoji(packages, tags=True).pairs] == ["keycap: #", "grinning face: smile, happy"]
