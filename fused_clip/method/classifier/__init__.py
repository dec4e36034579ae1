"""Classifiers: embeddings of new images -> a score for every target.

One that is chosen by ``conf/classifier/<name>.yaml`` derives from `Classifier`, which is the contract.
"""

from fused_clip.method.classifier.centroids import ConstrainedCentroid, NearestClassMean, NearestClusterMean
from fused_clip.method.classifier.clap import CLAP
from fused_clip.method.classifier.contract import (
    Assignment,
    Classifier,
    TargetScores,
    Training,
    cluster_means,
)
from fused_clip.method.classifier.folds import out_of_fold_scores
from fused_clip.method.classifier.gda import GaussianDiscriminant
from fused_clip.method.classifier.knn import KNeighbors
from fused_clip.method.classifier.linear_probe import LinearProbe
from fused_clip.method.classifier.lp_plus_plus import LPPlusPlus
from fused_clip.method.classifier.shrunk_mean import ShrunkMean
from fused_clip.method.classifier.tip_adapter import TipAdapter, TipAdapterF
from fused_clip.method.classifier.zero_shot import ZeroShot

__all__ = [
    "CLAP",
    "Assignment",
    "Classifier",
    "ConstrainedCentroid",
    "GaussianDiscriminant",
    "KNeighbors",
    "LPPlusPlus",
    "LinearProbe",
    "NearestClassMean",
    "NearestClusterMean",
    "ShrunkMean",
    "TargetScores",
    "TipAdapter",
    "TipAdapterF",
    "Training",
    "ZeroShot",
    "cluster_means",
    "out_of_fold_scores",
]
