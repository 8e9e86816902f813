import shutil
import subprocess
from pathlib import Path

import pytest
from toy_jobs import Ends, Parts, Shared

from presight.stage import FrozenMap, Resources
from slurm import check
from slurm.jobs import Job, Task
from slurm.profile import Profile, Request
from slurm.script import Setting, text

GOLDEN = Path(__file__).parent / "golden"
PLAIN = Profile(name="plain")
RICH = Profile(
    name="rich",
    partition="gpu",
    account="lab",
    qos="normal",
    time="1-00",
    memory=200,
    cpus=12,
    modules=("cuda/12.4", "gcc"),
    venv="/lab/venv",
    environment=FrozenMap({"NCCL_DEBUG": "WARN", "GREETING": "two words"}),
    array_limit=16,
    extra=("--constraint=nvlink",),
    stages=FrozenMap({"lm": Request(gpus=8, gpu_type="h100", nodes=4)}),
)
ANEW = PLAIN.model_copy(update={"requeue": False, "restarts": 7, "time": "30"})
BOXED = PLAIN.model_copy(update={"container": "/lab/presight.sif"})
PYXIS = PLAIN.model_copy(update={"container": "lab/presight:1", "runtime": "pyxis"})


def setting(profile, root="/lab/root"):
    root = Path(root)
    folder = root / "runs/mix/slurm"
    return Setting(
        "mix", root, folder, root / "store/.code/0123", Path("/home/me/.cache/presight"), "/usr/bin/python3", profile
    )


def grid(profile):
    tasks = [Task(f"f{i}", "lm", f"lm[init={i}]", Shared(word=str(i))) for i in (0, 1, 5)]
    return text(Job("lm", dict(zip((0, 1, 5), tasks, strict=True))), "0002-lm", setting(profile), 300)


def shards(profile):
    parts = Parts(word="b", count=3)
    tasks = {i: Task(f"{parts.fingerprint}.{i}", "tokens", f"tokens part {i + 1}", parts, i) for i in range(3)}
    return text(Job("tokens", tasks), "0001-tokens", setting(profile))


def single(profile, root="/lab/root"):
    stage = Ends(word="a", resources=Resources(threads=4, gpus=1, minutes=45, memory_gb=8))
    return text(Job("scores", {None: Task("f", "scores", "scores", stage)}), "0003-scores", setting(profile, root))


SCRIPTS = {
    "grid.sbatch": grid(RICH),
    "shards.sbatch": shards(PLAIN),
    "single.sbatch": single(ANEW),
    "boxed.sbatch": single(BOXED),
    "pyxis.sbatch": single(PYXIS),
    "spaces.sbatch": single(PLAIN, "/lab/my root/100%"),
    "check.sbatch": check.script(setting(RICH)),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_text_is_the_one_that_was_read_and_run(name):
    assert SCRIPTS[name] == (GOLDEN / name).read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_pass_bash_and_shellcheck(name, tmp_path):
    path = tmp_path / name
    path.write_text(SCRIPTS[name])
    assert subprocess.run(["bash", "-n", path], capture_output=True, check=False).stderr == b""
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_clusters_own_scripts_pass_shellcheck():
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    folder = Path(__file__).parent / "cluster"
    done = subprocess.run(
        ["shellcheck", *(folder / each for each in ("up", "down", "node"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def options(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_every_script_asks_for_what_keeps_a_run_alive():
    for name in sorted(set(SCRIPTS) - {"check.sbatch"}):
        script = SCRIPTS[name]
        found = options(script)
        assert "--open-mode=append" in found
        assert "--kill-on-invalid-dep=yes" in found
        assert ("--no-requeue" if name == "single.sbatch" else "--requeue") in found
        assert any(option.startswith("--signal=B:USR1@") for option in found)
        assert "SRUN_CPUS_PER_TASK" in script
        assert "HF_HUB_OFFLINE=1" in script
        assert "--kill-on-bad-exit=1" in script


def test_a_stage_that_many_run_has_a_rank_for_each_gpu():
    found = options(SCRIPTS["grid.sbatch"])
    for option in ("--nodes=4", "--ntasks-per-node=8", "--gres=gpu:h100:8", "--cpus-per-task=12", "--array=0-1,5%16"):
        assert option in found
    assert "--signal=B:USR1@300" in found
    alone = options(SCRIPTS["single.sbatch"])
    for option in ("--nodes=1", "--ntasks-per-node=1", "--gres=gpu:1", "--cpus-per-task=4", "--time=45"):
        assert option in alone


def test_a_check_asks_for_what_the_profile_does_but_for_a_minute():
    found = options(SCRIPTS["check.sbatch"])
    for option in ("--partition=gpu", "--account=lab", "--nodes=1", "--time=4", "--constraint=nvlink"):
        assert option in found
    assert not any(option.startswith("--array") for option in found)


@pytest.mark.parametrize(
    ("limit", "lead", "late"), [(60, 15, 0), (60, 120, 0), (1800, 120, 1350), (7200, 3600, 3510), (86400, 120, 64800)]
)
def test_a_warning_of_the_time_limit_is_told_from_one_of_preemption(limit, lead, late):
    profile = PLAIN.model_copy(update={"time": str(limit // 60), "lead": lead})
    stage = Ends(word="a")
    script = text(Job("a", {None: Task("f", "a", "a", stage)}), "0001-a", setting(profile))
    assert script.count(f'"$warned" -lt {late} ') == 2
    assert f"--signal=B:USR1@{min(lead, limit // 2)}" in options(script)
