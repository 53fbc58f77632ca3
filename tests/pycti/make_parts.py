"""Writes, beside each fixtures/split/*.json, what pycti makes of it: *.parts, one split bundle a line.

A bundle on which pycti raises is called raises-*, one that ours refuses where pycti does not ours-*; these have no parts.
Run by hand after a change: AIRPOUCH_PYCTI's Python, from the root of the project.
"""
import pathlib
import sys

from pycti.utils.opencti_stix2_splitter import OpenCTIStix2Splitter

for path in sorted(pathlib.Path("fixtures/split").glob("*.json")):
    try:
        _, _, parts = OpenCTIStix2Splitter().split_bundle_with_expectations(path.read_text(encoding="utf-8"))
    except Exception as e:
        if not path.name.startswith("raises-"):
            sys.exit(f"{path}: pycti raises {type(e).__name__}: {e}")
        continue
    if path.name.startswith("raises-"):
        sys.exit(f"{path}: pycti does not raise")
    if not path.name.startswith("ours-"):
        path.with_suffix(".parts").write_text("".join(part + "\n" for part in parts), encoding="ascii")
