#!/usr/bin/env python3
"""A stand-in of the OpenCTI platform that takes nothing which the platform of that version would refuse.

  opencti.py --version 6.8.9 --token TOKEN --amqp-port PORT [--log FILE] [--state FILE] [--fault KIND:N]...

The first line that it prints is its address. A GraphQL engine holds every query against the part of the schema that
connectors use; what came with a later version than --version is not in it. Registering declares exchanges, queues and
bindings. Every operation goes to --log, one JSON a line: {"at", "operation", "arguments", "applicant", "made",
"refused"}; `at` is the number of the request, `made` the id of what it made. SIGUSR1 writes works and connectors to
--state, and so does its end; SIGUSR2 does so after it has forgotten all connectors.

--fault KIND:N strikes at the N-th request, KIND:OPERATION:N at the N-th with that operation (registerConnector,
workAdd, workEdit.toProcessed, about, ...), counted from 1. The kinds:
  502            a gateway's page; nothing was done
  504            a gateway's page; but it was done
  429            too many requests, Retry-After: 1; 429=SECONDS for another time
  reset          the connection ends without an answer; nothing was done
  lost           the same, but it was done
  slow           done at once, answered after 20 s; slow=SECONDS for another time
  denied         FORBIDDEN_ACCESS
  refused        DATABASE_ERROR
  html           200, and a login page
  forget         every work is gone; then the request is done
  down=SECONDS   from now on for so long every connection ends without an answer
"""
import argparse
import json
import os
import signal
import socket
import ssl
import struct
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pika
from graphql import GraphQLError, build_schema, execute_sync, parse, validate
from graphql.language import FieldNode, FragmentSpreadNode, OperationDefinitionNode

# A line that ends in `# VERSION` is in the schema from that version on.
SCHEMA = """
enum ConnectorType {
  EXTERNAL_IMPORT INTERNAL_IMPORT_FILE INTERNAL_ENRICHMENT INTERNAL_ANALYSIS INTERNAL_EXPORT_FILE STREAM
}
input RegisterConnectorInput {
  id: ID!
  name: String!
  type: ConnectorType!
  scope: [String!]
  auto: Boolean
  only_contextual: Boolean
  playbook_compatible: Boolean
  auto_update: Boolean            # 6.8.9
  enrichment_resolution: String   # 6.8.9
  listen_callback_uri: String     # 6.5.7
  xtm_one_intent: String          # 7.260529
  version: String                 # 7.261008
  slug: String                    # 7.261008
}
input ConnectorInfoInput {
  run_and_terminate: Boolean!
  buffering: Boolean!
  queue_threshold: Float!
  queue_messages_size: Float!
  next_run_datetime: String
  last_run_datetime: String
}
input DraftWorkspaceAddInput { name: String! entity_id: String }
input WorkErrorInput { error: String! source: String! }
type Connection { host: String! vhost: String use_ssl: Boolean port: Int! user: String! pass: String! }
type S3 {
  endpoint: String! port: Int! use_ssl: Boolean! bucket_name: String! bucket_region: String! access_key: String!
  secret_key: String!
}
type ConnectorConfig {
  connection: Connection!
  s3: S3                          # 6.9.10
  listen: String!
  listen_routing: String!
  listen_exchange: String!
  listen_callback_uri: String     # 6.5.7
  push: String!
  push_routing: String!
  push_exchange: String!
}
type ConnectorInfo {
  run_and_terminate: Boolean! buffering: Boolean! queue_threshold: Float! queue_messages_size: Float!
  next_run_datetime: String last_run_datetime: String
}
type Connector {
  id: ID!
  name: String!
  active: Boolean
  auto: Boolean
  only_contextual: Boolean
  connector_type: String
  connector_scope: [String!]
  connector_state: String
  connector_user_id: ID
  connector_info: ConnectorInfo
  jwks: String                    # 7.260224
  config: ConnectorConfig
  built_in: Boolean
  created_at: String
  updated_at: String
}
type WorkMessage { timestamp: String message: String sequence: Int source: String }
type WorkTracking { import_expected_number: Int import_processed_number: Int }
type WorkUser { name: String! }
type Work {
  id: ID!
  name: String
  user: WorkUser
  connector: Connector
  timestamp: String!
  status: String!
  event_source_id: String
  received_time: String
  processed_time: String
  completed_time: String
  tracking: WorkTracking
  messages: [WorkMessage]
  errors: [WorkMessage]
}
type WorkEdit {
  delete: ID!
  ping: ID!
  addExpectations(expectations: Int): ID!
  reportExpectation(error: WorkErrorInput): ID!
  toReceived(message: String): ID!
  toProcessed(message: String, inError: Boolean): ID!
  addDraftContext(draftContext: String): ID!   # 6.5.1
}
type DraftWorkspace { id: ID! name: String! }
type About { version: String! }
type Capability { name: String! }
type Me { id: ID! name: String! user_email: String! capabilities: [Capability!]! }
type User { id: ID! name: String! user_email: String! }
type Query {
  about: About
  me: Me
  user(id: String!): User
  connector(id: String!): Connector
  connectors: [Connector!]
  work(id: ID!): Work
  isWorkAlive(id: ID!): Boolean   # 6.8.7
}
type Mutation {
  registerConnector(input: RegisterConnectorInput): Connector
  pingConnector(id: ID!, state: String, connectorInfo: ConnectorInfoInput): Connector
  deleteConnector(id: ID!): ID
  workAdd(connectorId: String!, friendlyName: String): Work                              # until 7.260422
  workAdd(connectorId: String!, friendlyName: String, isMultiPartWork: Boolean): Work    # 7.260422
  workEdit(id: ID!): WorkEdit
  draftWorkspaceAdd(input: DraftWorkspaceAddInput!): DraftWorkspace                      # 6.4.0
}
"""
ME = {"id": "5b7a4f0e-8f0c-4c53-9d35-0f3f8d5c6a11", "name": "airpouch", "user_email": "airpouch@example.org"}
MAX_BODY = 50 * 1024 * 1024
IMPORT = ("KNOWLEDGE_KNASKIMPORT", "KNOWLEDGE_KNGETEXPORT_KNASKEXPORT")


def numbers(version):
    return tuple(int(part) for part in (version.split(".") + ["0", "0"])[:3])


def schema_of(version):
    """The schema as that version has it."""
    kept = []
    for line in SCHEMA.splitlines():
        text, _, mark = line.partition("#")
        word, _, since = mark.strip().rpartition(" ")
        is_there = not since or (numbers(version) >= numbers(since)) != (word == "until")
        kept += [text] if is_there else []
    return build_schema("\n".join(kept))


def now():
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refusal(code, reason):
    return GraphQLError(reason, extensions={"code": code, "data": {"reason": reason}})


def forbidden():
    return refusal("FORBIDDEN_ACCESS", "You are not allowed to do this.")


def fields_of(selections, document, before=""):
    """Names of the operations in a document, in order; those on a work are `workEdit.NAME`."""
    names = []
    for node in selections.selections if selections else []:
        if isinstance(node, FragmentSpreadNode):
            parts = [d for d in document.definitions if getattr(d.name, "value", None) == node.name.value]
            names += [n for part in parts for n in fields_of(part.selection_set, document, before)]
        elif isinstance(node, FieldNode) and node.name.value == "workEdit":
            names += fields_of(node.selection_set, document, "workEdit.")
        elif isinstance(node, FieldNode):
            names.append(before + node.name.value)
        else:
            names += fields_of(node.selection_set, document, before)
    return names


class Faults:
    """What is to go wrong, and what was asked so far."""

    def __init__(self, given):
        self.waiting = [fault.split(":") for fault in given]
        self.asked = 0
        self.of_operation = {}
        self.down_until = 0.0

    def of_next(self, operations):
        """The faults that strike this request, each as its kind and number."""
        self.asked += 1
        for name in set(operations):
            self.of_operation[name] = self.of_operation.get(name, 0) + 1
        struck = [f for f in self.waiting if self.strikes(f, operations)]
        self.waiting = [f for f in self.waiting if f not in struck]
        return {f[0].partition("=")[0]: f[0].partition("=")[2] for f in struck}

    def strikes(self, fault, operations):
        if len(fault) == 2:
            return int(fault[1]) == self.asked
        return fault[1] in operations and int(fault[2]) == self.of_operation[fault[1]]


class Broker:
    """Declares what a registration declares, and says what a registration says."""

    def __init__(self, args):
        self.args = args
        self.prefix = f"{args.queue_prefix}_" if args.queue_prefix else ""

    def channel(self):
        return pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", self.args.amqp_port, self.args.vhost, pika.PlainCredentials("guest", "guest"))).channel()

    def names(self, id):
        kinds = (("listen", "amqp.connector.exchange"), ("push", "amqp.worker.exchange"))
        for kind, exchange in kinds:
            yield kind, self.prefix + exchange, f"{self.prefix}{kind}_{id}", f"{self.prefix}{kind}_routing_{id}"

    def declare(self, id, name, type, scope):
        channel = self.channel()
        arguments = {"name": name, "config": {"id": id, "type": type, "scope": scope},
                     "x-queue-type": self.args.queue_type}
        for _, exchange, queue, routing in self.names(id):
            channel.exchange_declare(exchange, "direct", durable=True)
            channel.queue_declare(queue, durable=True, arguments=arguments)
            channel.queue_bind(queue, exchange, routing)
        channel.connection.close()

    def delete(self, id):
        channel = self.channel()
        for _, _, queue, _ in self.names(id):
            channel.queue_delete(queue)
        channel.connection.close()

    def config(self, id):
        told = self.args
        config = {"connection": {"host": told.amqp_host_told, "vhost": told.vhost, "use_ssl": told.amqp_tls_told,
                                 "port": told.amqp_port_told or told.amqp_port, "user": "guest", "pass": "guest"},
                  "s3": {"endpoint": "minio", "port": 9000, "use_ssl": False, "bucket_name": "bundles",
                         "bucket_region": "us-east-1", "access_key": "access", "secret_key": "secret"}}
        for kind, exchange, queue, routing in self.names(id):
            config |= {kind: queue, f"{kind}_routing": routing, f"{kind}_exchange": exchange}
        return config


class Work:
    """A work with its two counters. Both are raised by whoever asks; nobody checks that they are true."""

    def __init__(self, id, connector, name, is_multi_part):
        self.id, self.connector_id, self.name, self.is_multi_part = id, connector, name, is_multi_part
        self.timestamp, self.status = now(), "wait"
        self.expected = self.processed = 0
        self.received_time = self.processed_time = self.completed_time = self.draft_context = None
        self.messages, self.errors = [], []

    def note(self, message, list, source=None):
        if message:
            list.append({"timestamp": now(), "message": message, "sequence": None, "source": source})

    def complete_if(self, condition):
        # At or past what is expected: nothing of nothing is complete as well.
        if condition and self.processed >= self.expected:
            self.status, self.completed_time = "complete", self.completed_time or now()

    def edit(self, name, expectations=None, error=None, message=None, inError=False, draftContext=None):
        if name == "addExpectations":
            self.expected += expectations or 0
        elif name == "reportExpectation":
            self.processed += 1
            if error and len(self.errors) < 100:
                self.note(error["error"], self.errors, error["source"])
            # A work of many parts waits until it is told that the last has come.
            self.complete_if(not self.is_multi_part or self.processed_time)
        elif name == "toReceived":
            self.status, self.received_time = "progress", now()
            self.note(message, self.messages)
        elif name == "toProcessed":
            self.processed_time = now()
            self.note(message, self.errors if inError else self.messages)
            self.complete_if(True)
        elif name == "addDraftContext":
            self.draft_context = draftContext


class Platform:
    """The root of all queries: the engine calls the method that bears the field's name."""

    def __init__(self, args):
        self.args, self.schema, self.broker = args, schema_of(args.version), Broker(args)
        self.lock, self.faults = threading.Lock(), Faults(args.fault)
        self.log = open(args.log, "a", encoding="utf-8") if args.log else None
        self.capabilities = [name.strip() for name in args.capabilities.split(",")]
        self.connectors, self.works, self.drafts, self.done = {}, {}, {}, []
        for known in json.load(open(args.existing, encoding="utf-8")) if args.existing else []:
            self.keep(known, known.get("active", True), known.get("user"))

    def needs(self, *names):
        """Refuses unless the token has one of these; who has A_B has A."""
        held = self.capabilities
        if "BYPASS" not in held and not any(h == n or h.startswith(n + "_") for h in held for n in names):
            raise forbidden()

    def did(self, operation, arguments, made=None):
        self.done.append((operation, arguments, made))

    def keep(self, given, active, user):
        id, scope = given["id"], given.get("scope") or []
        self.broker.declare(id, given["name"], given["type"], scope)
        known = self.connectors.setdefault(id, {"connector_state": None, "created_at": now(), "built_in": False})
        known |= {"id": id, "name": given["name"], "connector_type": given["type"], "connector_scope": scope,
                  "auto": given.get("auto"), "only_contextual": given.get("only_contextual"), "active": active,
                  "connector_user_id": user, "updated_at": now(), "jwks": '{"keys":[]}'}
        return known

    def told(self, known):
        """A connector as it is answered: the connection only to whom it concerns."""
        def connection(_info):
            self.needs("CONNECTORAPI")
            return self.broker.config(known["id"])["connection"]
        return None if known is None else known | {"config": self.broker.config(known["id"]) |
                                                   {"connection": connection}}

    def about(self, _info):
        self.did("about", {})
        return {"version": self.args.version}

    def me(self, _info):
        self.did("me", {})
        return ME | {"capabilities": [{"name": name} for name in self.capabilities]}

    def user(self, _info, id):
        self.needs("SETTINGS_SETACCESSES")
        self.did("user", {"id": id})
        name = dict(known.split("=", 1) for known in self.args.user).get(id)
        return None if name is None else {"id": id, "name": name, "user_email": "user@example.org"}

    def connector(self, _info, id):
        self.needs("MODULES")
        self.did("connector", {"id": id})
        return self.told(self.connectors.get(id))

    def connectors_(self, _info):
        self.needs("MODULES")
        self.did("connectors", {})
        return [self.told(known) for known in self.connectors.values()]

    def registerConnector(self, _info, input):
        self.needs("CONNECTORAPI")
        if len(input["name"]) < 2 or not input["name"].strip():
            raise refusal("BAD_USER_INPUT", "The name of a connector has two characters at least and is not blank")
        if input["id"] in self.args.refuse:
            raise refusal("FUNCTIONAL_ERROR", "This connector is not wanted here")
        if input["id"] in self.args.trips_over:
            raise refusal("DATABASE_ERROR", "mapper_parsing_exception")
        known = self.keep(input, True, ME["id"])
        self.did("registerConnector", {"input": input})
        return self.told(known)

    def pingConnector(self, _info, id, state=None, connectorInfo=None):
        self.needs("CONNECTORAPI")
        if id not in self.connectors:
            raise refusal("FUNCTIONAL_ERROR", "No connector has this id")
        self.connectors[id] |= {"connector_state": state, "connector_info": connectorInfo, "active": True}
        self.did("pingConnector", {"id": id, "state": state, "connectorInfo": connectorInfo})
        return self.told(self.connectors[id])

    def deleteConnector(self, _info, id):
        self.needs("MODULES")
        if self.connectors.pop(id, None) is None:
            raise refusal("FUNCTIONAL_ERROR", "No connector has this id")
        self.broker.delete(id)
        self.works = {key: work for key, work in self.works.items() if work.connector_id != id}
        self.did("deleteConnector", {"id": id})
        return id

    def answer_work(self, work):
        connector = self.told(self.connectors.get(work.connector_id))
        tracking = {"import_expected_number": work.expected, "import_processed_number": work.processed}
        return vars(work) | {"user": ME, "connector": connector, "tracking": tracking, "event_source_id": None}

    def workAdd(self, _info, connectorId, friendlyName=None, isMultiPartWork=None):
        self.needs(*IMPORT)
        if connectorId in self.args.no_works_for:
            raise refusal("DATABASE_ERROR", "mapper_parsing_exception")
        if connectorId not in self.connectors:
            # The platform has no word for it: it stumbles over the connector that is not there.
            raise refusal("INTERNAL_SERVER_ERROR", "The connector of the work is undefined")
        while (id := f"work_{connectorId}_{now()}") in self.works:
            time.sleep(0.001)
        work = self.works[id] = Work(id, connectorId, friendlyName, bool(isMultiPartWork))
        arguments = {"connectorId": connectorId, "friendlyName": friendlyName, "isMultiPartWork": isMultiPartWork}
        self.did("workAdd", arguments, id)
        return self.answer_work(work)

    def workEdit(self, _info, id):
        self.needs(*IMPORT)

        def edit(name):
            def resolve(_info, **arguments):
                # An edit of a work that is gone is answered as if all was well; some versions trip over it.
                if self.args.trips_over_gone_works and id not in self.works:
                    raise GraphQLError("Cannot read properties of undefined (reading '_index')")
                if name == "delete":
                    self.works.pop(id, None)
                elif id in self.works:
                    self.works[id].edit(name, **arguments)
                self.did(f"workEdit.{name}", {"id": id} | arguments)
                return id
            return resolve
        return {name: edit(name) for name in self.schema.type_map["WorkEdit"].fields}

    def work(self, _info, id):
        self.did("work", {"id": id})
        return self.answer_work(self.works[id]) if id in self.works else None

    def isWorkAlive(self, _info, id):
        self.did("isWorkAlive", {"id": id})
        return id in self.works

    def draftWorkspaceAdd(self, _info, input):
        self.needs("KNOWLEDGE")
        id = str(uuid.uuid4())
        self.drafts[id] = input["name"]
        self.did("draftWorkspaceAdd", {"input": input}, id)
        return {"id": id, "name": input["name"]}

    def root(self):
        """`connectors` is a field and also what we remember: the engine gets the field."""
        fields = list(self.schema.query_type.fields) + list(self.schema.mutation_type.fields)
        return {name: getattr(self, "connectors_" if name == "connectors" else name) for name in fields}

    def execute(self, document, variables, is_known, wrong):
        """Data and errors of one request; it is held against the schema before anyone asks who sent it."""
        self.done = []
        if not wrong:
            wrong = validate(self.schema, document)
            for error in wrong:
                error.extensions = {"code": "GRAPHQL_VALIDATION_FAILED"}
        if not wrong and not is_known:
            wrong = [refusal("AUTH_REQUIRED", "You must be logged in to do this.")]
        if wrong:
            return None, wrong
        result = execute_sync(self.schema, document, self.root(), variable_values=variables)
        for error in result.errors or []:
            if not error.extensions:
                # Without a path it is about the variables.
                error.extensions = {"code": "INTERNAL_SERVER_ERROR" if error.path else "BAD_USER_INPUT"}
        return result.data, result.errors or []

    def record(self, operations, variables, applicant, errors):
        """What was done, and what was asked but refused."""
        entries = [(name, arguments, made, None) for name, arguments, made in self.done]
        left = list(operations)
        for name, *_ in self.done:
            if name in left:
                left.remove(name)
        reason = "; ".join(f"{(e.extensions or {}).get('code')}: {e.message}" for e in errors)
        # A field below may have been refused although its operation was done: then this says so, too.
        if errors and not left:
            entries = [(name, arguments, made, reason) for name, arguments, made, _ in entries]
        entries += [(name, variables, None, reason or "not done") for name in left]
        for name, arguments, made, refused in entries if self.log else []:
            self.log.write(json.dumps({"at": self.faults.asked, "operation": name, "arguments": arguments,
                                       "applicant": applicant, "made": made, "refused": refused}) + "\n")
        if self.log:
            self.log.flush()

    def save(self):
        if not self.args.state:
            return
        works = [vars(work) for work in self.works.values()]
        state = {"works": works, "connectors": list(self.connectors.values()), "drafts": self.drafts}
        with open(self.args.state + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file)
        os.replace(self.args.state + ".new", self.args.state)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet, as a platform sends them: else each answer waits for an acknowledgement.
    wbufsize = -1

    def send(self, status, body, type="application/json; charset=utf-8", **headers):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": type, "Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def page(self, status, title):
        self.send(status, f"<html><head><title>{title}</title></head><body>{title}</body></html>\n", "text/html")

    def reset(self):
        """Ends the connection so that the other side is told, and not kept waiting."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def do_POST(self):
        platform = self.server.platform
        if time.monotonic() < platform.faults.down_until:
            with platform.lock:
                platform.done = []
                platform.record(["down"], {}, None, [])
            return self.reset()
        if self.path != platform.args.base_path + "/graphql":
            return self.page(404, "Not found")
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            return self.page(413, "Payload too large")
        try:
            if not self.headers.get("content-type", "").startswith("application/json"):
                raise ValueError("not application/json")
            ask = json.loads(self.rfile.read(length))
            query, variables = ask["query"], ask.get("variables") or {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return self.send(400, {"errors": [{"message": str(error), "extensions": {"code": "BAD_REQUEST"}}]})
        self.serve(platform, query, variables)

    def serve(self, platform, query, variables):
        document, operations, wrong = None, [], []
        try:
            document = parse(query)
            definitions = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
            operations = [n for d in definitions for n in fields_of(d.selection_set, document)]
        except GraphQLError as error:
            error.extensions = {"code": "GRAPHQL_PARSE_FAILED"}
            wrong, operations = [error], ["unreadable"]
        with platform.lock:
            faults = platform.faults.of_next(operations)
            if "forget" in faults:
                platform.works.clear()
            if "down" in faults:
                platform.faults.down_until = time.monotonic() + float(faults["down"])
            not_done = faults.keys() & {"502", "429", "reset", "denied", "refused", "html", "down"}
            platform.done, data, errors = [], None, [forbidden()] if "denied" in faults else []
            if "refused" in faults:
                errors = [refusal("DATABASE_ERROR", "Database engine internal error")]
            if not not_done:
                is_known = self.headers.get("authorization") == f"Bearer {platform.args.token}"
                data, errors = platform.execute(document, variables, is_known, wrong)
            applicant = self.headers.get("opencti-applicant-id")
            said = errors or [refusal("FAULT", kind) for kind in sorted(not_done)]
            platform.record(operations, variables, applicant, said)
        self.answer(faults, data, errors)

    def answer(self, faults, data, errors):
        if "slow" in faults:
            time.sleep(float(faults["slow"] or 20))
        if faults.keys() & {"reset", "lost", "down"}:
            return self.reset()
        if "429" in faults:
            return self.send(429, {"message": "Too many requests"}, Retry_After=faults["429"] or 1)
        for status, title in ((502, "502 Bad Gateway"), (504, "504 Gateway Time-out")):
            if str(status) in faults:
                return self.page(status, title)
        if "html" in faults:
            return self.page(200, "Log in")
        # Errors come with 200, as the platform sends them.
        reply = {"data": data} | ({"errors": [e.formatted for e in errors]} if errors else {})
        self.send(200, reply)

    def other(self):
        """Only POST is spoken at this address."""
        platform = self.server.platform
        self.close_connection = True
        if time.monotonic() < platform.faults.down_until:
            return self.reset()
        if self.path.partition("?")[0] == platform.args.base_path + "/graphql":
            return self.page(405, "Method not allowed")
        self.page(404, "Not found")

    do_GET = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = other

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that hangs up, or that we hung up on, is what the tests are about."""


def settings():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--version", default="7.261026.0")
    parser.add_argument("--token", default="a-token-of-the-tests")
    parser.add_argument("--capabilities", default="CONNECTORAPI,MODULES,KNOWLEDGE,KNOWLEDGE_KNASKIMPORT,"
                                                  "KNOWLEDGE_KNGETEXPORT_KNASKEXPORT")
    parser.add_argument("--base-path", default="")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--existing", help="connectors that are there beforehand, as JSON")
    parser.add_argument("--user", action="append", default=[], metavar="ID=NAME", help="a user beside that of the token")
    parser.add_argument("--refuse", action="append", default=[], metavar="ID", help="a connector that is not registered")
    parser.add_argument("--trips-over", action="append", default=[], metavar="ID",
                        help="a connector over which it fails when it is registered")
    parser.add_argument("--no-works-for", action="append", default=[], metavar="ID",
                        help="a connector for which it fails when a work is opened")
    parser.add_argument("--log")
    parser.add_argument("--state")
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--trips-over-gone-works", action="store_true")
    parser.add_argument("--amqp-port", type=int, default=int(os.environ.get("AIRPOUCH_TEST_AMQP_PORT", 5672)))
    parser.add_argument("--vhost", default="/")
    parser.add_argument("--queue-type", choices=("classic", "quorum"), default="classic")
    parser.add_argument("--queue-prefix", default="")
    parser.add_argument("--amqp-host-told", default="127.0.0.1", help="the host that a registration tells")
    parser.add_argument("--amqp-port-told", type=int, help="the port that it tells, if it is another")
    parser.add_argument("--amqp-tls-told", action="store_true", help="it tells to use TLS")
    return parser.parse_args()


def main():
    args = settings()
    platform, server = Platform(args), Server(("127.0.0.1", args.port), Handler)
    server.platform = platform
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)
        # Shaking hands in the thread of the connection, so that a silent client stops nobody else.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    asked = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{'https' if args.tls else 'http'}://127.0.0.1:{server.server_port}", flush=True)
    while True:
        got = signal.sigwait(asked)
        with platform.lock:
            if got == signal.SIGUSR2:
                platform.connectors.clear()
            platform.save()
        if got not in (signal.SIGUSR1, signal.SIGUSR2):
            return


if __name__ == "__main__":
    main()
