"""Deploys a SAM template: endpoint, template, name of the stack, JSON of zips by function, JSON of parameters.

Prints the outputs of the stack as JSON. The code is put into a bucket, as `sam deploy` does.
"""

import json
import sys

import boto3
import botocore.exceptions
from samtranslator.yaml_helper import yaml_parse

endpoint, path, name, zips, parameters = sys.argv[1:]
zips, parameters = json.loads(zips), json.loads(parameters)
session = boto3.session.Session("test", "test", region_name="us-east-1")
client = lambda service: session.client(service, endpoint_url=endpoint)

bucket = name + "-code"
s3 = client("s3")
s3.create_bucket(Bucket=bucket)
with open(path) as file:
    template = yaml_parse(file.read())
for logical, resource in template["Resources"].items():
    if resource["Type"] == "AWS::Serverless::Function":
        s3.upload_file(zips[logical.lower()], bucket, logical)
        resource["Properties"]["CodeUri"] = {"Bucket": bucket, "Key": logical}
        del resource["Metadata"]
s3.put_object(Bucket=bucket, Key="template", Body=json.dumps(template))

cloudformation = client("cloudformation")
cloudformation.create_stack(
    StackName=name,
    TemplateURL=f"{endpoint}/{bucket}/template",
    Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
    Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
)
try:
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
except botocore.exceptions.WaiterError as error:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in events if "FAILED" in event["ResourceStatus"]]
    reasons = [f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}" for event in failed]
    sys.exit("\n".join([str(error), *reasons]))
stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
print(json.dumps({output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}))
