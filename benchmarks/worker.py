"""One scheduling measurement in a process of its own: `benchmarks.worker NAME LOOP COUNT REPEATS [DRIVE]`.

Prints the best of the repeats. With the loop "limit", DRIVE is the module that steps coroutines from C.
"""

import gc
import importlib.util
import sys
from collections.abc import Callable

from benchmarks import loops
from benchmarks.scheduling import WORKLOADS
from benchmarks.tasks import measure_limit
from benchmarks.workload import Coroutines


def _measure_once(name: str, loop_name: str, count: int) -> float:
    loop = loops.make_loop(loop_name)
    try:
        gc.collect()
        return WORKLOADS[name].measure(loop, count)
    finally:
        loop.close()


def _load_drive(path: str) -> Callable[[Coroutines], int]:
    spec = importlib.util.spec_from_file_location("drive", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drive: Callable[[Coroutines], int] = module.drive
    return drive


def main() -> None:
    name, loop_name, count, repeats, *drive = sys.argv[1:]
    if loop_name == loops.LIMIT:
        step = _load_drive(drive[0])
        print(min(measure_limit(WORKLOADS[name], int(count), step) for _ in range(int(repeats))))
    else:
        print(min(_measure_once(name, loop_name, int(count)) for _ in range(int(repeats))))


if __name__ == "__main__":
    main()
