"""``python -m presight``: the command line, and the workers it spawns."""

import sys

if sys.argv[1:] == ["worker"]:
    from presight.worker import main
else:
    from presight.cli import main

main()
