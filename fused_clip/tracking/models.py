"""Models in an MLflow store: logged as a pyfunc from code, registered, and fetched as data."""

import copy
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from fused_clip.support.errors import InputError
from fused_clip.tracking.address import absolute_uri
from fused_clip.tracking.database import check_existing

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

log = logging.getLogger(__name__)

NAME = "model"
_FACTS = "MLmodel"
_CODE = Path(__file__).with_name("pyfunc.py")


def log_model(client: "MlflowClient", run_id: str, folder: Path, register: str | None) -> None:
    """Log the model of a run, and register it if asked.

    One that takes embeddings alone becomes plain files of the run: it can't answer for images.

    Parameters
    ----------
    client : of the store.
    run_id : of the run.
    folder : the model, as `fused_clip.model.format.write` left it.
    register : name in the model registry, of which it becomes the newest version; None for none.
    """
    from mlflow.entities import LoggedModelOutput

    from fused_clip.model.format import read_facts

    facts = read_facts(folder)
    if facts.backbone is None:
        client.log_artifacts(run_id, str(folder), NAME)
        if register is not None:
            log.warning("The model takes embeddings alone, and is not registered as %s.", register)
        return
    experiment_id = client.get_run(run_id).info.experiment_id
    logged = client.create_logged_model(experiment_id, NAME, run_id)
    with TemporaryDirectory() as place:
        draft = Path(place) / NAME
        _save(draft, folder, logged, run_id, images=2 if facts.transductive else 1)
        client.log_model_artifacts(logged.model_id, str(draft))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
    if register is not None:
        _register(client, register, run_id, logged)


def check_name(client: "MlflowClient", name: str) -> None:
    """Check that models can be registered under a name.

    Parameters
    ----------
    client : of the store.
    name : in the registry.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise _not_taken(name, error) from error


def register_model(client: "MlflowClient", name: str, run_id: str) -> None:
    """Register the model of a run as the newest version of a name, unless it is a version of it.

    Parameters
    ----------
    client : of the store.
    name : in the registry.
    run_id : of the run.
    """
    logged = _logged(client, run_id)
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    if logged is not None and name not in [version.name for version in versions]:
        _register(client, name, run_id, logged)


def _save(draft: Path, folder: Path, logged: "LoggedModel", run_id: str, *, images: int) -> None:
    """Write a model in MLflow's format: the code that loads it, the data, signature and example."""
    from mlflow.models import Model

    frame = _frame(images)
    data = draft / "artifacts" / NAME
    shutil.copytree(folder, data)
    for name, content in frame.files.items():
        (draft / name).write_bytes(content)
    facts: dict[str, Any] = copy.deepcopy(frame.facts)
    facts["flavors"]["python_function"]["artifacts"][NAME]["uri"] = str(folder)
    facts["model_size_bytes"] += sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    ids = {"model_uuid": logged.model_id, "model_id": logged.model_id, "run_id": run_id}
    made = str(datetime.now(UTC).replace(tzinfo=None))
    own = {"artifact_path": logged.artifact_location, "utc_time_created": made, **ids}
    Model.from_dict({**facts, **own}).save(str(draft / _FACTS))


class _Frame(NamedTuple):
    """What models in MLflow's format have in common.

    Parameters
    ----------
    files : content of each by its name: code, environment, example.
    facts : of ``MLmodel``, with the size of these files alone.
    """

    files: Mapping[str, bytes]
    facts: dict[str, Any]


@cache
def _frame(images: int) -> _Frame:
    """Let MLflow save a model without data, once in a process.

    It would look through all installed packages for those that a model requires, half a second, if they were
    required by this Python: so they are required by none, and by all afterwards.
    """
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it logs every step
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with warnings.catch_warnings(), TemporaryDirectory() as place:
        # Both are about mlflow's own code: its type hints, and its use of pandas.
        warnings.filterwarnings("ignore", ".*AnyType")
        warnings.filterwarnings("ignore", "Operation with range is deprecated")
        import yaml
        from mlflow.models import Model
        from mlflow.pyfunc import save_model

        from fused_clip.tracking.answering import CONFIG

        required = [f"{name}=={version(name)}" for name in ("mlflow", "fused_clip")]
        (empty := Path(place, NAME)).mkdir()
        draft = Path(place, "draft")
        # Not log_model: it goes to the store of the environment, and loads the model to try the example.
        # Without pip_requirements mlflow would load the model too, and import all that it can.
        save_model(
            draft,
            python_model=str(_CODE),
            model_config=CONFIG,
            artifacts={NAME: str(empty)},
            signature=_signature(),
            input_example=_example(images),
            pip_requirements=[f"{one}; python_version < '0'" for one in required],
        )
        files = {path.name: path.read_bytes() for path in draft.iterdir() if path.is_file()}
        files.pop(_FACTS)
        environment = yaml.safe_load(files["conda.yaml"])
        environment["dependencies"][-1]["pip"] = required
        files["conda.yaml"] = yaml.safe_dump(environment, default_flow_style=False).encode()
        files["requirements.txt"] = "\n".join(required).encode()
        return _Frame(files, Model.load(str(draft)).to_dict())


@contextmanager
def fetched(uri: str, tracking_uri: str | None) -> Iterator[Path]:
    """Download a model of the store for the length of a with block; no code of it is run.

    Parameters
    ----------
    uri : ``runs:/<run id>/model`` or ``models:/<name>/<version>``, as MLflow writes them.
    tracking_uri : of the store; None for ``MLFLOW_TRACKING_URI``, else ``outputs/mlflow.db``.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    from mlflow.exceptions import MlflowException

    store = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or _default_store()
    if store.startswith("sqlite"):
        store = absolute_uri(store, Path())
        check_existing(store)
    with TemporaryDirectory() as place:
        try:
            found = mlflow.artifacts.download_artifacts(
                _location(uri, store), dst_path=place, tracking_uri=store, registry_uri=store
            )
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0]
            hint = "--tracking-uri names the store"
            raise InputError("model", f"{store} does not give it ({reason})", uri, hint=hint) from error
        yield Path(found)


def _location(uri: str, store: str) -> str:
    """Where the artifacts of a model are.

    A run's is found by its outputs, since mlflow would search all models of all runs; one of the registry is
    found here, since mlflow would ask the registry of the environment.
    """
    from mlflow import MlflowClient

    client = MlflowClient(store, store)
    scheme, _, rest = uri.partition(":/")
    if scheme == "models":
        return _registered(client, uri)
    run_id, _, name = rest.strip("/").partition("/")
    logged = _logged(client, run_id) if run_id and name in ("", NAME) else None
    return uri if logged is None else str(logged.artifact_location)


def _registered(client: "MlflowClient", uri: str) -> str:
    """Where the artifacts of ``models:/<id>`` are, or of ``<name>/<version>`` or ``<name>@<alias>``."""
    from mlflow.exceptions import MlflowException

    name, _, version = uri.partition(":/")[2].strip("/").partition("/")
    if not version and "@" in name:
        name, _, alias = name.rpartition("@")
        version = str(client.get_model_version_by_alias(name, alias).version)
    elif version == "latest":
        newest = client.search_model_versions(
            f"name = '{name}'", max_results=1, order_by=["version_number DESC"]
        )
        if not newest:
            raise MlflowException(f"no version of {name} is registered")
        version = str(newest[0].version)
    if not version:
        return str(client.get_logged_model(name).artifact_location)
    return str(client.get_model_version_download_uri(name, version))


def _logged(client: "MlflowClient", run_id: str) -> "LoggedModel | None":
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return client.get_logged_model(models[-1].model_id) if models else None


def _default_store() -> str:
    database = Path("outputs/mlflow.db").absolute()
    if not database.is_file():
        rule = "must name the MLflow store of runs:/ and models:/; there is no outputs/mlflow.db here"
        raise InputError("tracking-uri", rule)
    return f"sqlite:///{database}"


def _register(client: "MlflowClient", name: str, run_id: str, logged: "LoggedModel") -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise _not_taken(name, error) from error
    # Not "models:/<id>": the store would look that up in the store of the environment.
    client.create_model_version(name, logged.artifact_location, run_id, model_id=logged.model_id)


def _not_taken(name: str, error: Exception) -> InputError:
    rule = f"the registry does not take it ({str(error).splitlines()[0]})"
    return InputError("tracking.registered_model", rule, name)


def _signature() -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

    from fused_clip.tracking.asked import Asked

    answers: dict[str, Any] = {
        "target": "string",
        "probability": "double",
        "margin": "double",
        "runner_up": "string",
        "cluster": "long",
        "abstained": "boolean",
        "set": Array(DataType.string),
        "set_size": "long",
        "guarantee": "string",
        "unknown": "boolean",
    }
    always = {"target", "cluster", "abstained"}
    kinds = {str: "string", float: "double", int: "long", bool: "boolean", type(None): "double"}
    options = {name: field.default for name, field in Asked.model_fields.items()}
    return ModelSignature(
        # Without a name: MLflow lets a named column be no list of paths, but decodes base64 of both.
        inputs=Schema([ColSpec("binary")]),
        outputs=Schema([ColSpec(kind, name, name in always) for name, kind in answers.items()]),
        params=ParamSchema([ParamSpec(name, kinds[type(value)], value) for name, value in options.items()]),
    )


def _example(images: int) -> "pd.DataFrame":
    """Small grey pictures."""
    import pandas as pd
    from PIL import Image

    encoded = BytesIO()
    Image.new("RGB", (32, 32), "grey").save(encoded, "PNG")
    return pd.DataFrame({"image": [encoded.getvalue()] * images})
