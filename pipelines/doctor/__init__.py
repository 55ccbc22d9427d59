"""Whether everything is there that the project needs, and what to do where it is not.

    finding.py   what a check says
    machine.py   this machine: Python, Git, Docker, the environment's versions, disk, ports
    account.py   the account: credentials, clock, the administrator's stack, roles, repository, MLflow, Studio
    quotas.py    the account's service quotas against the machines of the configuration
    examine.py   all of them in order, each with what keeps it from being made

A check is a function over what it looks at (a client, a figure), and changes nothing.
"""
