import json

import pytest

from adapt.vlm.artifact import DESCRIPTION, Attachment, link
from presight.errors import PresightError


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "lm"
    folder.mkdir()
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    for name in (*names, "card.json", "ledger.json", "metrics.jsonl", "optimizer.pt"):
        (folder / name).write_text(name)
    (folder / "state").mkdir()
    return folder


def test_weights_are_linked_and_the_rest_is_copied(checkpoint, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        link(checkpoint, out)
    found = {path.name: path for path in out.iterdir()}
    assert set(found) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    for name, path in found.items():
        assert path.read_text() == name
        linked = path.stat().st_ino == (checkpoint / name).stat().st_ino
        assert linked == (name == "model.safetensors")


def test_where_no_link_can_be_made_all_is_copied(checkpoint, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    link(checkpoint, tmp_path / "out")
    copied = tmp_path / "out" / "model.safetensors"
    assert copied.read_text() == "model.safetensors"
    assert copied.stat().st_ino != (checkpoint / "model.safetensors").stat().st_ino


def test_a_tokenizer_alone_leaves_what_is_there(checkpoint, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("mine")
    link(checkpoint, out, weights=False)
    assert sorted(path.name for path in out.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (out / "config.json").read_text() == "mine"


def test_what_is_written_is_read_and_what_is_added_is_let_be(tmp_path):
    attachment = Attachment(576, 768, (14, 14), "clip@1", "image", "chat", "matched", 3)
    attachment.write(tmp_path, norms={"text": 0.5})
    assert Attachment.read(tmp_path) == attachment
    assert json.loads((tmp_path / DESCRIPTION).read_text())["norms"] == {"text": 0.5}
    with pytest.raises(PresightError, match="holds no LM with an encoder attached"):
        Attachment.read(tmp_path / "nowhere")
