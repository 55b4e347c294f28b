"""Settings of the training of a population."""

from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HalvingConfig:
    """Successive halving inside a population (Jamieson and Talwalkar, 2016). All values are ours."""

    grace_epochs: int = 2
    """Epochs after which candidates are stopped for the first time; then after twice as many, four times as many, ... (for ``reduction`` 2)."""
    reduction: int = 2
    """Of the candidates, one in ``reduction`` continues; 1 stops none."""
    finalists: int = 2
    """Candidates of a population that at least reach the last epoch. Smoothing and number of epochs are chosen for those that do, which are one more
    where the unchanged settings, never stopped, are not among the best."""

    def __post_init__(self) -> None:
        """Refuse values below 1."""
        for name in ("grace_epochs", "reduction", "finalists"):
            if getattr(self, name) < 1:
                raise ConfigError(f"sweep.halving.{name}={getattr(self, name)} must be at least 1")

    def is_rung(self, epoch: int) -> bool:
        """Whether candidates are stopped after this epoch, counted from 1."""
        if self.reduction == 1 or epoch % self.grace_epochs:
            return False
        ratio = epoch // self.grace_epochs
        while ratio % self.reduction == 0:
            ratio //= self.reduction
        return ratio == 1

    def continuing(self, candidates: int) -> int:
        """How many of so many candidates continue after a rung."""
        return max(self.finalists, -(-candidates // self.reduction))
