#!/usr/bin/env python3
"""Looks into the queues of the tests' broker.

  queues.py [--port PORT] [--vhost VHOST] VERB ...

  count QUEUE...    one line a queue: how many messages wait in it, or null if there is no such queue
  take QUEUE        all its messages, one JSON a line, out of the queue
  peek QUEUE        the same, but they stay
  delete QUEUE...   deletes them
  declare QUEUE     makes it, durable; --exchange E --routing-key K binds it to a direct one (or to one of --kind),
                    --argument NAME=JSON is for x-max-length and the like
  unbind QUEUE      --exchange E --routing-key K
"""
import argparse
import base64
import json
import os

import pika


def open_channel(args):
    return pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", args.port, args.vhost, pika.PlainCredentials("guest", "guest"))).channel()


def count(channel, queue):
    """How many wait, or None; asking for a queue that is not there closes the channel, so each has its own."""
    own = channel.connection.channel()
    try:
        return own.queue_declare(queue, passive=True).method.message_count
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        return None


def message(method, properties, body):
    try:
        text = {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        text = {"base64": base64.b64encode(body).decode("ascii")}
    return text | {
        "message_id": properties.message_id, "delivery_mode": properties.delivery_mode,
        "content_encoding": properties.content_encoding, "content_type": properties.content_type,
        "headers": properties.headers, "exchange": method.exchange, "routing_key": method.routing_key,
        "redelivered": method.redelivered,
    }


def messages(channel, queue):
    """Every message, each held back until all were seen; the last tag, with which all can be settled."""
    last = 0
    while True:
        method, properties, body = channel.basic_get(queue)
        if method is None:
            return last
        last = method.delivery_tag
        print(json.dumps(message(method, properties, body), default=str))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=int(os.environ.get("AIRPOUCH_TEST_AMQP_PORT", 5672)))
    parser.add_argument("--vhost", default="/")
    parser.add_argument("verb", choices=("count", "take", "peek", "delete", "declare", "unbind"))
    parser.add_argument("queues", nargs="+", metavar="QUEUE")
    parser.add_argument("--exchange")
    parser.add_argument("--kind", default="direct")
    parser.add_argument("--routing-key", default="")
    parser.add_argument("--argument", action="append", default=[], metavar="NAME=JSON")
    args = parser.parse_args()
    channel = open_channel(args)
    for queue in args.queues:
        if args.verb == "count":
            print(json.dumps(count(channel, queue)))
        elif args.verb == "delete":
            channel.queue_delete(queue)
        elif args.verb == "unbind":
            channel.queue_unbind(queue, args.exchange, args.routing_key)
        elif args.verb == "declare":
            given = dict(argument.split("=", 1) for argument in args.argument)
            channel.queue_declare(queue, durable=True, arguments={n: json.loads(v) for n, v in given.items()})
            if args.exchange:
                channel.exchange_declare(args.exchange, args.kind, durable=args.kind == "direct")
                channel.queue_bind(queue, args.exchange, args.routing_key)
        else:
            last = messages(channel, queue)
            if last and args.verb == "take":
                channel.basic_ack(last, multiple=True)
    channel.connection.close()


if __name__ == "__main__":
    main()
