"""The errors that an image's programs raise on purpose."""


class ClientError(Exception):
    """A mistake that the user can mend: the message names the thing, what was found and what was expected."""
