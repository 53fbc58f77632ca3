#!/usr/bin/env python3
"""Does with envelope files what the stock diode-import connector does, by pycti's own code.

  stock.py ENVELOPE... --url URL --token TOKEN [--applicants FROM:TO,FROM:TO]

Each file's connector is registered once; each file gets a work; its bundle is sent, and the work is told to be
processed. Prints one JSON a file: {"envelope", "work", "messages"}. The name of a work bears the file's time in the
local zone: run it with TZ=UTC.
"""
import argparse
import json
import logging
import os
import time
from unittest import mock

from pycti import OpenCTIApiClient, OpenCTIConnector, OpenCTIConnectorHelper


class Importer:
    def __init__(self, url, token, applicants):
        # Without a check of the platform's certificate, as the client does by default.
        self.api = OpenCTIApiClient(url, token, log_level="error", perform_health_check=False)
        self.applicants = applicants
        self.registered = {}

    def register(self, connector):
        id = connector["id"]
        if id not in self.registered:
            self.registered[id] = self.api.connector.register(OpenCTIConnector(
                connector_id=id, connector_name=connector["name"], connector_type=connector["type"],
                scope=connector["scope"], auto=connector["auto"], only_contextual=False, playbook_compatible=False,
                auto_update=False, enrichment_resolution="none"))
        return self.registered[id]

    def helper(self, envelope):
        """The client's helper for this file. Made without its constructor, which would register a connector of its
        own, start threads and read the settings of a container."""
        connector = envelope["connector"]
        helper = OpenCTIConnectorHelper.__new__(OpenCTIConnectorHelper)
        facts = {
            "api": self.api, "metric": mock.MagicMock(), "connector_info": mock.MagicMock(),
            "connector_logger": logging.getLogger("stock"), "config": {}, "queue_protocol": "amqp",
            "connector_config": self.register(connector)["config"],
            "connect_id": connector["id"], "connect_name": connector["name"], "connect_type": connector["type"],
            "connect_scope": connector["scope"], "connect_auto": connector["auto"],
            "connect_validate_before_import": connector["validate_before_import"],
            "applicant_id": self.applicants.get(envelope["applicant_id"]),
            "validation_mode": "draft", "force_validation": False,
            "work_id": None, "draft_id": None, "playbook": None, "enrichment_shared_organizations": None,
            "bundle_send_to_queue": True, "bundle_send_to_directory": False, "bundle_send_to_directory_path": None,
            "bundle_send_to_directory_retention": 0, "bundle_send_to_s3": False, "bundle_send_to_s3_bucket": None,
        }
        vars(helper).update(facts)
        return helper

    def take(self, path):
        with open(path, encoding="utf-8") as file:
            envelope = json.load(file)
        helper, connector = self.helper(envelope), envelope["connector"]
        name = f"{connector['name']} run @ {time.ctime(os.path.getmtime(path))}"
        work = self.api.work.initiate_work(connector["id"], name)
        sent = helper.send_stix2_bundle(json.dumps(envelope["bundle"]), update=envelope["update"], work_id=work)
        self.api.work.to_processed(work, "Connector successfully run")
        return {"envelope": path, "work": work, "messages": len(sent)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("envelopes", nargs="+", metavar="ENVELOPE")
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--applicants", default="", metavar="FROM:TO,…")
    args = parser.parse_args()
    pairs = [pair.split(":") for pair in args.applicants.split(",") if pair.strip()]
    importer = Importer(args.url, args.token, {source.strip(): target.strip() for source, target in pairs})
    for path in args.envelopes:
        print(json.dumps(importer.take(path)), flush=True)


if __name__ == "__main__":
    main()
