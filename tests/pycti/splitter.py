"""pycti's own splitter as a process: one bundle a line comes in, one line goes out.

The answer is {"parts": [text, ...], "incompatible": number}, or {"raises": "..."} where pycti raises.
"""
import json
import sys

from pycti.utils.opencti_stix2_splitter import OpenCTIStix2Splitter

sys.setrecursionlimit(10_000)
for line in sys.stdin:
    try:
        # The bundle's text comes as a JSON string, so that it may hold line ends.
        _, incompatible, parts = OpenCTIStix2Splitter().split_bundle_with_expectations(json.loads(line))
        answer = {"parts": parts, "incompatible": len(incompatible)}
    except Exception as e:  # whatever it is, the stock connector would die of it
        answer = {"raises": ascii(e)}
    print(json.dumps(answer), flush=True)
