"""A signal that asks for the machine back: noted when it comes, acted on where a run can save itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from presight.errors import EXIT_CONTINUE, PresightError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """Whether SIGTERM or SIGUSR1 has come, to this rank or, once asked, to any."""

    def __init__(self) -> None:
        self.came = False

    @contextmanager
    def watched(self) -> Iterator[Interruption]:
        """Note signals within the block; as they were before, after it. Only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {each: signal.signal(each, self._note) for each in SIGNALS}
        try:
            yield self
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    def agreed(self) -> bool:
        """Whether it has come to any rank: all of them must ask at the same place."""
        from pretrain.engine import agreed

        return bool(agreed([float(self.came)], "max")[0])


def going_on(step: int, where: Any) -> PresightError:
    """What ends an interrupted run: exit code 85, "continue me"."""
    return PresightError("signal", f"saved at step {step} in {where}", "run again to go on", EXIT_CONTINUE)
