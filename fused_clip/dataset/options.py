"""Options that every dataset shares, each declared once; nothing heavy is imported here."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fused_clip.support.option_types import Count, Name, Seed, StrictOptions

MAX_PIXELS = 200_000_000  # a phone's largest photo today; read whole, it takes up to 1.4 GB

# Datasets of this package that read an option; every one reads the others.
READ_BY = {
    "path": ("hub", "csv", "embeddings", "webdataset"),
    "revision": ("hub",),
    "root": ("imagefolder", "csv"),
    "image_column": ("hub", "csv", "webdataset"),
    "label_column": ("hub", "csv", "embeddings", "webdataset"),
    "on_bad_image": ("imagefolder", "csv", "webdataset"),
    "max_pixels": ("hub", "imagefolder", "csv", "webdataset"),
}


class Captions(StrictOptions):
    """Caption templates of a dataset.

    ``{}`` is the name of a class or group, ``{a}`` its article ("an" before a vowel letter, else "a";
    ``{an}`` is the same), ``{group}`` the group of the class.
    """

    model_config = ConfigDict(frozen=True)

    task: str = Field(default="This is a {}", description="prompt=task and swapped: `{}` is the class")
    grouped: str = Field(default="This is a {}", description="prompt=grouped: `{}` is the group")
    hierarchical: str = Field(
        default="This is a {} {group}",
        description="prompt=hierarchical: `{}` is the class, `{group}` its group",
    )
    generic: str = Field(
        default="This is a thing.", description="prompt=generic: one text for all, without `{}`"
    )


class SharedOptions(StrictOptions):
    """Options that every dataset shares."""

    model_config = ConfigDict(frozen=True)

    name: Name = Field(description="short name, shown in tables")
    path: str | None = Field(
        default=None,
        description="hub: id on the hub; csv: the table; embeddings: the file of vectors; webdataset: tar"
        " files",
    )
    revision: str = Field(default="main", description="hub: branch, tag or commit")
    root: str | None = Field(
        default=None, description="imagefolder: the folder; csv: where relative paths start"
    )
    outside_root: bool = Field(
        default=False,
        description="true: paths of a csv may lead out of `root` or the table's folder, and links out of a"
        " folder are followed",
    )
    image_column: str = Field(
        default="image",
        description="column of images, or of their paths in a csv; extension of images in tar files",
    )
    label_column: str = Field(
        default="label", description="column of labels; extension of labels in tar files, or `json:<key>`"
    )
    labels: Literal["given", "some", "none"] = Field(
        default="given",
        description="none: labels are not read; `classes` names the possible classes. some (csv): a row may"
        " have no label; it is trained on without one, and is in the test split, to be answered",
    )
    classes: list[Name] | None = Field(default=None, description="labels=none: names of the classes")
    class_names: list[Name] | None = Field(
        default=None,
        description="the classes used, in class order; null: all classes of the data. Images of other classes"
        " are left out. Where labels are plain integers, the name of each integer in turn",
    )
    display_names: dict[Name, Name] | None = Field(
        default=None,
        description="name in the data -> name used instead, by the other options, prompts and tables",
    )
    groups: dict[Name, Annotated[list[Name], Field(min_length=1)]] | None = Field(
        default=None, description="group -> its classes"
    )
    captions: Captions = Field(
        default_factory=Captions,
        description='templates of prompts: `{}` the name, `{a}` or `{an}` its article ("an" before a vowel'
        ' letter, else "a"), `{group}` the group',
    )
    swap: Literal["previous", "next"] = Field(
        default="previous",
        description="prompt=swapped: the neighbour, in class order, whose prompt a class takes",
    )
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="share of the stratified test split, where the data have no test split"
    )
    from_split: Literal["test"] | None = Field(
        default=None, description="test: halve the data's test split into train and test"
    )
    n_train: Count | None = Field(default=None, description="size of a stratified subset; null: all")
    n_test: Count | None = Field(default=None, description="size of a stratified subset; null: all")
    seed: Seed = Field(default=0, description="draws subsets and splits")
    on_bad_image: Literal["error", "skip"] = Field(
        default="error",
        description="unreadable images of imagefolder, csv and webdataset: stop, or leave out and list them",
    )
    max_pixels: Count = Field(
        default=MAX_PIXELS,
        description="images of more pixels are unreadable. A JPEG of more than 89,478,485 pixels is decoded"
        " at 1/2, 1/4 or 1/8 of its sides, which leaves at least 682 pixels a side",
    )
