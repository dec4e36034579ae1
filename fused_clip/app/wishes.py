"""What a visitor asks of the model, as typed values and as words of ``fused-clip-predict``."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from fused_clip.guarantee import Guarantee, promised
from fused_clip.guarantee.conformal import Per
from fused_clip.model.saved import SavedModel


@dataclass(frozen=True)
class Wishes:
    """Options of the answers; the defaults ask for nothing.

    Parameters
    ----------
    added : name and sentence of each target that is added to the model's.
    targets : admitted targets, added ones included; None for all.
    prior : frequency of each admitted target; None for equal ones.
    groups : ``{name: [targets]}`` merged into one answer; None for none.
    threshold : answers below this probability are abstentions, in [0, 1].
    coverage : share of images whose set is to contain the right target, in (0, 1); None for no sets.
    per : whether the coverage is that of all images or of each target's.
    unknown : share of images of the model's targets that may be called unknown, in (0, 1); None for no calls.
    """

    added: tuple[tuple[str, str], ...] = ()
    targets: tuple[str, ...] | None = None
    prior: Mapping[str, float] | None = None
    groups: Mapping[str, tuple[str, ...]] | None = None
    threshold: float = 0.0
    coverage: float | None = None
    per: Per = "all"
    unknown: float | None = None

    @property
    def known(self) -> str:
        """Knowledge of the images as text, equal for equal knowledge."""
        return repr((self.targets, self.prior, self.groups))

    def applied(self, model: SavedModel) -> SavedModel:
        """Give the model with the added targets and the constraint.

        Parameters
        ----------
        model : as it was loaded.

        Raises
        ------
        InputError
            As `SavedModel.with_target` and `SavedModel.constrain`.
        """
        for name, text in self.added:
            model = model.with_target(name, text)
        return model.constrain(targets=self.targets, prior=self.prior, target_map=self.groups)

    def guarantee(self, model: SavedModel) -> Guarantee | None:
        """Check what the answers are to promise; None if nothing is asked for.

        Parameters
        ----------
        model : that `applied` gave.

        Raises
        ------
        InputError
            As `Guarantee.of`.
        """
        return promised(model, self.coverage, self.per, self.unknown)

    def command(self, place: str) -> str:
        """Write the command that gives the same answers; empty with added targets, which no option adds.

        Parameters
        ----------
        place : of the model.
        """
        if self.added:
            return ""
        words = ["fused-clip-predict", place, "photos/", "--out", "answers.csv"]
        if self.targets is not None:
            words += ["--targets", ",".join(map(_quoted, self.targets))]
        if self.prior is not None:
            words += ["--prior", ",".join(_quoted(f"{name}={value!r}") for name, value in self.prior.items())]
        if self.groups is not None:
            words += ["--target-map", "groups.yaml"]
        if self.threshold:
            words += ["--threshold", f"{self.threshold:g}"]
        if self.coverage is not None:
            words += ["--coverage", f"{self.coverage:g}", "--coverage-per", self.per]
        if self.unknown is not None:
            words += ["--unknown", f"{self.unknown:g}"]
        return shlex.join(words)


def _quoted(name: str) -> str:
    """A name as a field of csv, which the options of targets and priors are."""
    special = any(sign in name for sign in ',"')
    return '"' + name.replace('"', '""') + '"' if special else name
