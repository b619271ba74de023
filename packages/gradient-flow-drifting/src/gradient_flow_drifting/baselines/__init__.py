"""Other people's fields under the package's interface, one file for each."""

from .bi_softmax import BiSoftmax
from .sinkhorn import SinkhornDrift
from .sliced import SlicedWasserstein

__all__ = ["BiSoftmax", "SinkhornDrift", "SlicedWasserstein"]
