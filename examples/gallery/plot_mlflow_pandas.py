"""
Reading MLflow from pandas
==========================

Every run is recorded in MLflow: its options, metrics, facts, files and figures. This page reads them
into pandas, joins them with the table of the sweep, plots them, and shows a figure that a run has
stored.
"""

# %%
# Some runs
# ---------
#
# The database is ``mlflow.db`` in the output folder, unless ``tracking.uri`` names another store.

import os

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from mlflow.artifacts import download_artifacts

import fused_clip

photos = ["dataset=cifar10", "backbone=open", "dataset.n_train=1000", "dataset.n_test=1000"]
words = [*photos, "clusterer=kmeans", "reference=[zero_shot]"]
axes = ["prompt=none,task,swapped", "seed=0,1,2"]
table = fused_clip.sweep(*words, *axes, "figures.enabled=false", verbose=False)

# %%
# Search
# ------
#
# ``search_runs`` gives a DataFrame with a column for each metric, parameter and tag. A database may have
# runs of many sweeps. ``run_id`` is a column of both tables, so a join keeps the runs of this one, also
# those that it reused.

os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
mlflow.set_tracking_uri("sqlite:///outputs/mlflow.db")
found = mlflow.search_runs(search_all_experiments=True)
runs = table[["run_id", "directory"]].merge(found, on="run_id", validate="one_to_one")
runs[["params.prompt", "params.seed", "metrics.test/accuracy", "tags.uses_labels"]].round(3)

# %%
# A filter is evaluated by the database, which matters when there are thousands of runs. Backticks quote a
# metric's name that has a slash or a space.

words_of_filter = "params.dataset = 'cifar10' AND metrics.`test/accuracy` > 0.7"
above = mlflow.search_runs(search_all_experiments=True, filter_string=words_of_filter)
print(f"{above['run_id'].isin(table['run_id']).sum()} of {len(table)} runs are above .7")

# %%
# Parameters are options, tags are facts
# --------------------------------------
#
# The parameters are the parts of a run and the words of its sweep. Tags say what was found out: whether
# labels were used, whether the backbone's training had labels of these classes, which data and versions
# it was.

varied = [name for name in runs.filter(like="params.") if len(runs[name].unique()) > 1]
print("Parameters that differ:", ", ".join(sorted(varied)))
facts = runs.drop_duplicates("params.prompt").set_index("params.prompt")
facts[["tags.uses_labels", "tags.backbone_saw_labels", "tags.classes_seen", "tags.prompts"]].T

# %%
# A plot
# ------
#
# References have metrics of their own, below ``test vs``. Zero-shot classification has the true prompts
# in all of these runs.

names = {
    "metrics.test/accuracy": "the run",
    "metrics.test vs/zero_shot_accuracy": "zero-shot",
}
long = runs.melt(["params.prompt", "params.seed"], list(names), "who", "accuracy").dropna()
styles = {"the run": ("#0072B2", "o"), "zero-shot": ("#009E73", "s")}
prompts = ["none", "task", "swapped"]

fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
for shift, (who, (colour, marker)) in enumerate(styles.items()):
    rows = long[long["who"].map(names) == who]
    y = rows["params.prompt"].map(prompts.index) + 0.2 * (shift - 0.5)
    ax.plot(rows["accuracy"], y, marker, color=colour, markersize=8, markerfacecolor="none", label=who)
ax.set_yticks(range(len(prompts)), [f"prompt={prompt}" for prompt in prompts])
ax.set_ylim(len(prompts) - 0.5, -0.5)
ax.set_xlabel("accuracy on test images, a mark for each seed")
ax.set_title("Metrics from MLflow")
ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %%
# Files and figures of a run
# --------------------------
#
# The artifacts are the files of the run. ``download_artifacts`` gives a path, from a server as well. This
# is one more run, with figures.

best = fused_clip.sweep(*words, "prompt=task", "seed=3", "figures.points=200", verbose=False).iloc[0]
predictions = pd.read_parquet(download_artifacts(run_id=best["run_id"], artifact_path="predictions.parquet"))
wrong = predictions.query("split == 'test' and target != predicted")
pairs = wrong.groupby(["target", "predicted"]).size()
pairs.sort_values(ascending=False, kind="stable").head().rename("images").reset_index()

# %%
figures = mlflow.MlflowClient().list_artifacts(best["run_id"], "figures")
print("\n".join(figure.path for figure in figures))

# %%
confusion = download_artifacts(run_id=best["run_id"], artifact_path="figures/confusion.png")
fig, ax = plt.subplots(figsize=(6.4, 5.4), layout="constrained")
ax.imshow(plt.imread(confusion))
ax.set_axis_off()
plt.show()

# %%
# What to do next
# ---------------
#
# - :doc:`../sweeps` explains the charts of MLflow's own pages, and how to name another store or
#   experiment.
# - :doc:`../metrics` defines the metrics.
# - :doc:`../reports` makes tables and figures for a paper out of the same runs.
