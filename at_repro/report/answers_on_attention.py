"""The first paragraphs of the pages on what attention is like: made of records, so that their numbers stay right."""

from collections.abc import Mapping

import pandas as pd

from at_repro.analysis import collection

_ALPHA = 0.05
_NOTHING = "Nothing can be said yet: what this page is about is not trained, or not measured."


def is_it_the_attention(students: Mapping[str, pd.DataFrame]) -> str:
    """Whether looking like the teacher goes with being right, as Markdown.

    Args:
        students: see `collection.distance_and_error`; the first ones give the answer.
    """
    title, own = next(iter(students.items()))
    correlations = collection.rank_correlations({title: own})
    if correlations.empty:
        return _NOTHING
    top = correlations.iloc[-1]
    lead = "Nothing says so: students whose attention is nearer to their teacher's do not err less"
    if top["p"] < _ALPHA:
        lead = f"Students whose attention is nearer to their teacher's err {'less' if top['rho'] > 0 else 'more'}"
    answer = (
        f"**{lead}.** Over {len(own)} students ({title}) the rank correlation of test error and distance from the "
        f"teacher's top map is {top['rho']:.2f}, where 1 would be *the nearer, the better* (p = {top['p']:.2g})."
    )
    pairs = {name: own for name, own in students.items() if {"student", "KD"} <= set(own["method"])}
    return answer + (_distillation(pairs) if pairs else "")


def _distillation(students: Mapping[str, pd.DataFrame]) -> str:
    """How often KD errs less than no transfer although it looks elsewhere than the teacher."""
    surprises, numbers = 0, []
    for title, own in students.items():
        top = own.columns[-1]
        (near, error), (kd_near, kd_error) = (
            own.loc[own["method"] == method, [top, "test_error"]].median() for method in ("student", "KD")
        )
        surprises += kd_near > near and kd_error < error
        numbers.append(f"{kd_near:.3f} against {near:.3f}, and {kd_error:.2f} against {error:.2f} % ({title})")
    return (
        " With distillation (KD) the top map is farther from the teacher's than without transfer and the error is "
        f"lower in {surprises} of {len(numbers)} pairs: {'; '.join(numbers)}."
    )


def peaks_objects_faces(
    peaks: pd.DataFrame, pretrained: pd.DataFrame, shares: pd.DataFrame, surplus: pd.DataFrame, parts: pd.DataFrame
) -> str:
    """Whether stronger networks are peakier, and whether attention is on the object and on the parts, as Markdown.

    Args:
        peaks, shares, surplus, parts: top share, on object, its surplus and on parts, see `collection.table`.
        pretrained: top share of networks with ImageNet weights, see `collection.pretrained`.
    """
    sentences = []
    if len(known := peaks.dropna()) > 2:
        sentences.append(
            f"**{_lead(known, 'of their attention in peaks')}**: the strongest tenth of a top map's positions holds "
            f"{_range(known['top'])} of its mass, and the "
            f"rank correlation with the test error is {_correlations(known)}."
        )
    if len(pretrained):
        sentences.append(
            "In networks with ImageNet weights, which stand in for the paper's, the strongest tenth holds "
            f"{_list(pretrained.iloc[:, -1])}, on photographs of birds: there the stronger ones "
            f"{'have' if pretrained.iloc[:, -1].is_monotonic_increasing else 'do not all have'} higher peaks."
        )
    if len(known := shares.dropna()) and len(surplus.dropna()) > 2:
        rising = int((known["top"] > known["low"]).sum())
        sentences.append(
            f"**Top maps have more of their mass on the object than low ones** in {rising} of {len(known)} networks: "
            f"{_range(known['top'])} against {_range(known['low'])}, on generated shapes, which have masks. "
            f"{_lead(surplus.dropna(), 'attention on the object')}: {_correlations(surplus.dropna())}, of test "
            "error and what a top map has on its own object more than another image's map has there."
        )
    if len(known := parts.dropna()):
        levels = known.iloc[0][["low", "middle", "top"]].astype(float)
        sentences.append(
            f"**On faces the {levels.idxmax()} maps lie most on eyes, nose and mouth**, with {_list(levels)} "
            "of their mass; the paper says the middle ones. That is one small network; the paper's was a published one."
        )
    return "\n".join(f"- {sentence}" for sentence in sentences) or _NOTHING


def _lead(networks: pd.DataFrame, quantity: str) -> str:
    """Decided only where it is so over all networks and over the WRNs, whose maps are taken at one place."""
    top = _top_level(networks)
    if (top["p"] < _ALPHA).all():
        return f"Stronger networks have {'more' if top['rho'].iloc[0] < 0 else 'less'} {quantity}"
    if top["rho"].iloc[0] < 0:
        return f"Whether stronger networks have more {quantity} is open"
    return f"Stronger networks do not show more {quantity}"


def _correlations(networks: pd.DataFrame) -> str:
    """Of test error and the top level, over all networks and over the WRNs alone."""
    over = [
        f"{row.rho:.2f} over {row.networks} {row.Index} (p = {row.p:.2g})" for row in _top_level(networks).itertuples()
    ]
    return ", ".join(over)


def _top_level(networks: pd.DataFrame) -> pd.DataFrame:
    groups = {"networks": networks, "WRNs": collection.families({"": networks})[", WRN"]}
    return collection.rank_correlations(groups).xs("top", level="level")


def _range(values: pd.Series) -> str:
    return f"{values.min():.0f} to {values.max():.0f} %"


def _list(values: pd.Series) -> str:
    return ", ".join(f"{value:.0f} % ({name})" for name, value in values.items())
