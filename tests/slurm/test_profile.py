import pytest
from toy_jobs import Shared, Word

from presight.errors import PresightError
from presight.stage import Resources
from slurm import profile


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = profile.folder()
    made.mkdir(parents=True)
    return made


def test_a_profile_is_found_by_path_by_name_beside_the_recipe_and_when_it_is_the_only_one(folder, tmp_path):
    (folder / "site.yaml").write_text("partition: gpu\ntime: 24:00:00\nmodules: [cuda, gcc]\n")
    beside = tmp_path / "slurm.yaml"
    beside.write_text("slurm: {partition: here, environment: {A: 'b c'}}\n")
    assert profile.read("site").partition == "gpu"
    assert profile.read("site").name == "site"
    assert profile.read(str(folder / "site.yaml")).modules == ("cuda", "gcc")
    assert profile.read(None).time == "24:00:00"
    assert profile.read(None, tmp_path / "recipe.yaml").partition == "here"
    assert profile.read(str(beside)).environment == {"A": "b c"}
    (folder / "other.yaml").write_text("{}")
    with pytest.raises(PresightError, match="holds other, site; name one"):
        profile.read(None)
    with pytest.raises(PresightError, match="did you mean site"):
        profile.read("sit")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitions: gpu", "partitions: Profile has no such field; did you mean partition"),
        ("stages: {lm: {gpu: 8}}", "stages.lm.gpu: Request has no such field"),
        ("stages: {lm: {max_submit: 8}}", "stages.lm.max_submit: Request has no such field"),
        ("gpus: -1", "gpus: -1 should be greater than or equal to 0"),
        ("time: tomorrow", "is no time limit"),
        ("extra: [nvlink]", "which is no option"),
        ("- a", "is not a mapping"),
        ("runtime: docker", "runtime"),
    ],
)
def test_what_a_profile_cannot_be_is_said_with_field_and_mend(folder, text, said):
    (folder / "site.yaml").write_text(text)
    with pytest.raises(PresightError, match=said):
        profile.read("site")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("24:00:00", 86400),
        ("1:02:03", 3723),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("1-00:00:01", 86401),
    ],
)
def test_time_limits_are_read_as_sbatch_reads_them(text, seconds):
    assert profile.seconds(text) == seconds


def test_a_stage_of_the_recipe_asks_for_its_own_over_the_profiles(folder):
    (folder / "site.yaml").write_text(
        "partition: cpu\ntime: 60\nextra: --exclusive\n"
        "stages: {lm: {partition: gpu, gpus: 8, nodes: 2, extra: [--reservation=x]}}\n"
    )
    site = profile.read("site")
    asked = site.of("lm")
    assert (asked.partition, asked.gpus, asked.time) == ("gpu", 8, "60")
    assert asked.extra == ("--exclusive", "--reservation=x")
    assert (site.of("text").partition, site.of("text").gpus) == ("cpu", None)


def test_gpus_and_nodes_are_for_stages_that_can_use_them():
    site = profile.Profile(gpus=8, nodes=2, memory=64)
    shared, word = Shared(word="a"), Word(word="a", resources=Resources(memory_gb=100))
    assert profile.resources(shared, site, "lm") == Resources(gpus=8, nodes=2, memory_gb=64)
    assert profile.resources(word, site, "lm") == Resources(memory_gb=100)
    on_one = word.changed(resources=Resources(gpus=1))
    assert profile.resources(on_one, site, "lm").gpus == 8
    assert profile.resources(on_one, site, "lm").nodes == 1
    assert profile.resources(word, profile.Profile(), "lm") == word.resources


def test_a_time_limit_is_the_entrys_then_the_recipes_then_the_profiles():
    site = profile.Profile(time="2:00:00", stages={"lm": profile.Request(time="1-00")})
    short = Word(word="a", resources=Resources(minutes=5))
    assert profile.resources(short, site, "lm").minutes == 1440
    assert profile.resources(short, site, "text").minutes == 5
    assert profile.resources(Word(word="a"), site, "text").minutes == 120
    assert profile.resources(Word(word="a"), profile.Profile(), "text").minutes is None
