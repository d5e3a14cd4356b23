"""What work takes, in numbers that are the same on every machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_OTHERS = (f"{_ROOT}/.venv", f"{_ROOT}/tests")


def instructions(work: Callable[[], object]) -> int:
    """Bytecode instructions of the house's own code that the work takes in this thread, the second time it is done.

    What libraries do in C or in Python is not in it.
    """
    count = 0

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        place = frame.f_code.co_filename
        if not place.startswith(_ROOT) or place.startswith(_OTHERS):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return step

    def step(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return step

    work()
    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
