import json
from dataclasses import dataclass, field

import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import NO_RESULT, digest, from_plain, replace_at, to_plain


@dataclass(frozen=True, kw_only=True)
class Optim:
    lr: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.999)


@dataclass(frozen=True, kw_only=True)
class Job:
    optim: Optim = field(default_factory=Optim)
    epochs: int = 3


def test_a_dotted_path_changes_one_value_and_leaves_the_original():
    job = Job()
    assert replace_at(job, {"optim.lr": 0.1, "epochs": 5}) == Job(optim=Optim(lr=0.1), epochs=5)
    assert job == Job()


def test_an_unknown_path_names_the_nearest_field():
    with pytest.raises(ConfigError, match="optim.lrr: Optim has no field 'lrr'; did you mean 'lr'"):
        replace_at(Job(), {"optim.lrr": 1})
    with pytest.raises(ConfigError, match="has no field"):
        replace_at(Job(), {"epochs.deep": 1})


def test_equal_settings_have_equal_digests_and_every_field_counts():
    assert digest(Job()) == digest(Job())
    assert len({digest(Job()), digest(Job(epochs=4)), digest(Job(optim=Optim(betas=(0.9, 0.99))))}) == 3


@dataclass(frozen=True, kw_only=True)
class Model:
    size: int = 3
    weights: str = field(default="here", metadata=NO_RESULT)


def test_a_field_left_out_of_digests_is_kept_in_plain_values():
    assert digest(Model(weights="there")) == digest(Model()) != digest(Model(size=4))
    assert digest({"inner": [Model(weights="there")]}) == digest({"inner": [Model()]})
    assert to_plain(Model(weights="there")) == {"size": 3, "weights": "there"}
    assert replace_at(Model(), {"weights": "there"}).weights == "there"


def test_settings_become_plain_values():
    assert to_plain(Job()) == {"optim": {"lr": 1e-3, "betas": [0.9, 0.999]}, "epochs": 3}


@dataclass(frozen=True, kw_only=True)
class Outer:
    jobs: tuple[Job, ...] = (Job(),)
    model: Model | None = None
    name: str

    def __post_init__(self):
        if not self.name:
            raise ConfigError("name is empty; give one")


def test_plain_values_become_the_same_settings_again():
    outer = Outer(jobs=(Job(epochs=5), Job(optim=Optim(betas=(0.1, 0.2)))), model=Model(size=7), name="a")
    assert from_plain(Outer, json.loads(json.dumps(to_plain(outer)))) == outer
    assert from_plain(Outer, {"name": "a"}) == Outer(name="a")


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"name": "a", "jobs": [{"optim": {"lrr": 1}}]}, r"jobs\[0\].optim has no field 'lrr'; it was written by another version"),
        ({}, "Outer: .*missing 1 required keyword-only argument: 'name'"),
        ({"name": ""}, "name is empty"),
        ({"name": "a", "jobs": [3]}, "3 are no settings"),
    ],
)
def test_values_that_are_no_settings_are_named(plain, message):
    with pytest.raises(ConfigError, match=message):
        from_plain(Outer, plain)
