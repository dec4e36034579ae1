"""Classifiers: embeddings of new images -> a score for every target.

One that is chosen by ``conf/classifier/<name>.yaml`` derives from `Classifier`, which is the contract.
"""

from fused_clip.method.classifier.centroids import (
    ConstrainedCentroid,
    NearestClassMean,
    NearestClusterMean,
    SoftConstrainedCentroid,
)
from fused_clip.method.classifier.clap import CLAP
from fused_clip.method.classifier.contract import (
    Assignment,
    Classifier,
    TargetScores,
    Training,
    cluster_means,
)
from fused_clip.method.classifier.folds import calibration_sample, out_of_fold_scores
from fused_clip.method.classifier.gda import GaussianDiscriminant
from fused_clip.method.classifier.knn import KNeighbors
from fused_clip.method.classifier.linear_probe import LinearProbe
from fused_clip.method.classifier.lp_plus_plus import LPPlusPlus
from fused_clip.method.classifier.shrunk_mean import ShrunkMean
from fused_clip.method.classifier.stata import StatA
from fused_clip.method.classifier.tip_adapter import TipAdapter, TipAdapterF
from fused_clip.method.classifier.transclip import TransClip, TransClipFewShot
from fused_clip.method.classifier.zero_shot import ZeroShot
from fused_clip.method.classifier.zlap import ZLaP

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
    "SoftConstrainedCentroid",
    "StatA",
    "TargetScores",
    "TipAdapter",
    "TipAdapterF",
    "Training",
    "TransClip",
    "TransClipFewShot",
    "ZLaP",
    "ZeroShot",
    "calibration_sample",
    "cluster_means",
    "out_of_fold_scores",
]
