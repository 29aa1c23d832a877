//! What the template promises, one check each. A check tells what is not so.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::plain::{Plain, Resource, list, target};

/// Tells what does not hold.
pub(super) type Check = fn(&Plain) -> Vec<String>;

/// All of them, by name.
pub(super) const CHECKS: [(&str, Check); 17] = [
    ("functions", functions),
    ("roles of their own", roles_of_their_own),
    ("no wildcards", no_wildcards),
    ("append-only journal", append_only_journal),
    ("state", state),
    ("copies", copies),
    ("mappings", mappings),
    ("visibility", visibility),
    ("fifo", fifo),
    ("queues", queues),
    ("dead letters", dead_letters),
    ("tables", tables),
    ("schedules", schedules),
    ("alarms", alarms),
    ("logs", logs),
    ("outputs", outputs),
    ("console", console),
];

const FUNCTION: &str = "AWS::Lambda::Function";
const MAPPING: &str = "AWS::Lambda::EventSourceMapping";
const QUEUE: &str = "AWS::SQS::Queue";
const DLQ_RETENTION_SECONDS: u64 = 14 * 24 * 60 * 60;
/// As AWS advises: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>.
const VISIBILITY_TIMEOUTS: u64 = 6;

#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn unless(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.0.push(what.into());
        }
    }

    /// Complains of each property that has another value.
    fn unless_has(&mut self, resource: Resource<'_>, expected: &[(&str, Value)]) {
        for (property, value) in expected {
            let found = resource.get(property);
            let name = resource.name;
            self.unless(found == *value, format!("{name}: {property} is {found}"));
        }
    }
}

fn functions(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    let names: Vec<_> = template.all(FUNCTION).map(|found| found.name).collect();
    let expected = ["Console", "Ingest", "Process", "Replay", "Report"];
    complaints.unless(names == expected, format!("functions {names:?}"));
    for function in template.all(FUNCTION) {
        let expected = [
            ("Runtime", json!("provided.al2023")),
            ("Handler", json!("bootstrap")),
            ("Architectures", json!(["arm64"])),
        ];
        complaints.unless_has(function, &expected);
        let variables = &function.get("Environment")["Variables"];
        for (variable, resource) in [
            ("FOLDBACK_STACK", "AWS::StackName"),
            ("FOLDBACK_JOURNAL_TABLE", "Journal"),
            ("FOLDBACK_STATE_TABLE", "State"),
            ("FOLDBACK_QUEUE_URL", "Actions"),
            ("FOLDBACK_DLQ_URL", "ActionsDlq"),
            ("FOLDBACK_REPLAY_QUEUE_URL", "Replays"),
        ] {
            let found = target(&variables[variable]);
            complaints.unless(found == resource, format!("{}: {variable}", function.name));
        }
        let knows_mongo = !variables["FOLDBACK_MONGODB_SECRET"].is_null();
        let needs_mongo = function.name != "Ingest";
        complaints.unless(
            knows_mongo == needs_mongo,
            format!("{}: MongoDB", function.name),
        );
    }
    let uri = &template.0["Parameters"]["MongoUri"];
    complaints.unless(uri["NoEcho"] == true, "MongoUri is shown");
    complaints.unless(uri["Default"] == "", "MongoUri has a default");
    complaints.0
}

/// Nobody else's role, and no policy that somebody else may change.
fn roles_of_their_own(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    let mut seen = BTreeSet::new();
    for function in template.all(FUNCTION) {
        let role = target(&function.get("Role"));
        let known = template.one("AWS::IAM::Role", &role).is_some();
        complaints.unless(known, format!("{}: no role", function.name));
        complaints.unless(seen.insert(role), format!("{}: shared role", function.name));
    }
    for role in template.all("AWS::IAM::Role") {
        complaints.unless_has(role, &[("ManagedPolicyArns", Value::Null)]);
        let trusted = &role.get("AssumeRolePolicyDocument")["Statement"];
        complaints.unless(list(trusted).len() == 1, format!("{}: trust", role.name));
        for statement in list(trusted) {
            let service = &statement["Principal"]["Service"];
            let expected = if seen.contains(role.name) {
                "lambda.amazonaws.com"
            } else {
                "scheduler.amazonaws.com"
            };
            complaints.unless(
                service == expected,
                format!("{} trusts {service}", role.name),
            );
            let account = &statement["Condition"]["StringEquals"]["aws:SourceAccount"];
            let ours = target(account) == "AWS::AccountId" || seen.contains(role.name);
            complaints.unless(ours, format!("{} trusts other accounts", role.name));
        }
    }
    complaints.0
}

/// But where AWS knows no narrower name: X-Ray has no resources, secrets end in characters of its choice.
fn no_wildcards(template: &Plain) -> Vec<String> {
    const SECRETS: &str = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:foldback/webhook/*";
    const TRACES: [&str; 2] = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"];
    let mut complaints = Complaints::default();
    for grant in template.grants() {
        let role = grant.role;
        let (action, resource) = (grant.action.as_str(), grant.resource.as_str());
        complaints.unless(
            action.contains(':') && !action.contains(['*', '?']),
            format!("{role} may {action}"),
        );
        let narrow = !resource.contains(['*', '?'])
            || (resource == "*" && TRACES.contains(&action))
            || (resource == SECRETS && action == "secretsmanager:GetSecretValue");
        complaints.unless(narrow, format!("{role} may {action} {resource}"));
    }
    for role in template.all("AWS::IAM::Role") {
        for policy in list(&role.get("Policies")) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                let plain = statement["NotAction"].is_null() && statement["NotResource"].is_null();
                complaints.unless(plain, format!("{}: all but", role.name));
            }
        }
    }
    complaints.0
}

fn append_only_journal(template: &Plain) -> Vec<String> {
    const READS: [&str; 3] = [
        "dynamodb:GetItem",
        "dynamodb:BatchGetItem",
        "dynamodb:Query",
    ];
    const ADDS: [&str; 2] = ["dynamodb:PutItem", "dynamodb:BatchWriteItem"];
    // What a group states to another is journaled by who handles the group, and by who finds it missing.
    const APPENDERS: [&str; 4] = ["ConsoleRole", "IngestRole", "ProcessRole", "ReplayRole"];
    let mut complaints = Complaints::default();
    for grant in template.grants() {
        if grant.resource == "Journal" {
            let adds = APPENDERS.contains(&grant.role) && ADDS.contains(&grant.action.as_str());
            let reads = READS.contains(&grant.action.as_str());
            complaints.unless(
                adds || reads,
                format!("{} may {}", grant.role, grant.action),
            );
        }
    }
    complaints.0
}

/// Settings, locks, tallies and runs share a table; each role has only those that are its business.
fn state(template: &Plain) -> Vec<String> {
    const RUNS: [&str; 5] = [
        "BatchWriteItem",
        "GetItem",
        "PutItem",
        "Query",
        "UpdateItem",
    ];
    const EXPECTED: [(&str, &str, &[&str]); 12] = [
        ("ConsoleRole", "settings", &["GetItem", "PutItem", "Query"]),
        ("ConsoleRole", "lock#*", &["PutItem", "UpdateItem"]),
        ("ConsoleRole", "run#*", &["BatchWriteItem"]),
        ("ConsoleRole", "tally", &["Query"]),
        ("IngestRole", "settings", &["Query"]),
        ("ProcessRole", "settings", &["Query"]),
        ("ProcessRole", "lock#*", &["PutItem", "UpdateItem"]),
        ("ProcessRole", "tally", &["UpdateItem"]),
        ("ReplayRole", "settings", &["Query"]),
        ("ReplayRole", "lock#*", &["PutItem", "UpdateItem"]),
        ("ReplayRole", "run#*", &RUNS),
        ("ReportRole", "tally", &["Query"]),
    ];
    let mut expected = BTreeSet::new();
    for (role, keys, actions) in EXPECTED {
        expected.extend(actions.iter().map(|action| {
            let action = format!("dynamodb:{action}");
            (role, json!([keys]).to_string(), action)
        }));
    }
    let grants = template.grants().into_iter();
    let of_state = grants.filter(|grant| grant.resource == "State");
    let found: BTreeSet<_> = of_state
        .map(|grant| {
            let keys = &grant.condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
            (grant.role, keys.to_string(), grant.action)
        })
        .collect();
    let mut complaints = Complaints::default();
    for grant in found.symmetric_difference(&expected) {
        let there = found.contains(grant);
        complaints.unless(false, format!("{grant:?}: there is {there}"));
    }
    complaints.0
}

/// Who states to other groups what they follow from may do what it takes, and reports may not.
fn copies(template: &Plain) -> Vec<String> {
    let append = ["Query", "BatchGetItem", "PutItem", "BatchWriteItem"];
    let append = append.map(|action| ("Journal", format!("dynamodb:{action}")));
    let send = ("Actions", "sqs:SendMessage".to_owned());
    let grants = template.grants();
    let mut complaints = Complaints::default();
    let states = |role: &str, (resource, action): &(&str, String)| {
        let mut grants = grants.iter();
        grants.any(|one| one.role == role && one.resource == *resource && one.action == *action)
    };
    for needed in append.iter().chain([&send]) {
        let may = states("ProcessRole", needed);
        complaints.unless(may, format!("ProcessRole may not {needed:?}"));
    }
    for needed in &append {
        let may = states("ReplayRole", needed);
        complaints.unless(may, format!("ReplayRole may not {needed:?}"));
    }
    // A replay mends the rows of what it states by itself.
    for role in ["ReplayRole", "ReportRole"] {
        complaints.unless(!states(role, &send), format!("{role} may {send:?}"));
    }
    complaints.0
}

fn mappings(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    let all: Vec<_> = template.all(MAPPING).collect();
    complaints.unless(all.len() == 2, format!("{} mappings", all.len()));
    for mapping in all {
        let batch = match target(&mapping.get("EventSourceArn")).as_str() {
            "Actions" => 10,
            _ => 1,
        };
        let expected = [
            ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
            ("BatchSize", json!(batch)),
            ("ScalingConfig", json!({ "MaximumConcurrency": 10 })),
        ];
        complaints.unless_has(mapping, &expected);
    }
    complaints.0
}

/// Lambda can retry a batch that it could not hand over before somebody else sees it.
fn visibility(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for mapping in template.all(MAPPING) {
        let queue = template.one(QUEUE, &target(&mapping.get("EventSourceArn")));
        let function = template.one(FUNCTION, &target(&mapping.get("FunctionName")));
        let (Some(queue), Some(function)) = (queue, function) else {
            complaints.unless(false, format!("{}: from where to where?", mapping.name));
            continue;
        };
        let (visibility, timeout) = (
            queue.number("VisibilityTimeout"),
            function.number("Timeout"),
        );
        let enough = timeout > 0 && visibility >= VISIBILITY_TIMEOUTS * timeout;
        complaints.unless(
            enough,
            format!("{}: {visibility} s for {timeout} s", queue.name),
        );
    }
    complaints.0
}

fn fifo(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for name in ["Actions", "ActionsDlq"] {
        let Some(queue) = template.one(QUEUE, name) else {
            complaints.unless(false, format!("no {name}"));
            continue;
        };
        let expected = [
            ("FifoQueue", json!(true)),
            ("FifoThroughputLimit", json!("perMessageGroupId")),
            ("DeduplicationScope", json!("messageGroup")),
        ];
        complaints.unless_has(queue, &expected);
        let named = target(&queue.get("QueueName")).ends_with(".fifo");
        complaints.unless(named, format!("{name} is not named .fifo"));
    }
    complaints.0
}

fn queues(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    let mut letters = BTreeSet::new();
    for mapping in template.all(MAPPING) {
        let name = target(&mapping.get("EventSourceArn"));
        let Some(queue) = template.one(QUEUE, &name) else {
            complaints.unless(false, format!("no {name}"));
            continue;
        };
        let redrive = queue.get("RedrivePolicy");
        let receives_max = &redrive["maxReceiveCount"];
        complaints.unless(
            *receives_max == 10,
            format!("{name} gives up after {receives_max}"),
        );
        let dlq = target(&redrive["deadLetterTargetArn"]);
        let same_kind = template
            .one(QUEUE, &dlq)
            .is_some_and(|dlq| dlq.get("FifoQueue") == queue.get("FifoQueue"));
        complaints.unless(same_kind, format!("{name} gives up to {dlq}"));
        complaints.unless(letters.insert(dlq), format!("{name} shares its letters"));
    }
    for queue in template.all(QUEUE) {
        complaints.unless_has(queue, &[("SqsManagedSseEnabled", json!(true))]);
    }
    complaints.0
}

fn dead_letters(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for dlq in dlqs(template) {
        let kept = dlq.number("MessageRetentionPeriod");
        complaints.unless(
            kept == DLQ_RETENTION_SECONDS,
            format!("{}: {kept} s", dlq.name),
        );
        let sources: Vec<_> = template
            .all(QUEUE)
            .filter(|queue| target(&queue.get("RedrivePolicy")["deadLetterTargetArn"]) == dlq.name)
            .map(|queue| target(&queue.get("QueueName")))
            .collect();
        let allow = dlq.get("RedriveAllowPolicy");
        let allowed: Vec<_> = list(&allow["sourceQueueArns"]).iter().map(target).collect();
        let permission = if sources.is_empty() {
            "denyAll"
        } else {
            "byQueue"
        };
        complaints.unless(
            allow["redrivePermission"] == permission
                && allowed.len() == sources.len()
                && allowed
                    .iter()
                    .zip(&sources)
                    .all(|(arn, name)| arn.ends_with(&format!(":{name}"))),
            format!("{}: {allow}", dlq.name),
        );
    }
    complaints.0
}

/// The queues that no function takes from.
fn dlqs(template: &Plain) -> Vec<Resource<'_>> {
    let taken: BTreeSet<_> = template
        .all(MAPPING)
        .map(|mapping| target(&mapping.get("EventSourceArn")))
        .collect();
    template
        .all(QUEUE)
        .filter(|queue| !taken.contains(queue.name))
        .collect()
}

fn tables(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for (name, ttl) in [
        ("Journal", Value::Null),
        (
            "State",
            json!({ "AttributeName": "expires", "Enabled": true }),
        ),
    ] {
        let Some(table) = template.one("AWS::DynamoDB::Table", name) else {
            complaints.unless(false, format!("no {name}"));
            continue;
        };
        let recovery = json!({ "PointInTimeRecoveryEnabled": true });
        let keys = json!([
            { "AttributeName": "pk", "KeyType": "HASH" },
            { "AttributeName": "sk", "KeyType": "RANGE" },
        ]);
        let expected = [
            ("BillingMode", json!("PAY_PER_REQUEST")),
            ("PointInTimeRecoverySpecification", recovery),
            ("SSESpecification", json!({ "SSEEnabled": true })),
            ("DeletionProtectionEnabled", json!(true)),
            ("KeySchema", keys),
            ("TimeToLiveSpecification", ttl),
        ];
        complaints.unless_has(table, &expected);
        for attribute in ["DeletionPolicy", "UpdateReplacePolicy"] {
            let kept = table.attribute(attribute) == "Retain";
            complaints.unless(kept, format!("{name}: {attribute}"));
        }
    }
    complaints.0
}

fn schedules(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for (name, function, input, expression) in [
        (
            "ReplayTimer",
            "Replay",
            r#"{"mode":"report"}"#,
            "cron(17 3 * * ? *)",
        ),
        ("ReportTimer", "Report", "{}", "rate(15 minutes)"),
    ] {
        let Some(schedule) = template.one("AWS::Scheduler::Schedule", name) else {
            complaints.unless(false, format!("no {name}"));
            continue;
        };
        complaints.unless_has(schedule, &[("ScheduleExpression", json!(expression))]);
        let called = schedule.get("Target");
        let retries = called["RetryPolicy"]["MaximumRetryAttempts"].as_u64();
        let failed = target(&called["DeadLetterConfig"]["Arn"]);
        let called_right = target(&called["Arn"]) == function && called["Input"] == input;
        complaints.unless(called_right, format!("{name}: calls {called}"));
        complaints.unless(retries > Some(0), format!("{name}: no retries"));
        complaints.unless(failed == "SchedulesDlq", format!("{name}: letters"));
        // The scheduler hands over; that the function then fails is Lambda's to tell.
        let failures = template
            .all("AWS::Lambda::EventInvokeConfig")
            .find(|config| target(&config.get("FunctionName")) == function)
            .map(|config| target(&config.get("DestinationConfig")["OnFailure"]["Destination"]));
        let told = failures.as_deref() == Some("SchedulesDlq");
        complaints.unless(told, format!("{function}: failures {failures:?}"));
    }
    complaints.0
}

fn alarms(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    let stack = "AWS::StackName";
    let mut expected = BTreeSet::from([
        format!("Foldback/Findings {stack} > 0"),
        format!("Foldback/IndexFaults {stack} > 0"),
        format!("100 * Foldback/MessagesFailed {stack} / Foldback/MessagesReceived {stack} > 5"),
        "100 * AWS/Lambda/Url5xxCount Ingest / AWS/Lambda/UrlRequestCount Ingest > 5".to_owned(),
    ]);
    for dlq in dlqs(template) {
        let metric = "AWS/SQS/ApproximateNumberOfMessagesVisible";
        expected.insert(format!("{metric} {} > 0", dlq.name));
    }
    for mapping in template.all(MAPPING) {
        let queue = target(&mapping.get("EventSourceArn"));
        expected.insert(format!("AWS/SQS/ApproximateAgeOfOldestMessage {queue}"));
    }
    for function in template.all(FUNCTION) {
        let name = function.name;
        expected.insert(format!("AWS/Lambda/Throttles {name}"));
        if name != "Ingest" {
            expected.insert(format!(
                "100 * AWS/Lambda/Errors {name} / AWS/Lambda/Invocations {name}"
            ));
        }
    }
    let mut found = BTreeSet::new();
    for alarm in template.all("AWS::CloudWatch::Alarm") {
        complaints.unless(
            list(&alarm.get("AlarmActions")).len() == 1,
            format!("{} tells nobody", alarm.name),
        );
        let above = alarm.get("ComparisonOperator") == "GreaterThanThreshold";
        complaints.unless(above, format!("{}: the wrong way round", alarm.name));
        found.insert(watched(alarm));
    }
    for missing in expected {
        let is_there = found.iter().any(|alarm| alarm.starts_with(&missing));
        complaints.unless(is_there, format!("no alarm on {missing}"));
    }
    complaints.0
}

/// What an alarm watches, and from where on it rings.
fn watched(alarm: Resource<'_>) -> String {
    let metric = |metric: &Value| {
        let name = [&metric["Namespace"], &metric["MetricName"]]
            .map(|part| part.as_str().unwrap_or_default().to_owned())
            .join("/");
        let of = list(&metric["Dimensions"]).into_iter();
        of.fold(name, |name, dimension| {
            format!("{name} {}", target(&dimension["Value"]))
        })
    };
    let what = match alarm.get("Metrics").as_array() {
        None => metric(&alarm.attribute("Properties").clone()),
        Some(metrics) => {
            let expression = metrics.iter().find_map(|part| part["Expression"].as_str());
            metrics
                .iter()
                .filter(|part| !part["MetricStat"].is_null())
                .fold(expression.unwrap_or_default().to_owned(), |text, part| {
                    let id = part["Id"].as_str().unwrap_or_default();
                    text.replace(id, &metric(&part["MetricStat"]["Metric"]))
                })
        }
    };
    format!("{what} > {}", alarm.get("Threshold"))
}

fn logs(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for function in template.all(FUNCTION) {
        let config = function.get("LoggingConfig");
        let name = function.name;
        complaints.unless(config["LogFormat"] == "JSON", format!("{name}: {config}"));
        let kept = template
            .one("AWS::Logs::LogGroup", &target(&config["LogGroup"]))
            .map(|group| group.number("RetentionInDays"));
        complaints.unless(kept == Some(30), format!("{name}: kept {kept:?}"));
    }
    complaints.0
}

/// What the command line reads.
fn outputs(template: &Plain) -> Vec<String> {
    let mut complaints = Complaints::default();
    for (name, resource) in [
        ("JournalTable", "Journal"),
        ("StateTable", "State"),
        ("QueueUrl", "Actions"),
        ("DlqUrl", "ActionsDlq"),
        ("ReplayQueueUrl", "Replays"),
        ("ReplayFunction", "Replay"),
        ("IngestUrl", "IngestUrl"),
        ("ConsoleUrl", "ConsoleUrl"),
    ] {
        let found = target(&template.0["Outputs"][name]["Value"]);
        complaints.unless(found == resource, format!("{name} is {found}"));
    }
    let url = template.one("AWS::Lambda::Url", "IngestUrl");
    let open = url.is_some_and(|url| url.get("AuthType") == "NONE");
    complaints.unless(open, "ingest cannot be called");
    complaints.0
}

/// The console is for who AWS lets through, and changes nothing, unless the template is told otherwise.
fn console(template: &Plain) -> Vec<String> {
    const READS: [&str; 8] = [
        "dynamodb:BatchGetItem",
        "dynamodb:GetItem",
        "dynamodb:Query",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "secretsmanager:GetSecretValue",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
    ];
    let mut complaints = Complaints::default();
    let url = template.one("AWS::Lambda::Url", "ConsoleUrl");
    let closed = url.is_some_and(|url| url.get("AuthType") == "AWS_IAM");
    complaints.unless(closed, "anybody reaches the console");
    for (parameter, default) in [
        ("ConsoleAuth", "AWS_IAM"),
        ("ConsoleActs", "false"),
        ("ConsoleTokenSecretArn", ""),
    ] {
        let found = &template.0["Parameters"][parameter]["Default"];
        complaints.unless(found == default, format!("{parameter} is {found}"));
    }
    let variables = template
        .one(FUNCTION, "Console")
        .map(|console| console.get("Environment")["Variables"].clone());
    let told = variables.unwrap_or_default();
    complaints.unless(
        told["FOLDBACK_CONSOLE_ACT"] == "true",
        "the console is not told that it may act",
    );
    for grant in template
        .grants()
        .iter()
        .filter(|grant| grant.role == "ConsoleRole")
    {
        let (action, resource) = (grant.action.as_str(), grant.resource.as_str());
        let reads = READS.contains(&action)
            || action.starts_with("xray:Put")
            || (action == "sqs:ReceiveMessage" && resource == "ActionsDlq");
        let acts = [
            ("dynamodb:BatchWriteItem", "Journal"),
            ("dynamodb:BatchWriteItem", "State"),
            ("dynamodb:PutItem", "Journal"),
            ("dynamodb:PutItem", "State"),
            ("dynamodb:UpdateItem", "State"),
            ("sqs:DeleteMessage", "ActionsDlq"),
            ("sqs:SendMessage", "Actions"),
            ("sqs:SendMessage", "Replays"),
        ];
        let acts = acts.contains(&(action, resource));
        complaints.unless(
            reads || acts,
            format!("the console may {action} {resource}"),
        );
    }
    complaints.0
}
