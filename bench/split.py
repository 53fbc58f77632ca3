"""pycti's splitter, timed: paths of envelopes come in, an empty line, and then an empty line for each round.

Each round is answered by seconds and the number of parts. Only splitting is timed: the text of a bundle to the texts of
its parts. Envelopes that are none, or on which pycti raises, are left out.
"""
import json
import sys
import time

from pycti.utils.opencti_stix2_splitter import OpenCTIStix2Splitter

bundles = []
for line in sys.stdin:
    if not line.strip():
        break
    try:
        with open(line.rstrip("\n"), encoding="utf-8") as file:
            bundles.append(json.dumps(json.load(file)["bundle"]))
    except (ValueError, KeyError, TypeError):
        continue
for _ in sys.stdin:
    parts, began = 0, time.perf_counter()
    for bundle in bundles:
        parts += len(OpenCTIStix2Splitter().split_bundle_with_expectations(bundle)[2])
    print(time.perf_counter() - began, parts, flush=True)
