"""Tells what there is at an endpoint, as JSON."""

import json
import sys

import boto3

session = boto3.session.Session("test", "test", region_name="us-east-1")
client = lambda service: session.client(service, endpoint_url=sys.argv[1])
sqs, dynamodb, functions, scheduler = map(client, ["sqs", "dynamodb", "lambda", "scheduler"])
last = lambda arn: arn.split(":")[-1]

queues = {}
for url in sqs.list_queues()["QueueUrls"]:
    names = ["FifoQueue", "FifoThroughputLimit", "DeduplicationScope", "SqsManagedSseEnabled"]
    names += ["VisibilityTimeout", "RedrivePolicy"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    if "RedrivePolicy" in attributes:
        attributes["RedrivePolicy"] = json.loads(attributes["RedrivePolicy"])
    queues[url.split("/")[-1]] = attributes

tables = {}
for name in dynamodb.list_tables()["TableNames"]:
    table = dynamodb.describe_table(TableName=name)["Table"]
    keys = {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]}
    tables[name] = [keys, table["BillingModeSummary"]["BillingMode"], table["DeletionProtectionEnabled"]]

mappings = [
    [
        last(mapping["EventSourceArn"]),
        last(mapping["FunctionArn"]),
        mapping["BatchSize"],
        mapping["ScalingConfig"]["MaximumConcurrency"],
        mapping["FunctionResponseTypes"],
        mapping["State"],
    ]
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]
]

schedules = []
for summary in scheduler.list_schedules()["Schedules"]:
    schedule = scheduler.get_schedule(Name=summary["Name"])
    target = schedule["Target"]
    schedules.append([
        last(target["Arn"]),
        schedule["ScheduleExpression"],
        target["Input"],
        target["RetryPolicy"]["MaximumRetryAttempts"],
        last(target["DeadLetterConfig"]["Arn"]),
    ])

groups = client("logs").describe_log_groups()["logGroups"]
stack = client("cloudformation").describe_stacks()["Stacks"][0]
print(json.dumps({
    "stack": stack["StackStatus"],
    "queues": queues,
    "tables": tables,
    "mappings": sorted(mappings),
    "schedules": sorted(schedules),
    "logs": {group["logGroupName"]: group["retentionInDays"] for group in groups},
    "alarms": len(client("cloudwatch").describe_alarms()["MetricAlarms"]),
    "url": functions.get_function_url_config(FunctionName="foldback-ingest")["FunctionUrl"],
}))
