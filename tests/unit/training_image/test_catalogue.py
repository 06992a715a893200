"""The catalogue that prepare reads says what this image has."""

from contract.catalogue import load_catalogue
from training_image.catalogue import read_catalogue


def test_the_catalogue_is_up_to_date() -> None:
    assert load_catalogue() == read_catalogue(), "run `make catalogue`"
