"""Software bill of materials of this environment: ``python -m experiments.release.sbom build/sbom.json``.

cyclonedx-py lists the installed packages as CycloneDX. The list gets the version of `fused_clip`, is checked
against the schema, and must have each installed direct dependency. Links to the packages' pages are left out:
checking them would take longer than everything else.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from experiments.release import ROOT
from experiments.release.dependencies import direct, installed
from fused_clip.support.errors import InputError
from fused_clip.support.versions import own_version


def missing_components(sbom: dict[str, Any], expected: dict[str, str]) -> list[str]:
    """Name each package that a list of components lacks, or has in another version.

    Parameters
    ----------
    sbom : CycloneDX, as parsed from JSON.
    expected : version of each package.
    """
    listed = {canonicalize_name(one["name"]): one.get("version") for one in sbom.get("components", [])}
    return [f"{name} {version}" for name, version in sorted(expected.items()) if listed.get(name) != version]


def check_schema(text: str, edition: str) -> None:
    """Check a list of components against the schema of CycloneDX.

    Parameters
    ----------
    text : JSON.
    edition : of CycloneDX, such as ``1.6``.

    Raises
    ------
    InputError
        If the list breaks the schema.
    """
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = JsonStrictValidator(SchemaVersion.from_version(edition)).validate_str(text)
    if found is not None:
        raise InputError("sbom", f"must follow the schema of CycloneDX {edition}", str(found))


def _listed(root: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "cyclonedx_py", "environment", sys.executable, "--no-validate"]
    command += ["--pyproject", str(root / "pyproject.toml"), "--mc-type", "library", "--output-reproducible"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    sbom: dict[str, Any] = json.loads(done.stdout)
    sbom["metadata"]["component"]["version"] = own_version()
    for one in (sbom["metadata"]["component"], *sbom["metadata"]["tools"]["components"], *sbom["components"]):
        one.pop("externalReferences", None)
    return sbom


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line; return the exit code: 1 if the list is invalid or incomplete.

    Parameters
    ----------
    arguments : words of the command line; None takes those of the process.
    root : folder of the repository.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.release.sbom", description=__doc__)
    parser.add_argument("out", type=Path, help="file to write, JSON")
    out = parser.parse_args(arguments).out
    try:
        sbom = _listed(root)
        if missing := missing_components(sbom, installed(direct(root / "pyproject.toml"))):
            raise InputError("sbom", "must have every installed dependency of pyproject.toml; lacks", missing)
        text = json.dumps(sbom, indent=2, ensure_ascii=False) + "\n"
        check_schema(text, sbom["specVersion"])
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    print(f"{out}: CycloneDX {sbom['specVersion']}, {len(sbom['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
