"""The whole method with several seeds, and without one part after the other: ``abaw-ray ablation``.

Results are found by their settings, so stages that a part does not touch are computed once, and an interrupted command continues.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import pyarrow as pa

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import needed
from abaw_ray.cluster.launch.ablation.parts import PARTS, without
from abaw_ray.cluster.launch.ablation.seeds import with_seed
from abaw_ray.cluster.launch.config import AblationJob, Part
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.pipeline import STAGES
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.stages.stage_two.baselines import BASELINE_VECTORS, SCORE_BASELINES
from abaw_ray.cluster.stages.stage_two.predictions import PREDICT
from abaw_ray.cluster.stages.stage_two.tables import RECORDINGS_FILE
from abaw_ray.core.errors import AbawError, StageError
from abaw_ray.core.progress import console, echo
from abaw_ray.report.ablation.page import AblationPage, write_ablation
from abaw_ray.report.ablation.rows import ABLATION_FILE, AblationRow, ablation_row, terminal_table
from abaw_ray.scoring.evaluation import Evaluation, read_evaluations

_STAGES = tuple(stage for stage in STAGES if stage not in (BASELINE_VECTORS, SCORE_BASELINES))
FULL = "full method"
Scores = dict[tuple[str, int], dict[str, Evaluation]]
"""Part that is taken away (or ``FULL``) and seed -> evaluations by name."""


@dataclass(frozen=True)
class Variant:
    """One run of the pipeline."""

    name: str
    """The part that is taken away, or ``FULL``."""
    seed: int
    run: Run[AblationJob]

    def __str__(self) -> str:
        """For messages: ``seed 0, without gate``."""
        return f"seed {self.seed}, {self.name if self.name == FULL else f'without {PARTS[self.name].claim}'}"  # pyright: ignore[reportArgumentType]


def variants(run: Run[AblationJob]) -> Iterator[Variant]:
    """All runs, seed by seed, the full method first.

    Raises:
        ConfigError: the settings do not have one of the parts.
    """
    for seed in run.config.ablation.seeds:
        config = with_seed(run.config, seed)
        full = Run(config, run.session)
        yield Variant(FULL, seed, full)
        for part in run.config.ablation.parts:
            if (changed := without(config, part)) is not None:
                yield Variant(part, seed, Run(changed, run.session, cache=full.cache))  # no part changes what is read of the data sets


def ablate(run: Run[AblationJob]) -> None:
    """Run all variants and write the table; one that fails does not keep the others from it.

    Raises:
        ConfigError: the settings do not have one of the parts.
        StageError: some runs failed; the table has the others.
    """
    todo = list(variants(run))
    if run.config.plan:
        _plan(todo)
        return
    scores, failed = Scores(), dict[Variant, AbawError]()
    for number, variant in enumerate(todo, start=1):
        if variant.name != FULL and (FULL, variant.seed) not in scores:
            continue  # nothing to compare it with
        echo(f"{variant} ({number} of {len(todo)} runs)")
        try:
            scores[variant.name, variant.seed] = _evaluations(variant.run)
        except AbawError as error:
            echo(f"  {variant} failed: {error}")
            failed[variant] = error
    rows = ablation_rows(scores, run.config.ablation.parts)
    if not rows:
        raise next(iter(failed.values()))
    _write(run, rows, failed)
    if failed:
        first, error = next(iter(failed.items()))
        raise StageError(f"{len(failed)} of {len(todo)} runs failed, the table has the others; first {first}: {error}")


def _evaluations(run: Run[AblationJob]) -> dict[str, Evaluation]:
    record = run_job(run, _STAGES, finish=lambda *_: None)[PREDICT.name]
    return read_evaluations(run.storage.read_table(f"{record.run_output}/{RECORDINGS_FILE}"))


def ablation_rows(scores: Scores, parts: tuple[Part, ...]) -> list[AblationRow]:
    """One row per part and comparison, of the seeds for which both runs succeeded; parts without any are left out."""
    rows = []
    for part in parts:
        ablation = PARTS[part]
        other = part if ablation.change else FULL
        seeds = [seed for name, seed in scores if name == FULL and (other, seed) in scores]
        for one in ablation.comparisons if seeds else ():
            rows.append(
                ablation_row(
                    ablation.claim,
                    ablation.instead,
                    one.scored,
                    seeds,
                    [scores[FULL, seed][one.with_part] for seed in seeds],
                    [scores[other, seed][one.without_part] for seed in seeds],
                )
            )
    return rows


def _write(run: Run[AblationJob], rows: list[AblationRow], failed: dict[Variant, AbawError]) -> None:
    config, storage = run.config, run.storage
    failures = {str(variant): str(error) for variant, error in failed.items()}
    figures = {"seeds": list(config.ablation.seeds), "rows": [asdict(row) for row in rows], "failures": failures}
    storage.write_bytes(ABLATION_FILE, json.dumps(figures, indent=1).encode())
    storage.write_table("ablation.parquet", pa.Table.from_pylist([asdict(row) for row in rows]))
    page = AblationPage(rows=rows, run=f"results in {storage.uri()}", synthetic=config.data.use_synthetic, failures=failures)
    address = write_ablation(storage, page)
    console.print(terminal_table(rows))
    echo(f"page:    {address}")
    echo(f"table:   {storage.uri('ablation.parquet')}, {storage.uri(ABLATION_FILE)}")


def _plan(todo: list[Variant]) -> None:
    """Print the plan of the first run; of the full method with another seed, the stages that it does not share with the first run, and of each
    other run those that it does not share with the full method of its seed.
    """
    full = {variant.seed: variant.run for variant in todo if variant.name == FULL}
    for variant in todo[1:]:
        own = own_stages(variant.run, todo[0].run if variant.name == FULL else full[variant.seed])
        echo(f"{variant}: {', '.join(own)}")
    first = todo[0]
    echo(f"{first}:")
    show_plan(replace(first.run, config=replace(first.run.config, plan=True)), _STAGES)


def own_stages(run: Run[AblationJob], full: Run[AblationJob]) -> list[str]:
    """Names of the stages whose storage, settings, or inputs' settings, differ from those of another run."""
    other = run.config.storage != full.config.storage
    return [stage.name for stage in needed(run, _STAGES) if other or stage.store(run).path != stage.store(full).path]
