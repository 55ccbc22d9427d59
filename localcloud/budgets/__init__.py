"""AWS Budgets: what may be spent in a period, and who is told. Nothing on this machine costs anything."""
