"""Compares the fused model with each single-modality model over several seeds of a preset.

python -m tools.data.compare_seeds --seeds 0 1 2          (three demos: about half an hour on two cores)
"""

from rich.table import Table

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.ablation.seeds import with_seed
from abaw_ray.cluster.launch.command import log_path
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.pipeline import STAGES, finish
from abaw_ray.cluster.launch.presets import PRESETS
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.progress import console, echo, redirect_library_output
from tools.bench.table import run_main


def main(seeds: tuple[int, ...] = (0, 1, 2), preset: str = "demo") -> None:
    """Run the preset once per seed and print a table of the scores.

    Args:
        seeds: Seeds, one run each; the results of a finished run are reused.
        preset: Name of the preset.
    """
    table, wins = Table("seed", "official", "face only", "audio only", "five folds", "raw pixels", title="macro-F1"), 0
    for seed in seeds:
        config = with_seed(PRESETS[preset][1], seed)
        with redirect_library_output(log_path(config, "compare_seeds")), RaySession(config.compute, config.storage) as session:
            run = Run(config, session)
            summary = finish(run, run_job(run, STAGES))
        fused, face, audio = (summary[name]["macro_f1"] for name in ("official_val", "visual_only", "audio_only"))
        pixels = f"{summary['baselines']['pixels']['macro_f1']:.3f}"
        wins += fused > max(face, audio)
        table.add_row(str(seed), f"{fused:.3f}", f"{face:.3f}", f"{audio:.3f}", f"{summary['cv']['macro_f1_mean']:.3f}", pixels)
    console.print(table)
    echo(f"the fused model scores above both single-modality models in {wins} of {len(seeds)} seeds")


if __name__ == "__main__":
    run_main(main)
