"""Models of perceived quality and intelligibility, each from a package that may be missing.

All take (reference, estimate) as aligned signals [N] at :data:`RATE`. The packages raise many
types of error for clips they cannot judge; the caller counts and names those clips.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATE", "dnsmos", "estoi", "pesq_wb", "stoi", "visqol"]

RATE = 16_000
Signal = NDArray[np.floating]


def pesq_wb(reference: Signal, estimate: Signal) -> float:
    """PESQ wide band, MOS-LQO from 1.04 to 4.64 (ITU-T P.862.2 of 2007; package ``pesq``).

    The model's raw score q is mapped by 0.999 + 4 / (1 + exp(-1.3669 q + 3.8224)); an exact copy
    has q = 4.5, so 4.644. It aligns in time by itself.
    """
    from pesq import pesq

    return float(pesq(RATE, reference, estimate, "wb"))


def stoi(reference: Signal, estimate: Signal) -> float:
    """Short-time objective intelligibility, about 0 to 1: mean correlation of third-octave
    envelopes at 10 kHz over 384 ms (Taal et al. 2011, IEEE TASLP 19(7); package ``pystoi``)."""
    return _stoi(reference, estimate, extended=False)


def estoi(reference: Signal, estimate: Signal) -> float:
    """Extended STOI, which also compares between bands (Jensen & Taal 2016, IEEE/ACM TASLP
    24(11); package ``pystoi``)."""
    return _stoi(reference, estimate, extended=True)


def visqol(reference: Signal, estimate: Signal) -> float:
    """ViSQOL v3 in speech mode, MOS-LQO from 1 to 5: similarity of gammatone spectrograms, mapped
    by a lattice network (Chinen et al. 2020, arXiv 2004.09584; package ``visqol-python``). An
    exact copy scores about 4.2 to 4.6, not 5. It aligns patches in time by itself."""
    result = _visqol().measure_from_arrays(
        np.asarray(reference, np.float64), np.asarray(estimate, np.float64), RATE
    )
    return float(result.moslqo)


def dnsmos(estimate: Signal) -> dict[str, float]:
    """DNSMOS without a reference, MOS from 1 to 5: overall quality of P.835 and quality of P.808
    (Reddy et al. 2022, arXiv 2110.01763 and 2010.15258; package ``speechmos``). Clips shorter
    than 9 s are repeated; samples beyond full scale are clipped."""
    from speechmos import dnsmos as model  # pyright: ignore

    scores: Any = model.run(np.clip(np.asarray(estimate, np.float32), -1.0, 1.0), RATE)
    return {"dnsmos_ovrl": float(scores["ovrl_mos"]), "dnsmos_p808": float(scores["p808_mos"])}


def _stoi(reference: Signal, estimate: Signal, *, extended: bool) -> float:
    from pystoi import stoi as model

    with warnings.catch_warnings():
        # It only warns when the clip is too short, and returns 1e-5.
        warnings.simplefilter("error", RuntimeWarning)
        return float(model(reference, estimate, RATE, extended=extended))


@cache
def _visqol() -> Any:
    from visqol import VisqolApi  # pyright: ignore

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return api
