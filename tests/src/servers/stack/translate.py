"""Translates SAM templates to plain CloudFormation: JSON of parameters; templates as a JSON array on a file.

Parameters and conditions are put in, so that what is left names resources only. Prints a JSON array.
"""

import json
import os
import sys

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

parameters, path = sys.argv[1:]
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
NOTHING = object()


def translate(text):
    template = yaml_parse(text)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "code"}
    session = boto3.session.Session("test", "test", region_name="us-east-1")
    plain = Translator({}, Parser(), boto_session=session).translate(template, {})
    values = {name: parameter.get("Default", "") for name, parameter in plain["Parameters"].items()}
    values.update(json.loads(parameters))
    conditions = plain.get("Conditions", {})

    def resolve(node):
        if isinstance(node, list):
            return [item for item in map(resolve, node) if item is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, args), = node.items()
            if name == "Ref" and args == "AWS::NoValue":
                return NOTHING
            if name == "Ref" and args in values:
                return values[args]
            if name == "Fn::If":
                return resolve(args[1] if resolve(conditions[args[0]]) else args[2])
            if name == "Fn::Equals":
                return str(resolve(args[0])) == str(resolve(args[1]))
            if name == "Fn::Not":
                return not resolve(args[0])
            if name == "Fn::Sub" and isinstance(args, str):
                for parameter, value in values.items():
                    args = args.replace("${" + parameter + "}", str(value))
                return {"Fn::Sub": args}
        resolved = {key: resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not NOTHING}

    return {
        "Parameters": plain["Parameters"],
        "Resources": resolve(plain["Resources"]),
        "Outputs": resolve(plain["Outputs"]),
    }


with open(path) as file:
    print(json.dumps([translate(text) for text in json.load(file)]))
