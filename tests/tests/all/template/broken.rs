//! Each check finds the template that breaks it.

use super::{CHECKS, everything_on, source};

/// The check that must complain; what is replaced, the first time that it stands there; with what.
const BREAKS: [(&str, &str, &str); 63] = [
    (
        "console",
        "FunctionUrlConfig: { AuthType: !Ref ConsoleAuth }",
        "FunctionUrlConfig: { AuthType: NONE }",
    ),
    (
        "console",
        "Action: [dynamodb:Query, dynamodb:GetItem]",
        "Action: [dynamodb:Query, dynamodb:DeleteItem]",
    ),
    (
        "console",
        "FOLDBACK_CONSOLE_ACT: !Ref ConsoleActs",
        "FOLDBACK_CONSOLE_ACT: \"false\"",
    ),
    ("functions", "provided.al2023", "provided.al2"),
    ("functions", "Default: arm64", "Default: x86_64"),
    (
        "functions",
        "FOLDBACK_STACK: !Ref AWS::StackName",
        "FOLDBACK_STACK: foldback",
    ),
    (
        "functions",
        "_DLQ_URL: !Ref ActionsDlq",
        "_DLQ_URL: !Ref Actions",
    ),
    ("functions", "NoEcho: true", "NoEcho: false"),
    (
        "roles of their own",
        "Role: !GetAtt ProcessRole.Arn",
        "Role: !GetAtt IngestRole.Arn",
    ),
    (
        "roles of their own",
        "      AssumeRolePolicyDocument: *lambda\n",
        "      AssumeRolePolicyDocument: *lambda\n      ManagedPolicyArns: [arn:aws:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole]\n",
    ),
    (
        "roles of their own",
        "aws:SourceAccount",
        "aws:PrincipalAccount",
    ),
    ("no wildcards", "Action: sqs:SendMessage", "Action: sqs:*"),
    (
        "no wildcards",
        "Resource: !GetAtt Actions.Arn",
        "Resource: \"*\"",
    ),
    (
        "no wildcards",
        "secret:${WebhookSecretsPrefix}*",
        "secret:*",
    ),
    (
        "no wildcards",
        "xray:PutTelemetryRecords",
        "xray:GetTraceSummaries",
    ),
    (
        "no wildcards",
        "Action: sqs:SendMessage",
        "NotAction: sqs:SendMessage",
    ),
    (
        "append-only journal",
        "Action: [dynamodb:PutItem, ",
        "Action: [dynamodb:PutItem, dynamodb:DeleteItem, ",
    ),
    (
        "append-only journal",
        "dynamodb:Query\n                Resource: !GetAtt State.Arn\n                Condition",
        "dynamodb:UpdateItem\n                Resource: !GetAtt Journal.Arn\n                Condition",
    ),
    (
        "append-only journal",
        "[dynamodb:Query, dynamodb:BatchGetItem, dynamodb:PutItem, ",
        "[dynamodb:Query, dynamodb:BatchGetItem, dynamodb:PutItem, dynamodb:UpdateItem, ",
    ),
    ("state", "[\"lock#*\"]", "[\"*\"]"),
    ("state", "[\"run#*\"]", "[\"*\"]"),
    (
        "state",
        "LeadingKeys\": [tally]",
        "LeadingKeys\": [settings]",
    ),
    (
        "state",
        "Condition: { \"ForAllValues:StringLike\": { \"dynamodb:LeadingKeys\": [settings] } }",
        "",
    ),
    ("state", "              - *locks\n", ""),
    (
        "copies",
        "[dynamodb:Query, dynamodb:BatchGetItem, dynamodb:PutItem, dynamodb:BatchWriteItem]",
        "dynamodb:Query",
    ),
    (
        "copies",
        "                  - sqs:ChangeMessageVisibility\n                  - sqs:SendMessage\n",
        "                  - sqs:ChangeMessageVisibility\n",
    ),
    (
        "copies",
        "[sqs:SendMessage, sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes]\n                Resource: !GetAtt Replays.Arn",
        "sqs:SendMessage\n                Resource: !GetAtt Actions.Arn",
    ),
    (
        "mappings",
        "            FunctionResponseTypes: [ReportBatchItemFailures]\n",
        "",
    ),
    (
        "mappings",
        "            ScalingConfig: { MaximumConcurrency: !Ref MaximumConcurrency }\n",
        "",
    ),
    ("mappings", "BatchSize: 10", "BatchSize: 100"),
    (
        "visibility",
        "VisibilityTimeout: 360",
        "VisibilityTimeout: 359",
    ),
    ("visibility", "Timeout: 300\n", "Timeout: 301\n"),
    ("fifo", "perMessageGroupId", "perQueue"),
    (
        "fifo",
        "DeduplicationScope: messageGroup",
        "DeduplicationScope: queue",
    ),
    ("fifo", "actions.fifo\"\n", "actions\"\n"),
    (
        "queues",
        "SqsManagedSseEnabled: true",
        "SqsManagedSseEnabled: false",
    ),
    (
        "queues",
        "maxReceiveCount: !Ref ReceivesMax",
        "maxReceiveCount: 1",
    ),
    (
        "queues",
        "deadLetterTargetArn: !GetAtt ReplaysDlq.Arn",
        "deadLetterTargetArn: !GetAtt ActionsDlq.Arn",
    ),
    (
        "dead letters",
        "redrivePermission: byQueue",
        "redrivePermission: allowAll",
    ),
    (
        "dead letters",
        "${AWS::StackName}-replay\"\n      SqsManaged",
        "replay\"\n      SqsManaged",
    ),
    (
        "dead letters",
        "      DeduplicationScope: messageGroup\n      SqsManagedSseEnabled: true\n      MessageRetentionPeriod: 1209600\n",
        "      DeduplicationScope: messageGroup\n      SqsManagedSseEnabled: true\n      MessageRetentionPeriod: 345600\n",
    ),
    ("tables", "PAY_PER_REQUEST", "PROVISIONED"),
    (
        "tables",
        "PointInTimeRecoveryEnabled: true",
        "PointInTimeRecoveryEnabled: false",
    ),
    ("tables", "SSEEnabled: true }", "SSEEnabled: false }"),
    ("tables", "AttributeName: expires", "AttributeName: ttl"),
    ("tables", "DeletionPolicy: Retain", "DeletionPolicy: Delete"),
    (
        "schedules",
        "MaximumRetryAttempts: 10",
        "MaximumRetryAttempts: 0",
    ),
    (
        "schedules",
        "        DeadLetterConfig: *schedules-dlq\n",
        "",
    ),
    ("schedules", "      EventInvokeConfig: *invoke\n", ""),
    (
        "alarms",
        "Value: !GetAtt ReplaysDlq.QueueName",
        "Value: !GetAtt Replays.QueueName",
    ),
    (
        "alarms",
        "Expression: 100 * errors / invocations",
        "Expression: errors",
    ),
    ("alarms", "MetricName: Url5xxCount", "MetricName: Errors"),
    (
        "alarms",
        "MetricName: UrlRequestCount",
        "MetricName: Invocations",
    ),
    (
        "alarms",
        "MetricName: MessagesFailed",
        "MetricName: MessagesReceived",
    ),
    (
        "alarms",
        "&stack [{ Name: Stack, Value: !Ref AWS::StackName }]",
        "&stack []",
    ),
    ("alarms", "MetricName: Findings", "MetricName: Finding"),
    ("alarms", "MetricName: IndexFaults", "MetricName: Faults"),
    ("alarms", "MetricName: Throttles", "MetricName: Invocations"),
    (
        "alarms",
        "MetricName: ApproximateAgeOfOldestMessage",
        "MetricName: ApproximateNumberOfMessagesVisible",
    ),
    (
        "alarms",
        "      ComparisonOperator: GreaterThanThreshold\n",
        "      ComparisonOperator: LessThanThreshold\n",
    ),
    (
        "alarms",
        "        - !If [HasAlarmTopic, !Ref AlarmTopicArn, !Ref AWS::NoValue]\n",
        "        - !Ref AWS::NoValue\n",
    ),
    (
        "logs",
        "RetentionInDays: !Ref LogRetentionDays",
        "KmsKeyId: none",
    ),
    ("outputs", "AuthType: NONE", "AuthType: AWS_IAM"),
];

#[test]
fn every_check_can_fail() {
    let source = source();
    let broken: Vec<_> = BREAKS
        .iter()
        .map(|(_, from, to)| {
            assert!(source.contains(from), "the template has no {from:?}");
            source.replacen(from, to, 1)
        })
        .collect();
    for ((name, from, to), template) in BREAKS.iter().zip(everything_on(&broken)) {
        let (_, check) = CHECKS
            .iter()
            .find(|(check, _)| check == name)
            .expect("a check of that name");
        let complaints = check(&template);
        assert!(!complaints.is_empty(), "{name}: {from:?} may be {to:?}");
    }
}

#[test]
fn every_check_is_broken_once() {
    for (check, _) in CHECKS {
        assert!(BREAKS.iter().any(|(name, ..)| *name == check), "{check}");
    }
}
