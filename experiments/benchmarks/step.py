"""One run of one benchmark, printed as JSON: `python -m experiments.benchmarks.step <name> <size>`."""

import json
import sys

from experiments.benchmarks.measure import Timer
from fused_clip.support.threads import wait_briefly

if __name__ == "__main__":
    wait_briefly()  # as the commands do, before anything loads torch

    from experiments.benchmarks.suite import BENCHMARKS

    name, size = sys.argv[1:]
    benchmark = next(one for one in BENCHMARKS if one.name == name)
    timer = Timer()
    facts = benchmark.run(int(size), timer)
    taken = {
        "seconds": timer.seconds,
        "cpu_seconds": timer.cpu_seconds,
        "peak_gb": timer.peak_gb,
        "start_gb": timer.start_gb,
        "facts": dict(facts),
    }
    print(json.dumps(taken))
