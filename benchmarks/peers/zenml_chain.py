"""A chain of steps that do nothing, as a ZenML pipeline on its local orchestrator, which runs them in one process.

python zenml_chain.py STEPS
"""

import sys

from zenml import pipeline, step


@step(enable_cache=False)
def nothing(before: int) -> int:
    return before + 1


@pipeline(enable_cache=False)
def chain(steps: int) -> None:
    value = nothing(0)
    for _ in range(steps - 1):
        value = nothing(value)


if __name__ == "__main__":
    chain(int(sys.argv[1]))
