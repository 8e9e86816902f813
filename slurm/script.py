"""The text of a batch script: what SLURM is asked for, how the ranks start, and what follows from how they end."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path

from presight.errors import EXIT_BAD_NODE, EXIT_CONTINUE, EXIT_DATA
from presight.stage import Resources
from slurm.jobs import Job, Task
from slurm.profile import Profile, Request, resources

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
NEVER = 10**9  # seconds
CUTS = 3  # times that a stage which does not save itself may run into its time limit


@dataclass(frozen=True, slots=True)
class Setting:
    """What all scripts of a submission share.

    Attributes:
        recipe: its name.
        root: folder of ``store/`` and ``runs/``.
        folder: of the scripts, ``runs/<recipe>/slurm``.
        code: the frozen code that jobs import.
        cache: of downloads.
        python: the interpreter that submits.
        profile: the site.
    """

    recipe: str
    root: Path
    folder: Path
    code: Path
    cache: Path
    python: str
    profile: Profile

    def interpreter(self) -> list[str]:
        """The words that start Python in a job."""
        profile = self.profile
        if not profile.container:
            return [str(profile.venv / "bin" / "python") if profile.venv else self.python, "-P"]
        if profile.runtime == "pyxis":
            return ["python3", "-P"]
        binds = ",".join(dict.fromkeys(map(str, (self.root, self.code, self.cache))))
        return [profile.runtime, "exec", "--nv", "--bind", binds, profile.container, "python3", "-P"]

    def command(self) -> list[str]:
        """The words that start Presight in a job."""
        return [*self.interpreter(), "-m", "presight"]


def beginning(job: Job, name: str, setting: Setting, lead: int | None = None) -> str:
    """What a batch script begins with: what is asked for, where it works, and its environment."""
    first = next(iter(job.tasks.values()))
    asked = setting.profile.of(job.name)
    granted = resources(first.stage, setting.profile, job.name)
    options = _options(job, name, setting, asked, granted, _lead(granted, setting.profile, lead))
    return "\n".join(
        (
            "#!/bin/bash",
            f"# {job.name} of {setting.recipe}: {f'{len(job.tasks)} tasks' if job.array else first.title}",
            *(f"#SBATCH {option}" for option in options),
            "",
            f"cd {shlex.quote(str(setting.folder))} || exit 1",
            *(f"module load {shlex.quote(each)}" for each in setting.profile.modules),
            *_environment(setting, granted),
            "",
        )
    )


def text(job: Job, name: str, setting: Setting, lead: int | None = None) -> str:
    """A job's batch script.

    Args:
        job: what it runs.
        name: of the script's file, without its ending: the log's begins with it.
        setting: of the submission.
        lead: seconds by which it is warned; default the profile's.
    """
    profile = setting.profile
    granted = resources(next(iter(job.tasks.values())).stage, profile, job.name)
    anew = _ANEW.format(presight=shlex.join(setting.command()), restarts=profile.restarts)
    return beginning(job, name, setting, lead) + _TEMPLATE.format(
        tasks="\n".join(_case(index, task) for index, task in job.tasks.items()),
        command=shlex.join([*setting.command(), "stage"]),
        srun=" ".join(launch(setting)),
        root=shlex.quote(str(setting.root)),
        late=_late(granted, _lead(granted, profile, lead)),
        restarts=profile.restarts,
        cuts=CUTS,
        go_on=EXIT_CONTINUE,
        bad=EXIT_BAD_NODE,
        hold=EXIT_DATA,
        again=_REQUEUE if profile.requeue else anew,
    )


def _lead(granted: Resources, profile: Profile, lead: int | None) -> int:
    """Seconds of warning: no more than half of the time there is."""
    wanted = lead or profile.lead
    return min(wanted, int(granted.minutes * 30)) if granted.minutes else wanted


def _late(granted: Resources, lead: int) -> int:
    """Seconds from which on a warning is that of the time limit: SLURM may send it a minute early."""
    if not granted.minutes:
        return NEVER
    limit = int(granted.minutes * 60)
    return max(0, min(limit * 3 // 4, limit - lead - 90))


def ranks(granted: Resources, parallel: bool) -> int:
    """Processes of a node: one for each GPU of a stage that many may run."""
    return max(granted.gpus, 1) if parallel else 1


def _options(job: Job, name: str, setting: Setting, asked: Request, granted: Resources, lead: int) -> list[str]:
    profile = setting.profile
    parallel = next(iter(job.tasks.values())).stage.parallel
    each = ranks(granted, parallel)
    log = f"{setting.folder}/jobs/{name}".replace("%", "%%")
    limit = f"%{profile.array_limit}" if profile.array_limit else ""
    time = str(math.ceil(granted.minutes)) if granted.minutes else None
    gpus = f"--gres=gpu:{f'{asked.gpu_type}:' if asked.gpu_type else ''}{granted.gpus}" if granted.gpus else None
    options = [
        f"--job-name={setting.recipe}.{job.name}",
        f"--output={log}-{'%A_%a' if job.array else '%j'}.log",
        "--open-mode=append",
        f"--array={_indices(job)}{limit}" if job.array else None,
        f"--partition={asked.partition}" if asked.partition else None,
        f"--account={asked.account}" if asked.account else None,
        f"--qos={asked.qos}" if asked.qos else None,
        f"--nodes={granted.nodes}",
        f"--ntasks-per-node={each}",
        f"--cpus-per-task={max(granted.threads, asked.cpus or 1)}",
        f"--mem={math.ceil(granted.memory_gb * 1000)}M" if asked.memory != 0 else None,
        gpus,
        f"--time={time}" if time else None,
        "--requeue" if profile.requeue else "--no-requeue",
        f"--signal=B:USR1@{lead}",
        "--kill-on-invalid-dep=yes",
        *asked.extra,
    ]
    return [_quoted(option) for option in options if option]


def _quoted(option: str) -> str:
    """An option as sbatch reads it from a script: quotes hold a value with spaces together."""
    name, sign, value = option.partition("=")
    return f'{name}{sign}"{value}"' if any(c.isspace() for c in value) else option


def _indices(job: Job) -> str:
    """``0-7,9``."""
    indices = sorted(index for index in job.tasks if index is not None)
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _environment(setting: Setting, granted: Resources) -> list[str]:
    variables = {
        "PYTHONPATH": str(setting.code),
        "PYTHONUNBUFFERED": "1",
        "PRESIGHT_CACHE": str(setting.cache),
        **dict.fromkeys(OFFLINE, "1"),
        "TOKENIZERS_PARALLELISM": "false",
        **dict.fromkeys(THREADS, str(granted.threads)),
        **setting.profile.environment,
    }
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def launch(setting: Setting) -> list[str]:
    """Options of srun."""
    options = ["--kill-on-bad-exit=1", "--unbuffered"]
    if setting.profile.container and setting.profile.runtime == "pyxis":
        mounts = ",".join(dict.fromkeys(f"{each}:{each}" for each in (setting.root, setting.code, setting.cache)))
        options += [f"--container-image={shlex.quote(setting.profile.container)}"]
        options += [f"--container-mounts={shlex.quote(mounts)}"]
    return options


def _case(index: int | None, task: Task) -> str:
    """What one task of the array runs."""
    file = f"stages/{task.stage.fingerprint}.json"
    words = file if task.shard is None else f"{file} --shard {task.shard}"
    return f"  {index or 0}) key={task.key} words=({words}) ;; # {' '.join(task.title.split())}"


_TEMPLATE = r"""
case ${{SLURM_ARRAY_TASK_ID:-0}} in
{tasks}
  *) exit 1 ;;
esac

# The bare number of an array's last task is the number of the whole array: name the task.
job=$SLURM_JOB_ID
[ -n "${{SLURM_ARRAY_TASK_ID:-}}" ] && job=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
restart=${{SLURM_RESTART_COUNT:-0}}
ends=$PWD/jobs/.$job
rm -f "$ends".*
note() {{ echo "$1 $job $restart $(date +%s) ${{*:2}}" >>"events/$key"; }}

# One rendezvous a job: the first node, under a name or address that the others can resolve.
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
getent hosts "$MASTER_ADDR" >/dev/null ||
  MASTER_ADDR=$(scontrol --oneliner show node "$MASTER_ADDR" | sed -n 's/.* NodeAddr=\([^ ]*\).*/\1/p')
MASTER_PORT=$((20000 + (SLURM_JOB_ID + 7919 * restart) % 12000))
export MASTER_ADDR MASTER_PORT SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-1}}"

# A warning goes on to all ranks. Those that can save themselves do, and end with {go_on}.
warned=
# shellcheck disable=SC2317
warn() {{
  warned=${{warned:-$SECONDS}}
  scancel --quiet --signal=USR1 "$job.0"
}}
trap warn USR1 TERM

note began "$SLURM_JOB_NODELIST"
# A rank leaves its code in a file of its own: srun tells one of many, and kills the others when one is not 0.
# shellcheck disable=SC2016
rank='trap : USR1 TERM
"$@"
code=$?
echo "$code $SLURMD_NODENAME" >"$ends.$SLURM_PROCID"
[ $code = {go_on} ] || exit $code'
export ends
(
  trap : USR1 TERM
  srun {srun} \
    bash -c "$rank" rank {command} "${{words[@]}}" --root {root} --wait
  echo $? >"$ends.srun"
) &
while kill -0 $! 2>/dev/null; do wait $!; done
trap '' USR1 TERM
code=$(cat "$ends.srun" 2>/dev/null || echo 143)
told=$(cat "$ends".[0-9]* 2>/dev/null | grep -E '^8[5-8] ' | sort -n | tail -n 1)
rm -f "$ends".*
bad=${{told#* }}
[ -n "$told" ] && code=${{told%% *}}

# Cut short by a warning: what it did is kept. Early, it made room for another job; late, its time is too short.
if [ "$code" -gt 128 ] && [ -n "$warned" ]; then
  if [ "$warned" -lt {late} ] || [ "$(grep -c '^cut ' "events/$key")" -lt {cuts} ]; then
    [ "$warned" -lt {late} ] || note cut
    code={go_on}
  else
    echo "presight: ran into its time limit {cuts} times; give it a longer time in the profile." >&2
  fi
fi
note ended "$code" "${{warned:+$((SECONDS - warned))}}"

# Of a job that is being cancelled nothing goes on.
state=$(scontrol --oneliner show job "$job" | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
{again}
if [ "$state" = RUNNING ] && [ "$restart" -lt {restarts} ]; then
  case $code in
  {go_on}) again ;;
  {bad}) elsewhere "$bad" ;;
  {hold}) hold ;;
  esac
fi
exit "$code"
"""

_REQUEUE = r"""# Requeuing ends this script: SLURM signals it, and kills it a while later.
again() { scontrol requeue "$job" && sleep 600; }
hold() { scontrol requeuehold "$job" && sleep 600; }
elsewhere() {
  out=$(scontrol --oneliner show job "$job" | sed -n 's/.* ExcNodeList=\([^ ]*\).*/\1/p')
  [ "$out" = '(null)' ] && out=
  scontrol requeuehold "$job" && scontrol update JobId="$job" ExcNodeList="${out:+$out,}$1" &&
    scontrol release "$job" && sleep 600
}"""

_ANEW = r"""# No requeue: another job goes on, and what waits for this one waits for that as well. This one ends well.
anew() {{ {presight} slurm anew . "$job" "$key" --restarts {restarts} "$@" && exit 0; }}
again() {{ anew; }}
hold() {{ anew --hold; }}
elsewhere() {{ anew --exclude "$1"; }}"""
