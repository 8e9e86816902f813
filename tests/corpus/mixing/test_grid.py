import pytest
from toy_experiment import ITEM

from corpus import Mixture
from corpus.mixing import grid
from presight.errors import PresightError


@pytest.fixture
def spec(tiny, tmp_path):
    def write(text):
        path = tmp_path / "spec.yaml"
        path.write_text(f"tokens: {tiny.path(tiny.tokens)}\nitem: {ITEM}\n{text}")
        return path

    return write


def test_one_mixture(spec, tmp_path, capsys):
    points = grid.compile_spec(spec("sources: {web: 50, code: 50}\nbudget: 6400\n"), tmp_path / "out")
    mixture = Mixture.read(tmp_path / "out")
    assert points[0].mixture == mixture
    assert mixture.items == 100
    grid.show(points)
    assert "50.000% given" in capsys.readouterr().out


def test_a_grid_has_a_lock_a_point(spec, tmp_path, capsys):
    text = "sources: {web: $web, code: 40, math: $math}\nbudget: 6400\ngrid: {web: 40..60 step 10, math: [0, 20]}\n"
    points = grid.compile_spec(spec(text), tmp_path / "out")
    assert [point.place for point in points[:3]] == ["web=40,math=0", "web=40,math=20", "web=50,math=0"]
    assert len(points) == 6
    for point in points:
        assert Mixture.read(tmp_path / "out" / point.place).plan == point.row()["plan"]
    grid.show(points)
    assert "6 of 6 mixtures" in capsys.readouterr().out


def test_steps_between_two_mixtures(spec, tmp_path):
    between = "{between: [{web: 80, code: 20}, {web: 20, code: 80}], steps: 4}"
    text = f"sources: $mixture\nbudget: 6400\ngrid: {{mixture: {between}}}\n"
    points = grid.compile_spec(spec(text), tmp_path / "out")
    webs = [pool.quota for point in points for pool in point.mixture.pools if pool.name == "web"]
    assert webs == [80, 60, 40, 20]


def test_what_a_point_cannot_have_is_said_and_the_others_are_written(spec, tmp_path, capsys):
    text = "sources: {web: 1}\nbudget: $budget\nmax_epochs: 1\ngrid: {budget: [6400, 64000000]}\n"
    points = grid.compile_spec(spec(text), tmp_path / "out")
    assert [bool(point.mixture) for point in points] == [True, False]
    assert "exceeds its supply" in points[1].refused
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["budget=6400"]
    grid.show(points)
    assert "1 of 2 mixtures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source: {web: 1}", "source: is no field of a mixture; did you mean"),
        ("sources: {web: 1}\nbudget: many", "budget"),
        ("sources: {web: $x}\nbudget: 640", r"\$x is on no axis"),
        ("budget: 640", "give sources, families or a schedule"),
        ("sources: {web: 1}\nbudget: 640\ngrid: {x: 3}", "is not an axis"),
        ("families: {visual: 10}\nbudget: 640", "need cells"),
        ("sources: {web: 1}\nbudget: 640\ngrid: [1, 2]", "is no mapping of axes"),
        ("sources: {web: 1}\nbudget: 640\ngrid: {x: [1, 2]}", r"grid\.x: changes nothing; write \$x"),
        ("sources: {web: $x}\nbudget: 640\ngrid: {x: {../../up: 1}}", "cannot name a folder"),
        ('sources: {web: $x}\nbudget: 640\ngrid: {x: {"a\\0": 1}}', "cannot name a folder"),
        ("sources: {web: true}\nbudget: 640", "sources.web: True should be a valid number"),
    ],
)
def test_faults_name_the_file(spec, tmp_path, text, says):
    with pytest.raises(PresightError, match=says) as refused:
        grid.compile_spec(spec(text), tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_file_without_tokens_is_refused(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("sources: {web: 1}\n")
    with pytest.raises(PresightError, match="tokens: is missing"):
        grid.compile_spec(path, tmp_path)
    with pytest.raises(PresightError, match="cannot be read"):
        grid.compile_spec(tmp_path / "none.yaml", tmp_path)
    path.write_text("- 1\n")
    with pytest.raises(PresightError, match="is no mapping"):
        grid.compile_spec(path, tmp_path)
