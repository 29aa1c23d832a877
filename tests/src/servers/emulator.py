"""Starts ministack: port, whether policies are enforced, and a file that says how far its clock is ahead.

It counts what it is asked, by operation: GET /_asked says how many requests there were, how many bytes they
had, and how many write and read units of DynamoDB they would cost.
"""

import json
import math
import mmap
import os
import struct
import sys
import time

port, auth, clock = sys.argv[1:]
ahead = mmap.mmap(os.open(clock, os.O_RDWR), 8)
real = time.time
time.time = lambda: real() + struct.unpack("<d", ahead[:8])[0]
os.environ.update(
    GATEWAY_PORT=port,
    BIND_HOST="127.0.0.1",
    MINISTACK_HOST="127.0.0.1",
    AWS_ENDPOINT_URL="http://127.0.0.1:" + port,
    AUTH=auth,
    LOG_LEVEL="WARNING",
)
sys.argv = ["ministack"]
import ministack.app

asked = {}
serve = ministack.app.app


def size(item):
    """The bytes of an item, about as DynamoDB counts them: names, texts, bytes, numbers."""
    total = 0
    for name, (value,) in ((name, value.values()) for name, value in item.items()):
        total += len(name) + (len(value) * 3 // 4 if "B" in item[name] else len(str(value)))
    return total


def units(operation, body, answer):
    """The write and read units of a request (https://aws.amazon.com/dynamodb/pricing/on-demand/)."""
    write = lambda item: max(1, math.ceil(size(item) / 1024))
    read = lambda items: max(1, math.ceil(sum(map(size, items)) / 4096))
    if operation.endswith(".PutItem"):
        return write(body["Item"]), 0
    if operation.endswith(".BatchWriteItem"):
        puts = [put for table in body["RequestItems"].values() for put in table]
        return sum(write(put["PutRequest"]["Item"]) for put in puts), 0
    if operation.endswith(".TransactWriteItems"):
        puts = [one["Put"]["Item"] if "Put" in one else {} for one in body["TransactItems"]]
        return sum(2 * write(item) for item in puts), 0
    if operation.endswith(".UpdateItem"):
        return 1, 0
    if operation.endswith(".BatchGetItem"):
        keys = sum(len(table["Keys"]) for table in body["RequestItems"].values())
        return 0, keys / 2
    half = 1 if body.get("ConsistentRead") else 0.5
    if operation.endswith(".Query"):
        return 0, half * read(answer.get("Items", []))
    if operation.endswith(".GetItem"):
        return 0, half * read([answer.get("Item", {})])
    return 0, 0


async def counted(scope, receive, send):
    if scope["type"] != "http":
        return await serve(scope, receive, send)
    if scope["path"] == "/_asked":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": json.dumps(asked).encode()})
    target = dict(scope["headers"]).get(b"x-amz-target", b"").decode()
    if not target.startswith(("AmazonSQS.", "DynamoDB")):
        return await serve(scope, receive, send)
    taken, given = [], []

    async def take():
        message = await receive()
        taken.append(message.get("body", b""))
        return message

    async def give(message):
        given.append(message.get("body", b""))
        await send(message)

    await serve(scope, take, give)
    one = asked.setdefault(target, {"requests": 0, "bytes": 0, "chunks": 0, "write": 0, "read": 0})
    body = b"".join(taken)
    one["requests"] += 1
    one["bytes"] += len(body)
    one["chunks"] += max(1, math.ceil(len(body) / 65536))
    if target.startswith("DynamoDB"):
        try:
            write, read = units(target, json.loads(body), json.loads(b"".join(given) or b"{}"))
        except (KeyError, ValueError):
            write, read = 0, 0
        one["write"] += write
        one["read"] += read


ministack.app.app = counted
ministack.app.main()
