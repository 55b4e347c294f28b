"""DeepSpeed's stages against plain PyTorch on the joined batch, without a compiler; and checkpoints taken up by as many ranks and by fewer."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from ranks import CASES, HALF, STEPS, alone

pytestmark = pytest.mark.slow


def launch(folder, ranks, what):
    """Run ranks of ``ranks.py`` to their end; their results by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DS_", "WORLD", "RANK", "LOCAL"))}
    environment |= {"PATH": str(folder / "nothing"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("ranks.py"))]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(ranks), port, str(folder), what], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(ranks)
    ]
    said = [process.communicate(timeout=240)[0] for process in running]
    assert all(process.returncode == 0 for process in running), "\n".join(said)
    return [torch.load(folder / f"{what}-{ranks}-{rank}.pt") for rank in range(ranks)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Results of two ranks over all steps, and the folder with their checkpoints of half the steps, joined as storage joins them."""
    folder = tmp_path_factory.mktemp("zero")
    results = launch(folder, 2, "train")
    for stage, pieces in CASES:
        for rank in range(2):
            part = folder / f"stage{stage}-pieces{pieces}-rank{rank}"
            shutil.copytree(part, folder / f"stage{stage}-pieces{pieces}", dirs_exist_ok=True)
    return folder, results


@pytest.fixture(scope="module")
def plain():
    return alone()


def assert_same(found, wanted, names="gradients and parameters"):
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=2e-6, rtol=2e-4, msg=lambda text, name=name: f"{names} of {name}: {text}")


def test_the_two_ranks_reach_disjoint_experts_in_every_step(two_ranks):
    for case in CASES:
        for (_, _, first), (_, _, second) in zip(*(result[case] for result in two_ranks[1]), strict=True):
            assert first.any()
            assert second.any()
            assert not (first & second).any()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"stage {case[0]}, {case[1]} pieces")
def test_every_gradient_and_update_is_that_of_one_rank_on_the_joined_batch(two_ranks, plain, case):
    for result in two_ranks[1]:
        assert len(result[case]) == STEPS
        for (gradients, parameters, _), (plain_gradients, plain_parameters) in zip(result[case], plain, strict=True):
            if case[1] == 1:  # with pieces the router's balance is that of each piece
                assert_same(gradients, plain_gradients, "gradient")
                assert_same(parameters, plain_parameters, "parameter")
            assert gradients["head.in_weight"].abs().amax(dim=(1, 2)).min() > 0


def test_a_step_in_pieces_is_the_same_in_both_stages(two_ranks):
    for (gradients, parameters, _), (others, other_parameters, _) in zip(two_ranks[1][0][1, 2], two_ranks[1][0][2, 2], strict=True):
        assert_same(gradients, others, "gradient")
        assert_same(parameters, other_parameters, "parameter")


@pytest.mark.parametrize("ranks", [2, 1])
def test_a_checkpoint_of_two_ranks_is_taken_up_by_two_and_by_one(two_ranks, ranks):
    folder, wanted = two_ranks
    found = launch(folder, ranks, "resume")
    for stage, pieces in CASES:
        if pieces > 1 and ranks == 1:
            continue  # a rank's pieces then hold other samples, and the balance is that of each piece
        for one, other in zip(found[0][stage, pieces], wanted[0][stage, pieces][HALF:], strict=True):
            assert_same(one[0], other[0], "gradient")
            assert_same(one[1], other[1], "parameter")
