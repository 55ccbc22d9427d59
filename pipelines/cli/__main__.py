"""`python -m pipelines.cli`: the command `mlops`, where the project itself is not installed, as in its builds."""

from pipelines.cli import main

main()
