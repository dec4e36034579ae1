"""
A new classifier
================

You write a classifier as one class and one YAML, and compare it with those of the package at three
budgets of labels. The run saves it like any other, so the model answers new images.
"""

# %%
# The class
# ---------
#
# A classifier declares what it needs. ``fit`` gets no more than that: without ``uses_labels`` it would be
# given no label. ``training.labelled`` are the images whose labels may be used, and ``target_scores``
# gives a score for each target, the higher the better. Arrays whose names end in an underscore are its
# state, and are saved with the model; ``targets_`` are the targets that it can predict.
#
# This one is a ridge regression from unit image rows to the targets. Code and YAML may lie in any folder;
# here it is below ``outputs``.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.stats.proportion import proportion_confint

import fused_clip

mine = Path("outputs", "my_classifiers")
files = {
    "gallery_classifiers.py": '''\
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from fused_clip.method.classifier import Classifier, TargetScores


class RidgeClassifier(Classifier):
    """Ridge regression from unit image rows to one-hot targets."""

    uses_labels = True
    uses_clusters = False

    def __init__(self, penalty=1.0):
        self.penalty = penalty

    def fit(self, training):
        rows, targets = training.labelled
        model = Ridge(alpha=self.penalty).fit(normalize(rows), np.eye(training.n_targets)[targets])
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.targets_ = np.arange(training.n_targets)
        return self

    def target_scores(self, X):
        return TargetScores(normalize(X) @ self.coef_.T + self.intercept_)
''',
    "classifier/ridge.yaml": """\
# Ridge regression on the images: labels, no cluster.
_target_: gallery_classifiers.RidgeClassifier
penalty: 1.0
""",
}
for name, text in files.items():
    (mine / name).parent.mkdir(parents=True, exist_ok=True)
    (mine / name).write_text(text)

# %%
# Check it
# --------
#
# ``check_option`` tests a classifier against the contract of its group, on small data of its own. It returns
# nothing, and raises an error that says what to change.

from fused_clip.testing import check_option

check_option("classifier=ridge", config_dir=mine)

# %%
# Run it beside the others
# ------------------------

table = fused_clip.sweep(
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=1000",
    "dataset.n_test=1000",
    "classifier=nearest_class_mean,linear_probe,ridge",
    "labels.per_class=4,16,64",
    "references.enabled=false",
    "figures.enabled=false",
    config_dir=mine,
    verbose=False,
)
table["labels.per_class"] = table["labels.per_class"].astype(int)
table.pivot(
    index="classifier", columns="labels.per_class", values="test/accuracy"
).round(3)

# %%
# The picture
# -----------

n_test = 1000
styles = {
    "nearest_class_mean": ("class means", "#009E73", "s"),
    "linear_probe": ("linear probe", "#E69F00", "v"),
    "ridge": ("the new one", "#0072B2", "o"),
}
fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for shift, (name, (title, colour, marker)) in enumerate(styles.items()):
    rows = table[table["classifier"] == name].sort_values("labels.per_class")
    accuracy = rows["test/accuracy"].to_numpy()
    low, high = proportion_confint(accuracy * n_test, n_test, method="wilson")
    x = np.arange(len(rows)) + 0.1 * (shift - 1)
    errors = [accuracy - low, high - accuracy]
    ax.errorbar(
        x, accuracy, yerr=errors, fmt=marker + "-", color=colour, capsize=3, label=title
    )
ax.set_xticks(range(3), rows["labels.per_class"])
ax.set_xlabel("labels of each class")
ax.set_ylabel("accuracy on the test images, 95 % interval")
ax.set_title("A classifier of your own")
ax.legend(frameon=False, loc="lower right")
plt.show()

# %%
# The saved model
# ---------------
#
# The run has saved the classifier with its arrays. A model is data and runs no code of its own, so you
# name the class that you trust. The sweep has put your folder on Python's path. Without
# ``embeddings_only`` the backbone is loaded as well, and ``model.predict("photo.jpg")`` answers.

from gallery_classifiers import RidgeClassifier

best = table[(table["classifier"] == "ridge") & (table["labels.per_class"] == 64)].iloc[
    0
]
model = fused_clip.load_model(
    best["directory"], trusted=[RidgeClassifier], embeddings_only=True
)
print("Possible answers:", ", ".join(model.names))
print("Probabilities are calibrated:", model.calibrated)

# %%
# What to do next
# ---------------
#
# - :doc:`../extend` has the contract of each group, and :doc:`../python` the Python interface.
# - A package that others install: copy the template of :doc:`../extend`.
# - Put the new classifier among the candidates of ``method=auto``: :doc:`../methods`.
# - Sweep its penalty with ``classifier.penalty=.1,1,10``: :doc:`../sweeps`.
