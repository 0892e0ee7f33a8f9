"""Programs of any kind as children of a supervision tree: started, asked for their health, ended.

`actors.program` describes one; what is here starts the processes of it and knows nothing of the tree.
"""

from actors.programs.instance import ProgramInstance
from actors.programs.left_over import Sweep
from actors.programs.limits import ProgramLimits
from actors.programs.options import ProgramOptions, program_options
from actors.programs.ports import refuse_clashes
from actors.programs.run_once import run_once
from actors.programs.run_state import ProgramDied, RunState
from actors.programs.threads import ProgramThreads

__all__ = [
    "ProgramDied",
    "ProgramInstance",
    "ProgramLimits",
    "ProgramOptions",
    "ProgramThreads",
    "RunState",
    "Sweep",
    "program_options",
    "refuse_clashes",
    "run_once",
]
