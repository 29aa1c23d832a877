"""Starts ministack: port, whether policies are enforced, and a file that says by how many
milliseconds its clock is ahead.

It counts what it is asked, by operation: GET /_asked says how many requests there were, how many bytes they
had, and how many write and read units of DynamoDB they would cost.

It fails when it is told to: POST /_fail {"operation", "kind", "times"} makes the next requests of an operation
fail, so many times; none ends all that. Kinds: "throttled" (nothing is done), "lost" (it is done, and the answer is not that),
"partial" (the first half of a batch is done, the rest is named as left undone), "refused" (as partial, and the
rest is the sender's fault).
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
time.time = lambda: real() + struct.unpack("<d", ahead[:8])[0] / 1000
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
from ministack.core import sigv4
from ministack.services import sqs

# Who calls has the machine's clock, whatever time it is here.
sigv4.request_time_failure = lambda signature, now=None: None

# It drops what a batch's messages say to the system, such as their trace, and takes it from single ones.
system, send_one, send_batch = {}, sqs._act_send_message, sqs._act_send_message_batch


def send_one_of_batch(data, url):
    said = system.get((data.get("MessageGroupId"), data.get("MessageDeduplicationId")))
    return send_one({**data, "MessageSystemAttributes": data.get("MessageSystemAttributes") or said}, url)


def send_batch_whole(data, url):
    key = lambda one: (one.get("MessageGroupId"), one.get("MessageDeduplicationId"))
    system.update({key(one): one.get("MessageSystemAttributes") for one in data.get("Entries", [])})
    try:
        return send_batch(data, url)
    finally:
        system.clear()


sqs._act_send_message = send_one_of_batch
for table in (one for one in vars(sqs).values() if isinstance(one, dict) and "SendMessageBatch" in one):
    table.update(SendMessage=send_one_of_batch, SendMessageBatch=send_batch_whole)

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


faults = []


def fault(target):
    """What is to go wrong with a request of this operation."""
    for one in faults:
        if one["operation"] == target and one["times"] > 0:
            one["times"] -= 1
            return one["kind"]
    return None


def halve(target, body):
    """The first half of a batch, and what says that the rest is left."""
    table = next(iter(body.get("RequestItems", {})), None)
    if target.endswith(".BatchWriteItem"):
        items = body["RequestItems"][table]
        half = len(items) // 2
        return {**body, "RequestItems": {table: items[:half]}}, {"UnprocessedItems": {table: items[half:]}}, half
    if target.endswith(".BatchGetItem"):
        asked = body["RequestItems"][table]
        half = len(asked["Keys"]) // 2
        part = lambda keys: {table: {**asked, "Keys": keys}}
        keys = asked["Keys"]
        return {**body, "RequestItems": part(keys[:half])}, {"UnprocessedKeys": part(keys[half:])}, half
    entries = body["Entries"]
    half = len(entries) // 2
    left = [{"Id": one["Id"], "SenderFault": False, "Code": "InternalError"} for one in entries[half:]]
    return {**body, "Entries": entries[:half]}, {"Failed": left}, half


async def body_of(receive):
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def ask(scope, body, receive):
    """What the emulator answers to this body."""
    bodies = [{"type": "http.request", "body": body, "more_body": False}]
    length = (b"content-length", str(len(body)).encode())
    headers = [header for header in scope["headers"] if header[0] != b"content-length"]
    given = []

    async def take():
        return bodies.pop() if bodies else await receive()

    async def give(message):
        given.append(message)

    await serve({**scope, "headers": headers + [length]}, take, give)
    return given[0]["status"], given[0]["headers"], b"".join(one.get("body", b"") for one in given[1:])


async def say(send, status, headers, body):
    headers = [one for one in headers if one[0].lower() not in (b"content-length", b"x-amz-crc32")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def go_wrong(kind, target, scope, body, receive):
    """What is answered instead."""
    json_type = [(b"content-type", b"application/x-amz-json-1.0")]
    if kind == "throttled":
        name = "com.amazonaws.sqs#RequestThrottled"
        if target.startswith("DynamoDB"):
            name = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
        return 400, json_type, json.dumps({"__type": name, "message": "as told"}).encode()
    if kind == "lost":
        await ask(scope, body, receive)
        return 500, json_type, b'{"__type": "InternalServerError", "message": "as told"}'
    first, left, half = halve(target, json.loads(body))
    if kind == "refused":
        for one in left["Failed"]:
            one.update(SenderFault=True, Code="InvalidParameterValue")
    if half == 0:
        empty = {"Responses": {}} if "UnprocessedKeys" in left else {}
        return 200, json_type, json.dumps({"Successful": [], **empty, **left}).encode()
    status, headers, answer = await ask(scope, json.dumps(first).encode(), receive)
    return status, headers, json.dumps({**json.loads(answer), **left}).encode()


async def counted(scope, receive, send):
    if scope["type"] != "http":
        return await serve(scope, receive, send)
    if scope["path"] == "/_asked":
        return await say(send, 200, [], json.dumps(asked).encode())
    if scope["path"] == "/_fail":
        wish = json.loads(await body_of(receive))
        faults.append(wish) if wish["times"] else faults.clear()
        return await say(send, 200, [], b"{}")
    target = dict(scope["headers"]).get(b"x-amz-target", b"").decode()
    if not target.startswith(("AmazonSQS.", "DynamoDB")):
        return await serve(scope, receive, send)
    body = await body_of(receive)
    kind = fault(target)
    if kind:
        status, headers, answer = await go_wrong(kind, target, scope, body, receive)
    else:
        status, headers, answer = await ask(scope, body, receive)
    await say(send, status, headers, answer)
    one = asked.setdefault(target, {"requests": 0, "bytes": 0, "chunks": 0, "write": 0, "read": 0})
    one["requests"] += 1
    one["bytes"] += len(body)
    one["chunks"] += max(1, math.ceil(len(body) / 65536))
    if target.startswith("DynamoDB"):
        try:
            write, read = units(target, json.loads(body), json.loads(answer or b"{}"))
        except (KeyError, ValueError):
            write, read = 0, 0
        one["write"] += write
        one["read"] += read


ministack.app.app = counted
ministack.app.main()
