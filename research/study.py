"""What is compared: the recipes of each question, and how a figure names and draws them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IN_DOMAIN", "RQ2", "RQ3", "RQ3_PATH", "VARIANTS", "Variant"]


@dataclass(frozen=True)
class Variant:
    """A recipe of ``recipes/research``: its label in figures and tables, and its colour."""

    recipe: str
    label: str
    colour: str


VARIANTS: dict[str, Variant] = {
    v.recipe: v
    for v in (
        Variant("complex", "complex", "#d62728"),
        Variant("real-params", "real, equal parameters", "#1f77b4"),
        Variant("polar-params", "magnitude and phase, equal parameters", "#2ca02c"),
        Variant("no-whitening", "complex without whitening", "#ff7f0e"),
        Variant("no-attention", "complex without attention", "#8c564b"),
        Variant("split", "complex, split activation", "#e377c2"),
        Variant("real-macs", "real, equal multiplications", "#17becf"),
        Variant("polar-macs", "magnitude and phase, equal multiplications", "#bcbd22"),
        Variant("path-complex", "complex", "#d62728"),
        Variant("path-real", "real, equal parameters", "#1f77b4"),
        Variant("path-polar", "magnitude and phase, equal parameters", "#2ca02c"),
    )
}

#: Recipes of a comparison; the first one is what the others are compared with.
RQ2 = ("complex", "no-whitening", "no-attention", "split")
RQ3 = ("complex", "real-params", "real-macs", "polar-params", "polar-macs")
RQ3_PATH = ("path-complex", "path-real", "path-polar")

#: Sets of evaluation clips of the kind (speakers or recordings) that the training audio is of.
IN_DOMAIN = ("seen_speakers_unseen_sentences", "librivox_unseen_readers")
