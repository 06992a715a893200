"""From an image's name to the process that stands for its container."""

import sys
from pathlib import Path

import pytest

from embedded_aws.processes.images import ImageNotFoundError, is_asset, resolve
from tests.conformance import images


def test_an_image_is_the_staged_folder_of_its_asset(tmp_path: Path) -> None:
    uri = images.job_image(tmp_path)

    image = resolve(uri, [tmp_path / "empty", tmp_path])

    assert image.directory == (tmp_path / f"asset.{uri.rpartition(':')[2]}").resolve()
    assert image.argv(["say", "x"]) == [sys.executable, "job.py", "say", "x"]


def test_the_environment_is_that_of_the_last_build_stage(tmp_path: Path) -> None:
    image = resolve(images.job_image(tmp_path), [tmp_path])

    assert image.environment == {"PYTHONPATH": str(image.directory), "GREETING": "hello there"}


def test_an_image_of_no_assembly_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    images.job_image(tmp_path)

    with pytest.raises(ImageNotFoundError, match="0000.*" + str(tmp_path)):
        resolve(f"repository:{'0' * 64}", [tmp_path])
    assert not is_asset("0" * 64, [tmp_path])


def test_only_the_exec_form_is_understood(tmp_path: Path) -> None:
    uri = images.job_image(tmp_path)
    dockerfile = tmp_path / f"asset.{uri.rpartition(':')[2]}" / "Dockerfile"
    dockerfile.write_text("FROM python\nENTRYPOINT python job.py\n")

    with pytest.raises(ValueError, match=r"ENTRYPOINT must be in exec form.*given: python job\.py"):
        resolve(uri, [tmp_path])


def test_a_later_synthesis_does_not_change_an_image(tmp_path: Path) -> None:
    first = images.stage(tmp_path, "job", {"job.py": "print(1)"}, ["python", "job.py"])
    before = resolve(first, [tmp_path])
    second = images.stage(tmp_path, "other", {"job.py": "print(2)"}, ["python", "job.py"])

    assert resolve(first, [tmp_path]) == before
    assert resolve(second, [tmp_path]).directory != before.directory
