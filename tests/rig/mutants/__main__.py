"""`python -m tests.rig.mutants NAME MODULE ARGUMENTS...`: run a module of the product, or of the rig, with one fault in it."""

from __future__ import annotations

import runpy
import sys

from tests.rig.mutants.kinds import MUTANTS

if __name__ == "__main__":
    _, name, module, *arguments = sys.argv
    MUTANTS[name]()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
