"""A rank of the comparisons in ``test_zero.py``: ``python ranks.py RANK RANKS PORT FOLDER WHAT``. Started without a compiler on its PATH."""

import os
import sys
from contextlib import suppress
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from abaw_ray.cluster.training import checkpoint
from abaw_ray.cluster.training.zero import ZeroConfig, ZeroEngine, prepare_deepspeed
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.moe import MoeConfig, MoeHead, balance_loss, same
from abaw_ray.training.losses import ClassLoss, LossConfig
from abaw_ray.training.optim import OptimConfig, make_adamw, parameter_groups, rate_share, set_rates

CASES = [(0, 1), (1, 1), (2, 1), (1, 2), (2, 2)]
"""ZeRO stage and pieces of a rank's share."""
BATCH, STEPS, HALF = 16, 4, 2
OPTIM = OptimConfig(lr=1e-2, layer_decay=0.5, clip=0.5)


class Model(nn.Module):
    """Two layers below a mixture of four experts; the router sends one half of every batch to two experts and the other half to the others."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(6, 9), nn.Linear(9, 8)])
        self.head = MoeHead(8, 3, MoeConfig(experts=4, active=2, hidden=5, dropout=0.0))
        with torch.no_grad():
            features = self.head.norm(self.features(batch(0)[0]))
            apart = features[: BATCH // 2].mean(dim=0) - features[BATCH // 2 :].mean(dim=0)
            self.head.router.weight.copy_(torch.stack([apart, 0.9 * apart, -apart, -0.9 * apart]))

    def features(self, inputs):
        return self.blocks[1](torch.tanh(self.blocks[0](inputs)))

    def forward(self, inputs):
        return self.head(self.features(inputs))

    def groups(self):
        return parameter_groups(self.named_parameters(), OPTIM, layer_of=lambda name: int(name[7]) if name.startswith("blocks") else 2, layers=3)


def batch(step):
    """The first half of a batch is the first rank's."""
    generator = torch.Generator().manual_seed(step)
    side = torch.tensor([2.0] * (BATCH // 2) + [-2.0] * (BATCH // 2))[:, None]
    inputs = side + 0.5 * torch.randn(BATCH, 6, generator=generator)
    return inputs, torch.randint(0, 3, (BATCH,), generator=generator)


def mean_over_ranks(values):
    values = values.clone()
    dist.all_reduce(values)
    return values / dist.get_world_size()


def losses(model, step, rank, ranks, pieces, mean=mean_over_ranks):
    """This rank's loss of each piece of a step, and the experts that its samples reached."""
    loss = ClassLoss(LossConfig(), torch.tensor([0] * 6 + [1] * 3 + [2]).numpy(), 3)
    inputs, labels = batch(step)
    factor = ranks * pieces / loss.weight(labels.numpy())
    part = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    for some, wanted in zip(inputs[part].chunk(pieces), labels[part].chunk(pieces), strict=True):
        routed = model(some)
        value = loss(routed.logits, wanted).sum() * factor + 0.1 * balance_loss(routed, mean)
        yield value, (routed.gate > 0).any(dim=0)


def run(engine, model, steps, rank, ranks, pieces):
    """Take the steps; of each, all gradients, all parameters after it, and the experts reached."""
    from deepspeed.utils import safe_get_full_grad

    taken = []
    for step in steps:
        set_rates(engine.groups, rate_share(step, STEPS, OPTIM))
        reached = torch.zeros(4, dtype=torch.bool)
        for value, experts in losses(engine, step, rank, ranks, pieces):
            engine.backward(value)
            reached |= experts
        gradients = {name: safe_get_full_grad(parameter).detach().clone() for name, parameter in model.named_parameters()}
        engine.step()
        taken.append((gradients, {name: value.detach().clone() for name, value in model.named_parameters()}, reached))
    return taken


def engine_of(stage, pieces, ranks, **more):
    model = Model()
    config = ZeroConfig(stage=stage, batch=BATCH, pieces=pieces, ranks=ranks, clip=OPTIM.clip)
    return ZeroEngine(model, model.groups(), OPTIM, config, **more), model


def train(folder, rank, ranks):
    """All cases; each is saved half-way and, by new engines, taken up again."""
    results = {}
    for stage, pieces in CASES:
        engine, model = engine_of(stage, pieces, ranks)
        first = run(engine, model, range(HALF), rank, ranks, pieces)
        part = checkpoint.write(engine, {"steps": HALF}, rank=rank, ranks=ranks)
        part.rename(folder / f"stage{stage}-pieces{pieces}-rank{rank}")
        results[stage, pieces] = first + run(engine, model, range(HALF, STEPS), rank, ranks, pieces)
    return results


def resume(folder, rank, ranks):
    """All cases from their checkpoints, whatever number of ranks wrote them."""
    results = {}
    storage = Storage(StorageConfig(uri=str(folder)))
    for stage, pieces in CASES:
        path = f"stage{stage}-pieces{pieces}"
        place, converted = checkpoint.fetch(storage, path, ranks=ranks, convert=stage > 0)
        assert converted == (ranks != 2 and stage > 0)
        engine, model = engine_of(stage, pieces, ranks, universal=converted)
        state = engine.load(place)
        dist.barrier()
        checkpoint.drop(storage, path, ranks=ranks)
        results[stage, pieces] = run(engine, model, range(state["steps"], STEPS), rank, ranks, pieces)
    return results


def alone():
    """The same steps in plain PyTorch on the joined batch."""
    model, taken = Model(), []
    optimizer = make_adamw(model.groups(), OPTIM)
    for step in range(STEPS):
        set_rates(optimizer.param_groups, rate_share(step, STEPS, OPTIM))
        ((value, _),) = losses(model, step, 0, 1, 1, mean=same)
        optimizer.zero_grad()
        value.backward()
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        nn.utils.clip_grad_norm_(model.parameters(), OPTIM.clip)
        optimizer.step()
        taken.append((gradients, {name: value.detach().clone() for name, value in model.named_parameters()}))
    return taken


if __name__ == "__main__":
    rank, ranks, port = (int(argument) for argument in sys.argv[1:4])
    folder, what = Path(sys.argv[4]), sys.argv[5]
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    prepare_deepspeed(gpu=False)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    torch.save({"train": train, "resume": resume}[what](folder, rank, ranks), folder / f"{what}-{ranks}-{rank}.pt")
    dist.barrier()
    with suppress(RuntimeError):
        dist.destroy_process_group()
