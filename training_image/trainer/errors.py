"""What can be wrong, told apart by what somebody should do about it."""


class UsageError(Exception):
    """The command or its input is wrong; the message says what is allowed. Trying again changes nothing."""


class TrainingError(Exception):
    """Training cannot go on; the message says why."""


class NotFiniteError(TrainingError):
    """A loss or a weight is NaN or infinite."""
