"""Is the fused model better than each modality alone, or was it luck? Runs a preset with several seeds and counts.

python -m tools.data.compare_seeds --seeds 0 1 2          (three demos: about half an hour on two cores)
"""

from dataclasses import replace

import tyro
from rich.table import Table

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.launch.command import log_path
from abaw_ray.cluster.launch.config import PipelineConfig
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.pipeline import STAGES, finish
from abaw_ray.cluster.launch.presets import PRESETS
from abaw_ray.core.progress import console, echo, redirect_library_output


def with_seed(line: PipelineConfig, seed: int) -> PipelineConfig:
    """The preset with every random choice changed: drawn people, first weights, folds, candidates."""
    root = f"{line.storage.uri}-seeds/{seed}"
    return replace(
        line,
        storage=replace(line.storage, uri=root),
        data=replace(line.data, synthetic_dir=f"{root}/data", synthetic=replace(line.data.synthetic, seed=seed)),
        encoder=replace(line.encoder, seed=seed),
        sweep=replace(line.sweep, seed=seed, fusion=replace(line.sweep.fusion, seed=seed)),
    )


def main(seeds: tuple[int, ...] = (0, 1, 2), preset: str = "demo") -> None:
    """Run the preset once a seed and print the scores side by side.

    Args:
        seeds: One run each; a run that is there already is read.
        preset: Name of the preset.
    """
    table, wins = Table("seed", "official", "face only", "voice only", "five folds", "raw pixels", title="macro-F1"), 0
    for seed in seeds:
        line = with_seed(PRESETS[preset][1], seed)
        with redirect_library_output(log_path(line)), RaySession(line.compute, line.storage) as session:
            run = Run(line, session)
            summary = finish(run, run_job(run, STAGES))
        fused, face, voice = (summary[name]["macro_f1"] for name in ("official_val", "visual_only", "audio_only"))
        pixels = f"{summary['baselines']['pixels']:.3f}"
        wins += fused > max(face, voice)
        table.add_row(str(seed), f"{fused:.3f}", f"{face:.3f}", f"{voice:.3f}", f"{summary['cv']['macro_f1_mean']:.3f}", pixels)
    console.print(table)
    echo(f"the fused model is above both in {wins} of {len(seeds)} seeds")


if __name__ == "__main__":
    tyro.cli(main)
