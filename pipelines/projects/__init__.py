"""Projects of an account: made from the published template, listed, brought to a newer version, destroyed.

`reading` says what there is; `creation`, `upgrade` and `destruction` each plan first, with calls that only read, and
then do what the plan says. Everything is found by a project's exact names: `fraud` never
touches what is `fraud-cards`'.
"""
