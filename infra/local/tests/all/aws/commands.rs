//! The commands on a stack: its stores in an emulator, its rows in a MongoDB wire server, no function up.

use std::process::Command;
use std::sync::Arc;

use foldback_tests::servers::stack::ask;
use foldback_tests::servers::{Durability, Ministack, Policies, Secantus, aws_call};
use serde_json::{Value, json};
use shared::adapters::aws::{Access, Aws, Names};
use shared::adapters::mongo::{Mongo, Retention};
use shared::adapters::{Joined, SystemClock};
use shared::ports::{Clock, Queue};
use shared::service::{self, Duplicates};
use shared::settings::{Format, Settings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{Ended, Foldback};

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "X_MADE"
to = "lead.created"
set = { stage = { const = "new" } }
[[tenant.map]]
type = "X_WON"
to = "lead.converted"
set = { amount = { pointer = "/price" } }
[[tenant.conversion]]
name = "won"
on = "lead.converted"
"#;

/// What a deployment makes that commands ask about.
const TEMPLATE: &str = r#"
import json, sys
import boto3
session = boto3.session.Session('test', 'test', region_name='us-east-1')
formation = session.client('cloudformation', endpoint_url=sys.argv[1])
key = [{'AttributeName': 'pk', 'KeyType': 'HASH'}, {'AttributeName': 'sk', 'KeyType': 'RANGE'}]
of = [{'AttributeName': name, 'AttributeType': 'S'} for name in ('pk', 'sk')]
table = {'Type': 'AWS::DynamoDB::Table', 'Properties': {
    'BillingMode': 'PAY_PER_REQUEST', 'AttributeDefinitions': of, 'KeySchema': key}}
def queue(**more):
    return {'Type': 'AWS::SQS::Queue', 'Properties': {
        'FifoQueue': True, 'DeduplicationScope': 'messageGroup',
        'FifoThroughputLimit': 'perMessageGroupId', 'VisibilityTimeout': 60, **more}}
dead = {'deadLetterTargetArn': {'Fn::GetAtt': ['Dlq', 'Arn']}, 'maxReceiveCount': 5}
resources = {'Journal': table, 'State': table, 'Dlq': queue(), 'Actions': queue(RedrivePolicy=dead)}
outputs = {'JournalTable': 'Journal', 'StateTable': 'State', 'QueueUrl': 'Actions', 'DlqUrl': 'Dlq'}
outputs = {name: {'Value': {'Ref': of}} for name, of in outputs.items()}
seconds = {'Type': 'Number', 'Default': 1}
def create(name, outputs):
    formation.create_stack(StackName=name, TemplateBody=json.dumps({
        'Parameters': {'SettingsSeconds': seconds, 'GraceSeconds': seconds},
        'Resources': resources, 'Outputs': outputs}))
    formation.get_waiter('stack_create_complete').wait(
        StackName=name, WaiterConfig={'Delay': 1, 'MaxAttempts': 60})
    return {one['OutputKey']: one['OutputValue']
            for one in formation.describe_stacks(StackName=name)['Stacks'][0]['Outputs']}
create('no-secret', outputs)
create('another', {'JournalTable': outputs['JournalTable']})
print(json.dumps(create('foldback', {**outputs, 'MongoSecret': {'Value': 'foldback/mongodb'}})))
"#;

/// A stack that nothing works on but the commands.
struct Standing {
    ministack: Ministack,
    mongo: Secantus,
    aws: Aws,
    runtime: Runtime,
    scratch: TempDir,
}

impl Standing {
    fn new() -> Self {
        let mongo = Secantus::start(Durability::Relaxed);
        let ministack = Ministack::start(Policies::Ignored);
        let outputs = ask(&ministack, TEMPLATE);
        let input = json!({ "Name": "foldback/mongodb", "SecretString": mongo.uri("rows") });
        let _made = aws_call(&ministack.endpoint(), "secretsmanager.CreateSecret", &input);
        let output = |name: &str| {
            outputs
                .get(name)
                .and_then(Value::as_str)
                .expect(name)
                .to_owned()
        };
        let names = Names {
            journal_table: output("JournalTable"),
            state_table: output("StateTable"),
            queue_url: output("QueueUrl"),
            dlq_url: output("DlqUrl"),
            receives_max: 5,
        };
        let (endpoint, keys) = (Some(ministack.endpoint()), ("test", "test"));
        let access = Access::with_keys("us-east-1", endpoint, keys, None);
        Self {
            aws: Aws::new(&access.config(), names),
            ministack,
            mongo,
            runtime: Runtime::new().expect("a runtime"),
            scratch: tempfile::tempdir().expect("a scratch directory"),
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.scratch.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    }

    /// The binary without what the machine's own environment says of AWS.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldback"));
        let home = self.scratch.path();
        command
            .args(args)
            .args(["--target", "aws"])
            .current_dir(home)
            .env_clear()
            .env("HOME", home)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", self.ministack.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    fn ends(&self, args: &[&str]) -> Ended {
        ended(self.command(args).args(["--stack", "foldback"]))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let ended = self.ends(args);
        assert_eq!(ended.status, 0, "{args:?}\n{}", ended.stderr);
        ended.stdout
    }

    /// Takes events in, as the function `ingest` does.
    fn ingest(&self, events: &[String]) {
        let settings = Settings::compile(SETTINGS, Format::Toml, 1).expect("settings");
        let now = SystemClock.now();
        let tenant = "acme".into();
        let accept = |event: &String| {
            let entry = service::accept(&settings, Some(&tenant), event.as_bytes(), now);
            Arc::new(entry.expect("an event"))
        };
        let entries: Vec<_> = events.iter().map(accept).collect();
        let done = service::ingest(&self.aws, &entries, Duplicates::SendAgain, now);
        self.runtime.block_on(done).expect("ingest");
    }

    /// Works on all that waits under these settings, as the function `process` does.
    fn process(&self, settings: &str) {
        let settings = Settings::compile(settings, Format::Toml, 1).expect("settings");
        self.runtime.block_on(async {
            let mongo = Mongo::connect(&self.mongo.uri("rows"), Retention::default()).await;
            let ports = Joined {
                events: &self.aws,
                tables: &mongo.expect("MongoDB"),
            };
            loop {
                let received = self.aws.receive(100, SystemClock.now()).await;
                let received = received.expect("messages");
                if received.is_empty() {
                    break;
                }
                let done = service::process(&ports, &SystemClock, &settings, &received).await;
                done.expect("process");
            }
        });
    }

    /// Asks MongoDB itself.
    fn run_on_rows(&self, command: &str) {
        self.runtime.block_on(async {
            let mongo = Mongo::open(&self.mongo.uri("rows"), Retention::default()).await;
            let done = mongo.expect("MongoDB").run(command).await;
            done.expect("done");
        });
    }
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("the binary starts");
    Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn event(id: &str, kind: &str, lead: &str, price: &str) -> String {
    json!({
        "specversion": "1.0", "id": id, "source": "//crm", "type": kind, "partitionkey": lead,
        "time": "2026-03-01T09:30:00Z", "data": { "price": price },
    })
    .to_string()
}

#[test]
fn a_stack_is_looked_at_and_mended() {
    let standing = Standing::new();
    let file = standing.file("settings.toml", SETTINGS);
    let none = standing.ends(&["settings", "show"]);
    assert_eq!(none.status, 2);
    assert!(
        none.stderr
            .contains("settings put FILE --target aws --stack foldback")
    );
    assert_eq!(standing.ok(&["settings", "put", &file]), "1\n");
    assert_eq!(standing.ok(&["settings", "put", &file]), "1\n", "unchanged");
    assert_eq!(standing.ok(&["settings", "show"]), SETTINGS);
    let wrong = standing.file("wrong.toml", &SETTINGS.replace("lead.created", "lead.mad"));
    assert_eq!(standing.ends(&["settings", "put", &wrong]).status, 2);

    let leads: Vec<String> = (0..20).map(|n| format!("lead-{n}")).collect();
    let made = leads
        .iter()
        .map(|lead| event(&format!("{lead}-1"), "X_MADE", lead, ""));
    let won = leads
        .iter()
        .map(|lead| event(&format!("{lead}-2"), "X_WON", lead, "10"));
    standing.ingest(&made.chain(won).collect::<Vec<_>>());
    standing.process(SETTINGS);
    let clean = standing.ends(&["replay", "--grace", "0"]);
    assert_eq!(
        (clean.status, clean.stdout.as_str()),
        (0, ""),
        "{}",
        clean.stderr
    );
    assert!(clean.stderr.contains("of 21 groups"), "{}", clean.stderr);

    let shown = standing.ok(&["show", "lead-3", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert!(shown.to_string().contains("lead-3-2"), "{shown}");
    let of_won = ["query", "conversions", "--tenant", "acme", "--name", "won"];
    assert_eq!(standing.ok(&of_won).lines().count(), 20);
    assert_eq!(standing.ok(&["export", "RSLead"]).lines().count(), 20);

    standing.run_on_rows(
        r#"{"delete": "RSLead", "deletes": [{"q": {"leadId": "lead-7"}, "limit": 0}]}"#,
    );
    let gone = standing.ends(&["replay", "--grace", "0", "--json"]);
    assert_eq!(gone.status, 1, "{}", gone.stderr);
    assert!(gone.stdout.contains("lead-7"), "{}", gone.stdout);
    assert_eq!(gone.stdout.lines().count(), 1, "{}", gone.stdout);
    let young = standing.ends(&["replay", "--grace", "86400"]);
    assert_eq!(young.status, 0, "under way still: {}", young.stdout);
    let one = ["replay", "--grace", "0", "--id", "lead-7"];
    assert_eq!(standing.ends(&one).status, 1);
    let mended = standing.ends(&["replay", "--grace", "0", "--mode", "update"]);
    assert_eq!(mended.status, 1, "{}", mended.stderr);
    assert!(mended.stderr.contains("1 rows mended"), "{}", mended.stderr);
    assert_eq!(standing.ends(&["replay", "--grace", "0"]).status, 0);
    let report: Value = serde_json::from_str(&standing.ok(&["report", "--json"])).expect("JSON");
    assert_eq!(report["rows"]["RSLead"], 20, "{report}");
}

#[test]
fn dead_letters_are_listed_sent_back_and_thrown_away() {
    let standing = Standing::new();
    let file = standing.file("settings.toml", SETTINGS);
    standing.ok(&["settings", "put", &file]);
    assert_eq!(standing.ends(&["dlq", "list"]).status, 0);
    let poison = ["p-1", "p-2", "p-3"].map(|id| event(id, "X_WON", &format!("lead-{id}"), "12x"));
    standing.ingest(&poison);
    standing.process(SETTINGS);

    let listed = standing.ends(&["dlq", "list"]);
    assert_eq!(listed.status, 1, "{}", listed.stderr);
    let number = |event: &str| {
        let mut lines = listed.stdout.lines();
        let line = lines.find(|line| line.contains(&format!(" {event} ")));
        let line = line.expect("a letter").trim_start();
        line.split(' ').next().expect("a number").to_owned()
    };
    assert!(listed.stdout.contains("amount"), "{}", listed.stdout);
    let replay = standing.ends(&["replay", "--grace", "0"]);
    assert_eq!(replay.status, 1, "{}", replay.stderr);
    assert!(replay.stderr.contains("parked"), "{}", replay.stderr);

    assert_eq!(standing.ends(&["dlq", "discard"]).status, 2);
    let discarded = standing.ok(&["dlq", "discard", &number("p-1")]);
    assert!(
        discarded.contains("acme") && discarded.contains("p-1"),
        "{discarded}"
    );
    assert_eq!(discarded.lines().count(), 1);
    assert_eq!(
        standing.ends(&["dlq", "discard", &number("p-1")]).status,
        1,
        "gone"
    );

    let mended = SETTINGS.replace("{ pointer = \"/price\" }", "{ const = \"5\" }");
    let mended_file = standing.file("mended.toml", &mended);
    let redrive = ["dlq", "redrive", &number("p-2"), "--settings", &mended_file];
    let redriven = standing.ends(&redrive);
    assert_eq!(redriven.status, 0, "{}", redriven.stderr);
    assert!(redriven.stderr.contains("version 2"), "{}", redriven.stderr);
    assert!(
        redriven.stderr.contains("1 letters sent back"),
        "{}",
        redriven.stderr
    );
    standing.process(&mended);
    assert!(standing.ok(&["export", "RSLead"]).contains("lead-p-2"));

    let all = standing.ok(&["dlq", "discard", "--all"]);
    assert!(all.contains("p-3") && all.lines().count() == 1, "{all}");
    assert_eq!(standing.ends(&["dlq", "list"]).status, 0);
}

#[test]
fn what_is_not_there_is_named() {
    let standing = Standing::new();
    let check = |command: &mut Command, expect: &[&str]| {
        let ended = ended(command);
        assert_eq!(ended.status, 2, "{command:?}: {}", ended.stderr);
        for text in expect {
            assert!(ended.stderr.contains(text), "{text}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("mongodb://"), "{}", ended.stderr);
    };
    let list = ["dlq", "list"];
    check(&mut standing.command(&list), &["--stack <NAME>"]);
    let of = |args: &[&str], stack: &str| {
        let mut command = standing.command(args);
        command.args(["--stack", stack]);
        command
    };
    check(
        &mut of(&list, "nobody"),
        &["there is no stack \"nobody\" in us-east-1"],
    );
    check(
        &mut of(&list, "another"),
        &["\"another\" has no output StateTable"],
    );
    let secret = [
        "without a secret for MongoDB",
        "--mongodb",
        "FOLDBACK_MONGODB",
    ];
    check(&mut of(&["report"], "no-secret"), &secret);
    let unset = of(&["replay"], "foldback")
        .env("FOLDBACK_MONGODB", "x")
        .output();
    assert_eq!(unset.expect("it runs").status.code(), Some(2));
    check(
        of(&list, "foldback").env_remove("AWS_REGION"),
        &["no AWS region", "--region"],
    );
    let mut keyless = of(&list, "foldback");
    keyless.env_remove("AWS_ACCESS_KEY_ID");
    check(&mut keyless, &["no AWS credentials", "--profile"]);
    let mut profile = of(&list, "foldback");
    check(
        profile.args(["--profile", "nobody"]),
        &["no AWS credentials", "nobody"],
    );
    for (args, text) in [
        (&["run"][..], "IngestUrl"),
        (&["adopt", "RSLead"], "adopt before"),
        (&["rejects"], "at once"),
    ] {
        check(&mut of(args, "foldback"), &["not on AWS", text]);
    }
    check(
        &mut of(&["show", "lead-1"], "foldback"),
        &["settings put FILE"],
    );
    let local = Foldback::new().ends(&["dlq", "list", "--stack", "foldback"]);
    assert_eq!(local.status, 2);
    assert!(local.stderr.contains("--target aws"), "{}", local.stderr);
}

/// A profile of the AWS CLI's own files says where and who.
#[test]
fn a_profile_is_read() {
    let standing = Standing::new();
    let file = standing.file("settings.toml", SETTINGS);
    let profile = "[profile eu]\nregion = us-east-1\naws_access_key_id = test\n\
                   aws_secret_access_key = test\n";
    let config = standing.file("config", profile);
    let args = [
        "settings",
        "put",
        &file,
        "--stack",
        "foldback",
        "--profile",
        "eu",
    ];
    let mut command = standing.command(&args);
    let command = command
        .env("AWS_CONFIG_FILE", config)
        .env_remove("AWS_REGION")
        .env_remove("AWS_ACCESS_KEY_ID");
    let ended = ended(command);
    assert_eq!(
        (ended.status, ended.stdout.as_str()),
        (0, "1\n"),
        "{}",
        ended.stderr
    );
}
