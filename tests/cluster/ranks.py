"""One rank of ``test_zero.py``: ``python ranks.py RANK WORLD_SIZE PORT FOLDER train|resume|regroup``. It runs without a compiler on its PATH."""

import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from abaw_ray.cluster.training.checkpoints import checkpoint
from abaw_ray.cluster.training.checkpoints.meta import CheckpointMeta
from abaw_ray.cluster.training.ranks.average import WeightAverage
from abaw_ray.cluster.training.ranks.zero import ZeroConfig, ZeroEngine, prepare_deepspeed
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import MoeConfig
from abaw_ray.encoder.moe import ExpertLoad, MoeHead, identity
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.config import LossConfig, OptimConfig
from abaw_ray.training.losses import ClassLoss
from abaw_ray.training.optim import lr_multiplier, parameter_groups, set_learning_rates

CASES = [(stage, accumulation, bf16) for stage in (0, 1, 2) for accumulation in (1, 2) for bf16 in (False, True)]
"""ZeRO stage, gradient accumulation steps of two ranks, and bf16; with ZeRO, bf16 and accumulation, gradients are summed in float32."""
BATCH, STEPS, HALF = 16, 4, 2
DECAY = 0.2
KEYS = ("exp_avg", "exp_avg_sq")
OPTIM = OptimConfig(lr=1e-2, layer_decay=0.5, max_grad_norm=0.5)


class Model(nn.Module):
    """Two layers below a mixture of four experts; the router sends each half of a batch to two experts of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Linear(6, 9), nn.Linear(9, 8)])
        self.head = MoeHead(8, 3, MoeConfig(num_experts=4, top_k=2, hidden_dim=5, dropout=0.0))
        with torch.no_grad():
            features = self.head.norm(self.features(batch(0)[0]))
            direction = features[: BATCH // 2].mean(dim=0) - features[BATCH // 2 :].mean(dim=0)
            self.head.router.weight.copy_(torch.stack([direction, 0.9 * direction, -direction, -0.9 * direction]))

    def features(self, inputs):
        return self.blocks[1](torch.tanh(self.blocks[0](inputs.to(self.blocks[0].weight.dtype))))

    def forward(self, inputs):
        return self.head(self.features(inputs))

    def parameter_groups(self):
        return parameter_groups(self.named_parameters(), OPTIM, layer_of=lambda name: int(name[7]) if name.startswith("blocks") else 2, layers=3)


def batch(step):
    """Inputs (16, 6) and labels (16,) of a step; the first half belongs to the first rank."""
    generator = torch.Generator().manual_seed(step)
    side = torch.tensor([2.0] * (BATCH // 2) + [-2.0] * (BATCH // 2))[:, None]
    inputs = side + 0.5 * torch.randn(BATCH, 6, generator=generator)
    return inputs, torch.randint(0, 3, (BATCH,), generator=generator)


def mean_over_ranks(values):
    values = values.clone()
    dist.all_reduce(values)
    return values / dist.get_world_size()


def losses(model, step, rank, world_size, accumulation, load, mean=mean_over_ranks):
    """Yields this rank's loss of each micro-batch of a step, and a mask of the experts that its samples select."""
    loss = ClassLoss(LossConfig(), torch.tensor([0] * 6 + [1] * 3 + [2]).numpy(), 3)
    inputs, labels = batch(step)
    scale = world_size * accumulation / loss.weight_sum(labels.numpy())
    local = slice(rank * BATCH // world_size, (rank + 1) * BATCH // world_size)
    for inputs_part, labels_part in zip(inputs[local].chunk(accumulation), labels[local].chunk(accumulation), strict=True):
        output = model(inputs_part)
        value = loss(output.logits, labels_part).sum() * scale + 0.1 * load.loss(output)
        yield value, (output.gate > 0).any(dim=0)
    load.end_step(mean)


def run(engine, model, steps, rank, world_size, accumulation, load, average):
    """Take the steps; returns for each its gradients, the parameters after it in float32, the selected experts, and the averaged parameters."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad

    def values():
        masters = {name: safe_get_full_fp32_param(parameter) for name, parameter in model.named_parameters()}
        return {name: (parameter if masters[name] is None else masters[name]).detach().clone() for name, parameter in model.named_parameters()}

    results = []
    for step in steps:
        set_learning_rates(engine.param_groups, lr_multiplier(step, STEPS, OPTIM))
        selected = torch.zeros(4, dtype=torch.bool)
        for value, experts in losses(engine, step, rank, world_size, accumulation, load):
            engine.backward(value)
            selected |= experts
        gradients = {name: safe_get_full_grad(parameter).detach().clone() for name, parameter in model.named_parameters()}
        engine.step()
        average.update(step)
        trained = copied(model)
        with average.applied(model):
            averaged = copied(model)
        assert all(torch.equal(value, trained[name]) for name, value in copied(model).items())
        results.append((gradients, values(), selected, averaged))
    return results


def optimizer_state(engine, model):
    """Running averages of the gradient and of its square, of every parameter in full, after ``HALF`` steps; neither more nor fewer were counted."""
    deepspeed_optimizer = engine._engine.optimizer
    state = getattr(deepspeed_optimizer, "optimizer", deepspeed_optimizer).state  # with ZeRO, a wrapper of that of PyTorch
    assert {float(values["step"]) for values in state.values()} == {HALF}
    full = {f"{name}: {key}": torch.zeros(parameter.numel()) for name, parameter in model.named_parameters() for key in KEYS}
    for name, offset, values in engine.master_weights():
        places = ((tensor, (values.data_ptr() - tensor.data_ptr()) // values.itemsize) for tensor in state)
        tensor, start = next((tensor, start) for tensor, start in places if 0 <= start < tensor.numel())
        for key in KEYS:
            full[f"{name}: {key}"][offset : offset + values.numel()] = state[tensor][key].view(-1)[start : start + values.numel()]
    if engine.sharded:
        for values in full.values():
            dist.all_reduce(values)
    return full


def copied(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def engine_of(stage, accumulation, world_size, bf16, **more):
    model = Model()
    config = ZeroConfig(
        stage=stage,
        global_batch_size=BATCH,
        gradient_accumulation_steps=accumulation,
        world_size=world_size,
        max_grad_norm=OPTIM.max_grad_norm,
        bf16=bf16,
    )
    engine = ZeroEngine(model, model.parameter_groups(), OPTIM, config, **more)
    return engine, model, WeightAverage(engine.master_weights(), DECAY, sharded=engine.sharded)


def name_of(case):
    stage, accumulation, bf16 = case
    return f"stage{stage}-accumulation{accumulation}-{'bf16' if bf16 else 'float32'}"


def train(folder, rank, world_size):
    """Train all cases, with a checkpoint after half of the steps; returns the results of ``run`` by case, and the optimizer's state at that time."""
    results = {}
    for case in CASES:
        stage, accumulation, bf16 = case
        (engine, model, average), load = engine_of(stage, accumulation, world_size, bf16), ExpertLoad(4)
        first = run(engine, model, range(HALF), rank, world_size, accumulation, load, average)
        state = {"steps": HALF, "fractions": load.fractions.tolist()}
        shard = checkpoint.write(engine, state, CheckpointMeta(world_size=world_size), rank=rank, average=average)
        shard.rename(folder / f"{name_of(case)}-rank{rank}")
        results[case, "optimizer"] = optimizer_state(engine, model)
        results[case] = first + run(engine, model, range(HALF, STEPS), rank, world_size, accumulation, load, average)
    return results


def resume(folder, rank, world_size, *, regroup=False):
    """Resume all cases from their checkpoints, which two ranks have written; returns the results of ``run`` by case, and the state that was loaded.

    A single rank takes twice as many micro-batches, so that it runs the same code of DeepSpeed. With ``regroup``, ranks that took one micro-batch
    take two, and the reverse, as on GPUs with another amount of memory: with bf16 and ZeRO 1, DeepSpeed then has another class of optimizer.
    """
    results = {}
    storage = Storage(StorageConfig(uri=str(folder)))
    for case in CASES:
        stage, accumulation, bf16 = case
        accumulation = 3 - accumulation if regroup else accumulation * (2 // world_size if accumulation > 1 else 1)
        shard_folder, universal = checkpoint.fetch(storage, name_of(case), world_size=world_size, convert=stage > 0)
        assert universal == (world_size != 2 and stage > 0)
        engine, model, average = engine_of(stage, accumulation, world_size, bf16, universal=universal)
        state = engine.load(shard_folder)
        average.load(shard_folder.parent / checkpoint.AVERAGE)
        dist.barrier()
        checkpoint.delete_local_copy(storage, name_of(case), world_size=world_size)
        results[case, "optimizer"] = optimizer_state(engine, model)
        load = ExpertLoad(4, fractions=state["fractions"])
        results[case] = run(engine, model, range(state["steps"], STEPS), rank, world_size, accumulation, load, average)
    return results


def train_in_plain_pytorch():
    """The same steps in plain PyTorch on the global batch; returns the gradients of each, the parameters after it, and their average."""
    model, results, load = Model(), [], ExpertLoad(4)
    average = copied(model)
    optimizer = SlicedAdamW(model.parameter_groups(), OPTIM)
    for step in range(STEPS):
        set_learning_rates(optimizer.param_groups, lr_multiplier(step, STEPS, OPTIM))
        ((value, _),) = losses(model, step, 0, 1, 1, load, mean=identity)
        optimizer.zero_grad()
        value.backward()
        gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
        nn.utils.clip_grad_norm_(model.parameters(), OPTIM.max_grad_norm)
        optimizer.step()
        decay = min(DECAY, (1 + step) / (10 + step))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in copied(model).items()}
        results.append((gradients, copied(model), average))
    return results


if __name__ == "__main__":
    rank, world_size, port = (int(argument) for argument in sys.argv[1:4])
    folder, command = Path(sys.argv[4]), sys.argv[5]
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_WORLD_SIZE": str(world_size)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    prepare_deepspeed(gpu=False)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    torch.save(
        {"train": train, "resume": resume, "regroup": partial(resume, regroup=True)}[command](folder, rank, world_size),
        folder / f"{command}-{world_size}-{rank}.pt",
    )
    dist.barrier()
    with suppress(RuntimeError):
        dist.destroy_process_group()
