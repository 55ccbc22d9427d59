"""`python -m localcloud` is the command `localcloud`."""

from localcloud.cli import main

main()
