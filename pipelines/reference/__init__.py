"""The pages of docs/reference that say what the templates hold: parameters, events, metrics and alarms.

They are written by `pytest --regenerate` from the templates and from the constants of the code, and a test compares
them: what is not there cannot be documented, and what is there cannot be left out.
"""
