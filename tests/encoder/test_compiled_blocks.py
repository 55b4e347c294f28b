"""Blocks that are compiled in place. Where the compiler itself is not the point, a backend of PyTorch that needs none takes its place."""

import copy

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.noise import set_noise, use_stochastic_depth
from abaw_ray.encoder.vit.compiled_blocks import compile_blocks, compile_in_place, missing_for

pytestmark = [
    # Dynamo reads the attribute of every input, and ignores this warning itself where warnings are no errors.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    # PyTorch's own modules, when inductor is imported.
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]
SIZES = {"img_size": 32, "embed_dim": 32, "depth": 5, "num_heads": 2, "num_classes": 0, "drop_path_rate": 0.4}
NAMES = {
    "dinov2": "vit_small_patch14_dinov2",
    "registers": "vit_small_patch14_reg4_dinov2",
    "eva02": "eva02_tiny_patch14_224",
    "dinov3": "vit_small_plus_patch16_dinov3",
}


@pytest.fixture(autouse=True)
def no_graphs_of_other_tests():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def build(kind):
    torch.manual_seed(0)
    vit = timm.create_model(NAMES[kind], **{**SIZES, "img_size": 28 if "14" in NAMES[kind] else 32}).train()
    return vit, use_stochastic_depth(vit)


def images(vit, count):
    return torch.randn(count, 3, *vit.patch_embed.img_size, generator=torch.Generator().manual_seed(count))


def gradients(vit, layers, count=4):
    """Output and gradients of one pass, with the same masks each time."""
    set_noise(layers, torch.rand(count, len(layers), generator=torch.Generator().manual_seed(1)))
    output = vit(images(vit, count))
    vit.zero_grad()
    output.square().sum().backward()
    return {"output": output.detach()} | {name: parameter.grad.clone() for name, parameter in vit.named_parameters()}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", NAMES)
def test_compiled_blocks_share_two_graphs_and_give_the_same_gradients(kind, recompute):
    vit, layers = build(kind)
    names, expected = list(vit.state_dict()), gradients(vit, layers)
    vit.set_grad_checkpointing(recompute)
    counter = CompileCounterWithBackend("aot_eager")
    compile_in_place(vit, counter)
    for _ in range(2):
        torch.testing.assert_close(gradients(vit, layers), expected, atol=1e-5, rtol=1e-5)
    assert (counter.frame_count, len(layers)) == (2, 8), "the first block has no stochastic depth, all others share a graph"
    assert list(vit.state_dict()) == names


@pytest.mark.parametrize("kind", ["dinov2", "eva02"])
def test_further_numbers_of_images_do_not_compile_again(kind):
    vit, layers = build(kind)
    expected = copy.deepcopy(vit)
    counter, counts = CompileCounterWithBackend("eager"), []
    compile_in_place(vit, counter)
    gradients(vit, layers, 6)
    vit.eval()
    for context in (torch.no_grad, torch.inference_mode):
        for count in (8, 3, 1, 5, 7, 2, 1, 8):
            with context():
                torch.testing.assert_close(vit(images(vit, count)), expected.eval()(images(vit, count)), atol=1e-5, rtol=1e-5)
            counts.append(counter.frame_count)
    assert counts[2] == counts[7] <= 6, "two graphs each for training, for any number of images, and for a single one"
    assert counts[-1] <= counts[7] + 4
    vit.train()
    gradients(vit, layers, 6)
    assert counter.frame_count == counts[-1], "the size of the micro-batches keeps its graph"


def test_a_copy_and_a_saved_encoder_are_those_of_a_model_that_is_not_compiled(config, tmp_path):
    model = ExpressionModel(config)
    save_encoder(tmp_path / "before", model.encoder)
    compile_in_place(model.encoder.vit, "eager")
    save_encoder(tmp_path / "after", model.encoder)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("before", "after"))
    torch.testing.assert_close(after, before, atol=0, rtol=0)
    assert (tmp_path / "after/config.json").read_bytes() == (tmp_path / "before/config.json").read_bytes()
    copied = copy.deepcopy(model).encoder.vit.blocks[0]
    assert (copied._compiled_call_impl is None, model.encoder.vit.blocks[0]._compiled_call_impl is None) == (True, False)


@pytest.mark.compiler
def test_blocks_that_inductor_compiles_on_a_cpu_give_the_same_gradients():
    vit, layers = build("dinov2")
    expected = gradients(vit, layers)
    torch._dynamo.utils.counters.clear()
    assert compile_blocks(vit, "on", "cpu") == ""
    torch.testing.assert_close(gradients(vit, layers), expected, atol=1e-5, rtol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2 and not torch._dynamo.utils.counters["graph_break"]


def is_compiled(vit: nn.Module) -> bool:
    return any(block._compiled_call_impl is not None for block in vit.blocks)


def test_the_mode_decides_and_a_missing_compiler_is_said_in_one_line(monkeypatch, tmp_path, caplog):
    vit, _ = build("dinov2")
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (compile_blocks(vit, "auto", "cpu"), compile_blocks(vit, "off", "cuda"), compile_blocks(vit, "off", "cpu")) == ("", "", "")
    assert not caplog.messages
    reason = compile_blocks(vit, "auto", "cuda:0")
    assert reason == "the encoder's blocks are not compiled: no C compiler was found (cc, gcc, clang)"
    assert caplog.messages == [reason]
    with pytest.raises(ConfigError, match=r"^compute\.compile=on: no C\+\+ compiler was found \(c\+\+, g\+\+, clang\+\+\); install it"):
        compile_blocks(vit, "on", "cpu")
    assert not is_compiled(vit)


def test_a_compiler_of_the_environment_counts_and_so_do_pythons_headers(monkeypatch, tmp_path):
    compiler = tmp_path / "my-cc"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    assert missing_for("cuda") == f"Python's headers are missing ({tmp_path}/Python.h)"
    (tmp_path / "Python.h").touch()
    assert missing_for("cuda") == ""
    monkeypatch.setenv("CC", str(tmp_path / "gone"))
    assert missing_for("cuda") == f"no C compiler was found ({tmp_path}/gone)"
    vit, _ = build("dinov2")
    monkeypatch.setenv("CXX", str(compiler))
    assert compile_blocks(vit, "on", "cpu") == "" and is_compiled(vit)
