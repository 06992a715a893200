"""What can be wrong with data, told apart by how much of it is affected."""


class FileRefusedError(Exception):
    """A file as a whole cannot be used; the message says why."""


class NotInOrderError(Exception):
    """The rows of an episode do not follow each other, so they must be brought together first."""


class TooLargeError(Exception):
    """A part of the data that must be in memory at once does not fit; the message says what to do."""


class RejectedError(Exception):
    """The data as a whole are not fit to learn from; the message says why."""
