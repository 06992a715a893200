"""What is uploaded: the contexts of the two images and the code of the functions.

Each is copied to a folder of its own, laid out like the repository, before the CDK sees it. So an asset holds
what it names and nothing else, its hash depends on the content of those files only, and synthesis never walks
`.venv`.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

TRAINING_IMAGE = ("contract", "training_image")
SERVING_IMAGE = ("contract", "serving_image")
FUNCTIONS = ("contract", "lambdas")

_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "tests", ".*")


def stage(parts: tuple[str, ...], *, root: Path = ROOT) -> Path:
    """Copy the files and folders `parts` of `root` into a new folder, which lives as long as this process.

    Bytecode, tests and hidden files stay behind; modes and times are not copied.

    Raises:
        FileNotFoundError: naming the part that does not exist.
    """
    folder = Path(tempfile.mkdtemp(prefix="rlpipe-asset-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for part in parts:
        source, target = root / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=_NOT_COPIED, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
    return folder
