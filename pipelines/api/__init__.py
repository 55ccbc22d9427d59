"""The project's REST API from outside: its stack, who gets a token, and the document that describes it."""
