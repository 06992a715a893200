"""How the exported graph's inputs are named."""

from contract.policy import DictSpace, Space, observation_inputs

POSITION = Space(type="Box", shape=[2], dtype="float32", low=[-1, -1], high=[1, 1])
GEAR = Space(type="Discrete", shape=[], dtype="int64", n=5, start=0)


def test_a_plain_observation_is_one_input() -> None:
    assert observation_inputs(POSITION) == {"observation": POSITION}


def test_each_part_of_a_dict_is_an_input_in_the_order_of_the_space() -> None:
    space = DictSpace(type="Dict", spaces={"position": POSITION, "gear": GEAR})
    assert list(observation_inputs(space).items()) == [("observation.position", POSITION), ("observation.gear", GEAR)]
