"""Prices of machines, their types, and the estimate of time and cost from workloads."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml

from abaw_ray.cluster.cost.plan_cost import PlanCost
from abaw_ray.cluster.cost.prices import Prices, price_of, prices_for, read_prices
from abaw_ray.cluster.cost.ranges import Range
from abaw_ray.cluster.cost.rates import gpu_of, worker_time
from abaw_ray.cluster.cost.stage_cost import Pool, stage_cost
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.machines.capacity import Machine, machines_of_file
from abaw_ray.cluster.machines.machine_types import gpu_type, resources_of
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.stages.workloads.sweep import candidate_epochs
from abaw_ray.core.errors import ConfigError
from abaw_ray.fusion.population.config import HalvingConfig

GPU = Resources(workers=4, cpus=4.0, gpus=1.0)
CPU_MACHINE = Machine({"CPU": 16.0}, 8, "m7i.4xlarge")
GPU_MACHINE = Machine({"CPU": 48.0, "GPU": 4.0}, 1, "g5.12xlarge")
PRICES = Prices(date="2026-11-29", usd_per_hour={"m7i.4xlarge": 0.4, "g5.12xlarge": 2.0}, head=0.2)


def file_with(tmp_path, prices):
    path = tmp_path / "cluster.yaml"
    types = {"cpu": {"node_config": {"machineType": "n2-standard-16"}}, "odd": {"node_config": {}}}
    path.write_text(yaml.safe_dump({"provider": {"type": "gcp", **prices}, "head_node_type": "cpu", "available_node_types": types, "max_workers": 1}))
    return path


@pytest.mark.parametrize(
    ("machine", "gpu", "cpus", "gpus"),
    [
        ("m7i.4xlarge", "", 16, 0),
        ("c7i.large", "", 2, 0),
        ("g5.xlarge", "A10G", 4, 1),
        ("g5.12xlarge", "A10G", 48, 4),
        ("g6e.48xlarge", "L40S", 192, 8),
        ("p4d.24xlarge", "A100", 96, 8),
        ("p5.48xlarge", "H100", 192, 8),
        ("p5.4xlarge", "H100", 16, 1),
        ("e2-standard-4", "", 4, 0),
        ("g2-standard-24", "L4", 24, 2),
        ("a2-highgpu-1g", "A100", 0, 0),
        ("unknown", "", 0, 0),
    ],
)
def test_the_type_of_a_machine_gives_its_cpus_and_gpus(machine, gpu, cpus, gpus):
    assert gpu_type(machine) == gpu
    assert (resources_of(machine).get("CPU", 0), resources_of(machine).get("GPU", 0)) == (cpus, gpus)


def test_the_gpu_of_a_running_machine_is_the_one_that_ray_detected():
    assert gpu_of({"CPU": 8.0, "accelerator_type:A100-80G": 1.0}, "") == "A100"
    assert gpu_of({"CPU": 8.0, "accelerator_type:X": 1.0}, "g5.xlarge") == "A10G"


def test_the_shipped_cluster_file_gives_its_machines_although_ray_fills_in_their_sizes_later():
    assert [(one.type, one.count, one.resources["CPU"]) for one in machines_of_file(Path(__file__).parents[2] / "cluster.yaml")] == [
        ("m7i.4xlarge", 8, 16.0),
        ("g5.12xlarge", 1, 48.0),
    ]


def test_a_machine_of_unknown_size_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "cluster.yaml"
    types = {"head": {"node_config": {}}, "x": {"node_config": {"InstanceType": "z9.odd"}, "resources": {}, "max_workers": 2}}
    path.write_text(yaml.safe_dump({"provider": {"type": "aws"}, "head_node_type": "head", "available_node_types": types, "max_workers": 2}))
    with pytest.raises(ConfigError, match="the CPUs of z9.odd are unknown"):
        machines_of_file(path)


def test_prices_hold_for_both_names_of_a_machine(tmp_path):
    prices = read_prices(file_with(tmp_path, {"prices": {"date": "2026-11-01", "usd_per_hour": {"n2-standard-16": 0.5}}}), date(2026, 11, 29))
    assert prices.usd({"n2-standard-16": 2.0, "cpu": 1.0}) == 1.5 and prices.head == 0.5
    assert prices.usd({"cpu": 1.0, "other": 1.0}) is None and prices.usd({}) is None
    assert (prices.date, prices.remark) == ("2026-11-01", "")


def test_on_demand_machines_have_a_price_of_their_own():
    prices = read_prices(Path(__file__).parents[2] / "cluster.yaml", date(2026, 11, 29))
    assert prices.usd({"gpu_spot": 1.0}) == prices.usd_per_hour["g5.12xlarge"]
    assert prices.usd({"gpu_on_demand": 1.0}) == prices.usd_per_hour["g5.12xlarge on demand"] > 2 * prices.usd_per_hour["g5.12xlarge"]


def test_old_prices_are_used_with_a_remark(tmp_path):
    prices = read_prices(file_with(tmp_path, {"prices": {"date": "2026-11-01", "usd_per_hour": {"n2-standard-16": 0.5}}}), date(2027, 5, 29))
    assert prices.usd({"cpu": 1.0}) == 0.5 and "are of 2026-11-01, 6 months old" in prices.remark


@pytest.mark.parametrize(
    "prices",
    [
        {},
        {"prices": 3},
        {"prices": {"date": "today", "usd_per_hour": {}}},
        {"prices": {"usd_per_hour": {"m7i.xlarge": 1}}},
        {"prices": {"date": "2026-11-01", "usd_per_hour": {"m7i.xlarge": "cheap"}}},
        {"prices": {"date": "2026-11-01", "usd_per_hour": [1]}},
    ],
)
def test_missing_and_wrong_prices_give_a_remark_and_no_error(tmp_path, prices):
    found = read_prices(file_with(tmp_path, prices), date(2026, 11, 29))
    assert found.usd({"cpu": 1.0}) is None and "prices" in found.remark


def test_without_a_cluster_and_a_file_there_are_no_prices_and_no_remark(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert prices_for("") == Prices()
    assert "cannot be used" in prices_for(str(tmp_path / "gone.yaml")).remark


@pytest.mark.parametrize("value", [0, -1, True, "0.3", float("nan"), float("inf"), None])
def test_a_price_is_a_number_above_zero(value):
    with pytest.raises(ValueError, match="no price in USD per hour"):
        price_of(value)


def test_a_gpu_takes_the_arithmetic_over_its_peak_and_utilization():
    found = worker_time(Workload(text="", training_gflop=70e3 * 3600), GPU, "A10G")
    assert found is not None and found.seconds == Range(7200, 14400)
    assert worker_time(Workload(text="", gflop=1.0), GPU, "B300") is None


def test_a_gpu_waits_for_the_cpus_beside_it_where_these_are_slower():
    found = worker_time(Workload(text="", gflop=1.0, cpu_s=3000.0), GPU, "A10G")
    assert found is not None and found.seconds == Range(750.0, 1600.0)


def test_a_cpu_takes_the_measured_rates_for_networks_and_steps():
    base = worker_time(Workload(text="", cpu_s=100.0), Resources(), "")
    more = worker_time(Workload(text="", cpu_s=100.0, images=1e3, gflop=1e3, model_steps=1e3), Resources(), "")
    assert base is not None and more is not None
    assert more.seconds.low - base.seconds.low == pytest.approx(0.75 * (0.422 + 7.9 + 5.7))


def test_workers_without_a_gpu_are_placed_on_machines_without_one():
    cost = stage_cost([Pool(workload=Workload(text="frames", cpu_s=3600.0), worker=Resources(), workers=20)], [GPU_MACHINE, CPU_MACHINE])
    assert cost is not None and cost.machines == {"m7i.4xlarge": 2}
    assert cost.seconds == Range(140.0, 318.0) and cost.units == {"vCPU-hours": Range(0.75, 1.6)}
    usd = cost.usd(PRICES)
    assert usd is not None and usd.low == pytest.approx(2 * 0.4 * 140 / 3600)
    assert cost.usd(Prices()) is None


def test_pools_that_run_together_take_the_time_of_the_slower_one():
    find = Pool(workload=Workload(text="frames", cpu_s=128 * 3600.0), worker=Resources(), workers=128)
    score = Pool(workload=Workload(text="faces", gflop=4 * 70e3 * 360), worker=GPU, workers=4)
    cost = stage_cost([find, score], [CPU_MACHINE, GPU_MACHINE])
    assert cost is not None and cost.machines == {"m7i.4xlarge": 8, "g5.12xlarge": 1}
    assert cost.seconds == Range(2705, 5790) and cost.workers == 128 and set(cost.units) == {"vCPU-hours", "A10G-hours"}


def test_no_more_workers_count_than_can_share_the_work():
    cost = stage_cost([Pool(workload=Workload(text="", cpu_s=100.0, parallel=2), worker=Resources(), workers=8)], [CPU_MACHINE])
    assert cost is not None and cost.workers == 2 and cost.seconds.low == 42.5


def test_the_sum_has_head_start_and_idle_time():
    cost = PlanCost([CPU_MACHINE, GPU_MACHINE], PRICES)
    cost.add("faces", (Workload(text="9 frames", cpu_s=128 * 3600.0, sources=("a source",)),), [(Resources(), 128)])
    cost.add("features", (Workload(text="9 faces", gflop=4 * 70e3 * 3600),), [(GPU, 4)])
    cost.add("baselines", (), [(Resources(), 1)])
    faces, features, total, sources, unknown = cost.lines()
    assert faces == "faces: 45.1 min to 1.6 h with 128 workers on 8 m7i.4xlarge, 96 to 200 vCPU-hours, 2.4 to 5.1 USD; 9 frames"
    assert features == "features: 2.0 h to 4.0 h with 4 workers on 1 g5.12xlarge, 8 to 16 A10G-hours, 4 to 8 USD; 9 faces"
    low = 2.4 + 4.0 + 420 / 3600 * (8 * 0.4 + 2.0) + (9910 + 420) / 3600 * 0.2
    assert total.startswith(f"all of these, one after the other: 2.8 h to 5.6 h, {low:.2g} to ") and total.endswith("prices of 2026-11-29")
    assert "these are estimates" in sources and "a source" in sources and unknown == "not estimated: baselines"


def test_a_plan_without_workloads_has_no_lines():
    cost = PlanCost([CPU_MACHINE], Prices())
    cost.add("baselines", (), [(Resources(), 1)])
    cost.add("faces", (Workload(text="", cpu_s=1.0),), [(Resources(), 0)])
    assert cost.lines() == []


def test_halving_leaves_a_third_of_the_epochs_of_eight_candidates():
    assert candidate_epochs(8, 20, HalvingConfig()) == (56, 2)  # as counted by tools.bench.fusion
    assert candidate_epochs(8, 20, HalvingConfig(reduction=1)) == candidate_epochs(8, 20, HalvingConfig(grace_epochs=21)) == (160, 8)
    assert candidate_epochs(1, 20, HalvingConfig(), never_stopped=1) == (20, 1)


def test_the_unchanged_settings_continue_besides_the_best():
    alive = [8, 8, 5, 5, 4, 4, 4, 4, 3]  # ranked with the others: half of 8, of 5 and of 4, rounded up, and one more each time
    assert [candidate_epochs(8, epochs, HalvingConfig(), never_stopped=1)[0] for epochs in range(1, 10)] == list(np.cumsum(alive))
