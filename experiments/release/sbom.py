"""Software bill of materials of this environment: ``python -m experiments.release.sbom build/sbom.json``.

cyclonedx-py writes it as CycloneDX and checks it against the schema. Each installed direct dependency must be
in it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from experiments.docs import ROOT
from experiments.release.dependencies import direct, installed
from fused_clip.support.errors import InputError


def missing_components(sbom: dict[str, Any], expected: dict[str, str]) -> list[str]:
    """Name each package that a list of components lacks, or has in another version.

    Parameters
    ----------
    sbom : CycloneDX, as parsed from JSON.
    expected : version of each package.
    """
    listed = {canonicalize_name(one["name"]): one.get("version") for one in sbom.get("components", [])}
    return [f"{name} {version}" for name, version in sorted(expected.items()) if listed.get(name) != version]


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
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", sys.executable, "--validate"]
    command += [
        "--pyproject",
        str(root / "pyproject.toml"),
        "--output-reproducible",
        "--output-file",
        str(out),
    ]
    subprocess.run(command, check=True)  # noqa: S603
    sbom = json.loads(out.read_text(encoding="utf-8"))
    if missing := missing_components(sbom, installed(direct(root / "pyproject.toml"))):
        print(f"Error: {InputError('sbom', 'lacks installed dependencies', missing)}", file=sys.stderr)
        return 1
    print(f"{out}: CycloneDX {sbom['specVersion']}, {len(sbom['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
