import json
import os
from pathlib import Path

import pytest
from toys import shell

import presight
from presight import doctor

HOME = Path(presight.__file__).resolve().parents[1]


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Without the checks that take seconds."""
    monkeypatch.setattr(doctor, "_torch", lambda: ("torch", True, "2"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", find_spec(doctor.importlib.util.find_spec))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setenv("PRESIGHT_CACHE", str(tmp_path / "not" / "yet" / "there"))


def find_spec(real):
    return lambda name: real(name) if name in doctor.HOUSE else object()


def rows():
    return {what: (sound, detail) for what, sound, detail in doctor.checks()}


def test_a_sound_installation(quick, capsys):
    found = rows()
    for name in doctor.HOUSE:
        assert found[f"package {name}"][1].startswith(str(HOME)), name
    assert found["client pip"] == (True, "found")
    assert found["cache"][0]
    sound = all(sound for sound, _ in found.values())
    assert doctor.report(True) == (0 if sound else 2)
    described = json.loads(capsys.readouterr().out)
    assert [each["check"] for each in described] == list(found)
    assert doctor.report(False) == (0 if sound else 2)
    assert "python" in capsys.readouterr().out


def test_what_is_missing_names_its_mend(quick, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.card, "versions", dict)
    found = rows()
    assert found["client apt-get"] == (
        False,
        "not found: Debian packages of the sample need it, or PRESIGHT_MIRROR with their files",
    )
    assert found["client npm"][0]  # few need it
    assert found["deepspeed"] == (False, "not installed: pip install deepspeed")
    assert doctor.report(True) == 2


def test_a_package_of_the_same_name_earlier_on_the_path_is_found_out(tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "__init__.py").write_text("")
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")  # and spares its import
    path = os.pathsep.join([str(tmp_path), shell.PYTHONPATH])
    code, out, err = shell.presight_process("doctor", "--json", cwd=tmp_path, PYTHONPATH=path)
    assert code == 2, err
    found = {each["check"]: each for each in json.loads(out)}
    assert not found["package eval"]["sound"]
    assert f"{tmp_path}; expected under" in found["package eval"]["detail"]
    assert "another package shadows it" in found["package eval"]["detail"]
    assert found["package corpus"]["sound"]
    assert found["torch"]["detail"] == "no torch here: pip install torch"
    code, out, err = shell.presight_process("doctor", cwd=tmp_path, PYTHONPATH=path, COLUMNS="250")
    assert code == 2
    (row,) = [line for line in out.splitlines() if "package eval" in line]
    assert "NOT SOUND" in row
