"""Recipe in, jobs out: the same stages on a cluster."""

from typing import TYPE_CHECKING

from presight.exports import lazy

if TYPE_CHECKING:
    from slurm.ledger import Ledger as Ledger
    from slurm.profile import Profile as Profile
    from slurm.script import Setting as Setting
    from slurm.submission import Submission as Submission
    from slurm.submission import submit as submit

__getattr__, __all__ = lazy(
    "slurm",
    {
        "Ledger": "ledger",
        "Profile": "profile",
        "Setting": "script",
        "Submission": "submission",
        "submit": "submission",
    },
)
