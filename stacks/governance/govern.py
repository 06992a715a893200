"""Puts the refusals and the judges to work."""

import aws_cdk as cdk

from stacks.governance.refusals import Refusals


def govern(app: cdk.App, *, judge: bool) -> None:
    """Have every synthesis of `app` refuse what must not be deployed; `judge` adds cdk-nag and notes for checkov."""
    plugins: list[cdk.IPolicyValidationPlugin] = [Refusals()]
    if judge:
        from stacks.governance.judges import AwsSolutions, tell_checkov  # half a second that a laptop need not spend

        plugins.append(AwsSolutions())
        tell_checkov(app)
    cdk.Validations.of(app).add_plugins(*plugins)


def synthesise(app: cdk.App) -> None:
    """Write the assembly.

    Raises:
        SystemExit: with 1 when something was refused; the CDK has said what on stderr.
    """
    try:
        app.synth()
    except RuntimeError as error:
        if "ValidationFailed" not in str(error):
            raise
        raise SystemExit(1) from None
