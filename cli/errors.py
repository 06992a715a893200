"""What the command line says when something cannot be done: what is wrong and the next step to take."""

from contract.outcomes import ExitCode

_THROTTLING = ("Throttling", "TooManyRequests", "RequestLimitExceeded", "SlowDown")
_CREDENTIALS = (
    "ExpiredToken",
    "InvalidClientTokenId",
    "UnrecognizedClient",
    "SignatureDoesNotMatch",
    "InvalidAccessKey",
)


class CliError(Exception):
    """A command ends here.

    Args:
        message: what is wrong, one sentence without a full stop.
        next_step: what to do about it.
        exit_code: the process's exit code.
    """

    def __init__(self, message: str, *, next_step: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        self.exit_code = exit_code


def error_code(error: Exception) -> str:
    """The service's name for an error, or nothing when it does not come from a service."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def is_passing(error: Exception) -> bool:
    """Whether the same call may well succeed a little later: the network, throttling, a fault of the service."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error_code(error).startswith(_THROTTLING)
    return isinstance(error, ConnectionError | HTTPClientError)


def explain(error: Exception) -> CliError | None:
    """An error of the AWS SDK in our words; None for anything else, which is a fault of this program."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return CliError(
            "there are no AWS credentials",
            next_step="`rlpipe local up` for this machine, `aws configure` or AWS_PROFILE for an account",
            exit_code=ExitCode.USAGE,
        )
    if isinstance(error, exceptions.NoRegionError):
        return CliError(
            "no AWS of this machine is up and no AWS region is set",
            next_step="`rlpipe local up` for this machine, AWS_REGION for an account",
            exit_code=ExitCode.USAGE,
        )
    if isinstance(error, exceptions.ProfileNotFound):
        return CliError(str(error), next_step="`aws configure list-profiles`", exit_code=ExitCode.USAGE)
    if isinstance(error, exceptions.TokenRetrievalError | exceptions.SSOTokenLoadError):
        return CliError(str(error), next_step="`aws sso login`", exit_code=ExitCode.USAGE)
    if isinstance(error, exceptions.EndpointConnectionError):
        return CliError(
            str(error).rstrip("."), next_step="`rlpipe local status` for this machine, or look at the network"
        )
    if isinstance(error, exceptions.ClientError):
        return _explain_refusal(error, error.operation_name)
    if isinstance(error, exceptions.BotoCoreError):
        return CliError(str(error).rstrip("."), next_step="try again; nothing of a run is lost")
    return None


def _explain_refusal(error: Exception, operation: str) -> CliError:
    code = error_code(error)
    message = f"{operation} was refused: {error}".rstrip(".")
    if code.startswith(_CREDENTIALS):
        return CliError(message, next_step="renew the credentials (`aws sso login`)", exit_code=ExitCode.USAGE)
    if code.startswith(("AccessDenied", "UnauthorizedOperation")):
        return CliError(message, next_step=f"have this permission granted: {operation}", exit_code=ExitCode.USAGE)
    return CliError(message, next_step="try again, or look at the service in the console")
