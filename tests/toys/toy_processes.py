"""Processes of their own for stages, forked off one that has imported what is slow to import."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "DS_ACCELERATOR": "cpu",
    "PYTHONPATH": str(CHECKOUT),
}
GRACE = 20.0  # seconds that ranks have once one of them ended badly
_server = None


class Processes:
    """Ranks at work on some jobs.

    Attributes:
        pids: theirs.
    """

    def __init__(self, server, pids, log):
        self._server, self.pids, self._log = server, pids, log

    def wait(self):
        """How they ended: the code of the first rank that ended badly, as a shell gives it, and what they said."""
        code = json.loads(self._server.stdout.readline())
        return subprocess.CompletedProcess("ranks", code, "", self._log.read_text())


def begin(jobs, before="", ranks=1):
    """Begin jobs, pairs of a store's folder and a stage's document, after the lines ``before``."""
    global _server
    if _server is None:
        _server = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, **ENVIRONMENT},
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(_server.kill)
    log = Path(tempfile.mkdtemp()) / "log"
    _server.stdin.write(json.dumps({"jobs": jobs, "before": before, "ranks": ranks, "log": str(log)}) + "\n")
    _server.stdin.flush()
    return Processes(_server, json.loads(_server.stdout.readline()), log)


def work(jobs, before):
    """What a rank does."""
    from presight.assembly import load
    from presight.errors import PresightError
    from presight.store import Store

    exec(before, {"os": os, "sys": sys})
    try:
        for root, document in jobs:
            store = Store(Path(root))
            (store.assist if int(os.environ["RANK"]) else store.perform)(load(document))
    except PresightError as error:
        print(error, file=sys.stderr, flush=True)
        return error.code
    return 0


def fork(request, rank, port):
    """A rank in a process of its own: its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(request["ranks"])}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        code = work(request["jobs"], request["before"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pids):
    """Wait for ranks; those that a failed one leaves waiting are killed, as launchers do."""
    codes, failed = {}, None
    while len(codes) < len(pids):
        for pid in pids:
            if pid not in codes and (found := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(found[1])
                if codes[pid] and failed is None:
                    failed, first = time.monotonic(), codes[pid]
        # one that was killed says nothing to the others; one that left with a code has told them
        if failed and time.monotonic() - failed > (GRACE if first > 0 else 0.5):
            for pid in set(pids) - set(codes):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return first if failed else 0


def serve():
    """Fork ranks for every request on standard input."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import deepspeed  # noqa: F401
    import torch  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401

    import pretrain.run
    import pretrain.train  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = [fork(request, rank, port) for rank in range(request["ranks"])]
        answers.write(json.dumps(pids) + "\n")
        answers.write(json.dumps(ended(pids)) + "\n")


if __name__ == "__main__":
    serve()
