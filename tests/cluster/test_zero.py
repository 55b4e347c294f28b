"""ZeRO stages agree with plain PyTorch on the global batch, without a compiler; checkpoints resume on as many ranks and on fewer."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ranks import CASES, HALF, STEPS, name_of, train_in_plain_pytorch
from timeouts import TIMEOUT_S

pytestmark = pytest.mark.slow


def launch(folder, world_size, command):
    """Run ``ranks.py`` on all ranks to the end; returns the results by rank."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DS_", "WORLD", "RANK", "LOCAL"))}
    environment |= {"PATH": str(folder / "nothing"), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, str(Path(__file__).with_name("ranks.py"))]
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = [subprocess.Popen([*script, str(rank), str(world_size), port, str(folder), command], **options) for rank in range(world_size)]
    outputs = [process.communicate(timeout=TIMEOUT_S)[0] for process in running]
    assert all(process.returncode == 0 for process in running), "\n".join(outputs)
    return [torch.load(folder / f"{command}-{world_size}-{rank}.pt") for rank in range(world_size)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Folder with the checkpoints after half of the steps, merged as in storage, and the results of two ranks for all steps."""
    folder = tmp_path_factory.mktemp("zero")
    results = launch(folder, 2, "train")
    for case in CASES:
        for rank in range(2):
            shutil.copytree(folder / f"{name_of(case)}-rank{rank}", folder / name_of(case), dirs_exist_ok=True)
    return folder, results


@pytest.fixture(scope="module")
def plain():
    """Gradients and parameters of each step in plain PyTorch."""
    return train_in_plain_pytorch()


def assert_same(found, wanted, names="gradients and parameters", *, bf16=False):
    """In float32 every element; in bf16 the mean difference, because AdamW turns a gradient near zero into a full step of either sign."""
    assert found.keys() == wanted.keys()
    for name in wanted:
        if bf16:
            assert (found[name].float() - wanted[name]).abs().mean() < 4e-3, f"{names} of {name}"
        else:
            torch.testing.assert_close(found[name], wanted[name], atol=2e-6, rtol=2e-4, msg=lambda text, name=name: f"{names} of {name}: {text}")


def test_the_two_ranks_select_disjoint_experts_in_every_step(two_ranks):
    for case in CASES:
        for (_, _, first, _), (_, _, second, _) in zip(*(result[case] for result in two_ranks[1]), strict=True):
            assert first.any()
            assert second.any()
            assert not (first & second).any()


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_gradient_and_update_is_that_of_one_rank_on_the_global_batch(two_ranks, plain, case):
    for result in two_ranks[1]:
        assert len(result[case]) == STEPS
        for (gradients, parameters, _, average), (plain_gradients, plain_parameters, plain_average) in zip(result[case], plain, strict=True):
            assert_same(gradients, plain_gradients, "gradient", bf16=case[2])
            assert_same(parameters, plain_parameters, "parameter", bf16=case[2])
            assert_same(average, plain_average, "average", bf16=case[2])
            assert gradients["head.in_weight"].abs().amax(dim=(1, 2)).min() > 0


def assert_resumed(resumed, wanted, *, same_arithmetic):
    """The state that was loaded, and the steps after it, are those of the uninterrupted training.

    Every element of the optimizer's averages is compared: a new optimizer would take similar steps. With the same ranks and micro-batches, steps are
    equal bit for bit, in bf16 too. Otherwise the same sums are computed in another order: float32 differs by roundings, which AdamW divides by the
    root of a small second moment, and bf16 by more.
    """
    for case in CASES:
        saved, loaded = wanted[case, "optimizer"], resumed[case, "optimizer"]
        assert loaded.keys() == saved.keys()
        for name, values in saved.items():
            assert values.any() and torch.equal(loaded[name], values), f"{name_of(case)}: {name}"
        for one, other in zip(resumed[case], wanted[case][HALF:], strict=True):
            for part, kind in ((0, "gradient"), (1, "parameter"), (3, "average")):
                if same_arithmetic:
                    assert one[part].keys() == other[part].keys()
                    assert all(torch.equal(one[part][name], values) for name, values in other[part].items()), f"{name_of(case)}: {kind}"
                else:
                    assert_same(one[part], other[part], f"{name_of(case)}: {kind}", bf16=case[2])


@pytest.mark.parametrize("world_size", [2, 1])
def test_a_checkpoint_of_two_ranks_resumes_on_two_and_on_one(two_ranks, world_size):
    folder, wanted = two_ranks
    assert_resumed(launch(folder, world_size, "resume")[0], wanted[0], same_arithmetic=world_size == 2)


@pytest.mark.parametrize("world_size", [2, 1])
def test_a_checkpoint_resumes_with_another_number_of_micro_batches(two_ranks, world_size):
    folder, wanted = two_ranks
    assert_resumed(launch(folder, world_size, "regroup")[0], wanted[0], same_arithmetic=False)
