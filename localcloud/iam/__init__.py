"""Who may do what: the policies of the account's roles and resources, evaluated with every call."""
