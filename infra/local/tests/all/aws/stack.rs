use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use foldback_tests::servers::stack::{Stack, ask};
use foldback_tests::servers::{Durability, Ministack, Policies, Secantus, aws_call, get, post};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::adapters::SystemClock;
use shared::adapters::aws::{Access, Aws, Names};
use shared::adapters::mongo::{Mongo, Retention};
use shared::flow::Write;
use shared::handlers::Table;
use shared::model::Depth;
use shared::ports::{Clock, Committed, Queue, Reading, Reports, SettingsVersions, Tables};
use shared::settings::Format;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{Ended, TABLES, fed};

/// The functions, by the names of their binaries.
pub(crate) const FUNCTIONS: [&str; 5] = ["console", "ingest", "process", "replay", "report"];
/// What all tenants sign with; the key is these bytes in base64.
const KEY: &[u8] = b"a key that nobody else should know";
/// What lets people into the console.
pub(crate) const TOKEN: &str = "a token that nobody can guess";
/// What lets somebody in who sees a tenant that has no events, and changes nothing.
pub(crate) const STRANGERS_TOKEN: &str = "another one that nobody can guess";
const TOKENS: &str = r#"
[[token]]
name = "ops"
token = "a token that nobody can guess"
[[token]]
name = "stranger"
token = "another one that nobody can guess"
tenant = "elsewhere"
read_only = true
"#;
const DATABASE: &str = "foldback";
/// Lets every role that may send, delete or hide a message do so with several in one request, and says in
/// a number how many batches may be worked on at once, which the emulator keeps as a text.
const WORK_ROUND: &str = r#"
import boto3, json, sys
iam = boto3.session.Session("test", "test", region_name="us-east-1").client("iam", endpoint_url=sys.argv[1])
added = 0
for role in iam.list_roles()["Roles"]:
    for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]:
        policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
        for statement in policy["Statement"]:
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            single = ("sqs:SendMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
            batches = [action + "Batch" for action in actions if action in single]
            statement["Action"] = actions + batches
            added += len(batches)
        iam.put_role_policy(RoleName=role["RoleName"], PolicyName=name, PolicyDocument=json.dumps(policy))
lam = boto3.session.Session("test", "test", region_name="us-east-1").client("lambda", endpoint_url=sys.argv[1])
for mapping in lam.list_event_source_mappings()["EventSourceMappings"]:
    lam.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": 2})
print(added)
"#;
const PATIENCE: Duration = Duration::from_secs(240);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const STANDSTILL_LOOKS: u32 = 40;
const REST_LOOKS: u32 = 4;
/// The visibility timeout of the template's queue of actions.
const VISIBILITY_MS: i64 = 360_000;

/// A stack in an emulator, and what a test needs to talk to it.
pub(crate) struct Deployed {
    pub(crate) ministack: Ministack,
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) aws: Aws,
    pub(crate) runtime: Runtime,
    mongo: Secantus,
    _zips: TempDir,
}

impl Deployed {
    /// Deploys the functions' binaries, with these settings in force and a secret for each tenant.
    pub(crate) fn new(
        settings: &str,
        tenants: &BTreeSet<String>,
        parameters: &[(&str, &str)],
    ) -> Self {
        let deployed = Self::without_settings(tenants, parameters);
        deployed.put_settings(settings);
        deployed
    }

    /// Deploys the functions' binaries, with a secret for each tenant.
    pub(crate) fn without_settings(
        tenants: &BTreeSet<String>,
        parameters: &[(&str, &str)],
    ) -> Self {
        let zips = tempfile::tempdir().expect("a directory");
        let mongo = Secantus::start(Durability::Relaxed);
        let ministack = Ministack::start(Policies::Enforced);
        let paths: Vec<_> = FUNCTIONS
            .iter()
            .map(|name| (*name, zip(zips.path(), name)))
            .collect();
        let paths: Vec<_> = paths
            .iter()
            .map(|(name, path)| (*name, path.as_path()))
            .collect();
        let uri = mongo.uri(DATABASE);
        let arn = make_secret(&ministack, "foldback/mongodb", &uri);
        let token = make_secret(&ministack, "foldback/console", TOKENS);
        let own = [
            ("MongoSecretArn", arn.as_str()),
            ("ConsoleTokenSecretArn", token.as_str()),
            ("ConsoleAuth", "NONE"),
            ("ConsoleActs", "true"),
        ];
        let stack = Stack::deploy(&ministack, &paths, &[&own[..], parameters].concat());
        // AWS knows one permission for sending a message and for sending ten; the emulator knows two.
        let _allowed = ask(&ministack, WORK_ROUND);
        let secret = format!("whsec_{}", STANDARD.encode(KEY));
        for tenant in tenants {
            let name = format!("foldback/webhook/{tenant}");
            let _arn = make_secret(&ministack, &name, &secret);
        }
        let outputs = stack.outputs().clone();
        let output = |name: &str| outputs.get(name).expect(name).clone();
        let names = Names {
            journal_table: output("JournalTable"),
            state_table: output("StateTable"),
            queue_url: output("QueueUrl"),
            dlq_url: output("DlqUrl"),
            receives_max: 10,
        };
        let (endpoint, keys) = (Some(ministack.endpoint()), ("test", "test"));
        let access = Access::with_keys("us-east-1", endpoint, keys, None);
        Self {
            aws: Aws::new(&access.config(), names),
            runtime: Runtime::new().expect("a runtime"),
            outputs,
            ministack,
            mongo,
            _zips: zips,
        }
    }

    /// Puts settings in force.
    pub(crate) fn put_settings(&self, text: &str) {
        let put = self.aws.put(text, Format::Toml, SystemClock.now());
        self.runtime.block_on(put).expect("settings");
    }

    /// The rows' database.
    pub(crate) fn mongo_uri(&self) -> String {
        self.mongo.uri(DATABASE)
    }

    /// Posts events to the function `ingest` as a tenant's signed webhook, all in one request.
    pub(crate) fn webhook(&self, tenant: &str, events: &[&str]) -> (u16, Value) {
        let body = format!("[{}]", events.join(","));
        let seconds = (SystemClock.now().ms() / 1_000).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("a key");
        mac.update(format!("msg_1.{seconds}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let headers = [
            ("Content-Type", "application/cloudevents-batch+json"),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &signature),
        ];
        let path = self.url("IngestUrl", &format!("/events/{tenant}"));
        let (status, body) = post(&self.ministack.endpoint(), &path, &headers, &body);
        (
            status,
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        )
    }

    /// Where the emulator takes events in.
    pub(crate) fn ingest_url(&self) -> String {
        self.ministack.endpoint() + &self.url("IngestUrl", "")
    }

    /// Where the emulator has a path of a function's URL.
    fn url(&self, output: &str, path: &str) -> String {
        let url = self.outputs.get(output).expect("a URL");
        let id = url
            .strip_prefix("https://")
            .and_then(|rest| rest.split('.').next());
        format!("/_aws/lambda-url/{}{path}", id.expect("an id"))
    }

    /// What the function `console` answers to who has this token.
    pub(crate) fn console(&self, token: &str, path: &str) -> (u16, String) {
        let path = self.url("ConsoleUrl", path);
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        get(&self.ministack.endpoint(), &path, &headers)
    }

    /// Has something done through the console by who has this token.
    pub(crate) fn act(&self, token: &str, deed: &Value) -> (u16, String) {
        let path = self.url("ConsoleUrl", "/api/v1/act");
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        post(
            &self.ministack.endpoint(),
            &path,
            &headers,
            &deed.to_string(),
        )
    }

    /// Calls a function and returns what it answers.
    pub(crate) fn invoke(&self, output: &str, payload: &Value) -> Value {
        let function = self.outputs.get(output).expect(output);
        let script = format!(
            "import boto3, json, sys\n\
             lam = boto3.session.Session('test', 'test', region_name='us-east-1')\n\
             lam = lam.client('lambda', endpoint_url=sys.argv[1])\n\
             answer = lam.invoke(FunctionName={function:?}, Payload={:?})\n\
             print(answer['Payload'].read().decode())",
            payload.to_string()
        );
        ask(&self.ministack, &script)
    }

    /// Runs the command line on the stack.
    pub(crate) fn command(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldback"));
        command
            .args(args)
            .args(["--target", "aws", "--stack", "foldback"])
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL", self.ministack.endpoint())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        fed(command, b"")
    }

    /// The metrics that a function has written to its log, a line each.
    pub(crate) fn metrics(&self, function: &str) -> Vec<Value> {
        let lines = self.log_lines(function).into_iter();
        let lines = lines.filter(|line| line.contains("\"_aws\""));
        let lines = lines.map(|line| serde_json::from_str(&line).expect("JSON"));
        let lines: Vec<Value> = lines.collect();
        for line in &lines {
            assert_eq!(line.get("Stack"), Some(&json!("foldback")), "{line}");
        }
        lines
    }

    /// The newest lines of all functions' logs.
    pub(crate) fn logs(&self) -> String {
        const LINES: usize = 40;
        let lines = FUNCTIONS.iter().flat_map(|name| {
            let lines = self.log_lines(name);
            let older = lines.len().saturating_sub(LINES);
            lines.into_iter().skip(older)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The lines of a function's log.
    pub(crate) fn log_lines(&self, function: &str) -> Vec<String> {
        let script = format!(
            "import boto3, json, sys\n\
             logs = boto3.session.Session('test', 'test', region_name='us-east-1')\n\
             logs = logs.client('logs', endpoint_url=sys.argv[1])\n\
             pages = logs.get_paginator('filter_log_events')\n\
             pages = pages.paginate(logGroupName='/aws/lambda/foldback-{function}')\n\
             lines = [line for page in pages for event in page['events']\n\
             \x20        for line in event['message'].splitlines()]\n\
             print(json.dumps(lines))"
        );
        let lines = ask(&self.ministack, &script);
        let lines = lines.as_array().into_iter().flatten();
        lines
            .filter_map(|line| line.as_str().map(str::to_owned))
            .collect()
    }

    /// Waits until this is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test waits for other processes"
        )]
        let start = Instant::now();
        while !holds(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "{what}: {:?}\n{}",
                self.depth(),
                self.logs()
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "a test waits for other processes"
            )]
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until no message waits or is in flight. Says whether some were hidden until their visibility
    /// timeout ended, as what a killed function had in hand is.
    #[track_caller]
    pub(crate) fn until_drained(&self) -> bool {
        let mut before = (Depth::default(), 0);
        let mut passed = false;
        self.until("the queue is drained", |deployed| {
            let depth = deployed.depth();
            let same = if depth == before.0 { before.1 + 1 } else { 0 };
            before = (depth, same);
            if same == STANDSTILL_LOOKS && !passed {
                passed = true;
                // What a killed function had in hand stays hidden for minutes.
                deployed.ministack.pass(VISIBILITY_MS);
            }
            depth.visible + depth.in_flight == 0
        });
        passed
    }

    /// The queue's depth once it has stayed the same for some looks: what was on its way has arrived.
    #[track_caller]
    pub(crate) fn depth_at_rest(&self) -> Depth {
        let mut before = (Depth::default(), 0);
        self.until("the queue is at rest", |deployed| {
            let depth = deployed.depth();
            let same = if depth == before.0 { before.1 + 1 } else { 0 };
            before = (depth, same);
            same == REST_LOOKS
        });
        before.0
    }

    pub(crate) fn depth(&self) -> Depth {
        let depth = self.aws.depth(SystemClock.now());
        self.runtime.block_on(depth).expect("depth")
    }

    /// Every table in its canonical form.
    pub(crate) fn tables(&self) -> BTreeMap<&'static str, String> {
        self.runtime.block_on(async {
            let rows = Mongo::open(&self.mongo_uri(), Retention::default()).await;
            let rows = rows.expect("the rows");
            let mut tables = BTreeMap::new();
            for name in TABLES {
                let table = Table::ALL.into_iter().find(|table| table.name() == name);
                let mut text = String::new();
                let take = |row: &str| {
                    text.push_str(row);
                    text.push('\n');
                    Ok::<_, shared::ports::Error>(())
                };
                let export = rows.export(table.expect("a table"), None, take);
                export.await.expect("export");
                tables.insert(name, text);
            }
            tables
        })
    }

    /// The reports that are kept, the newest first.
    pub(crate) fn reports(&self) -> Vec<Value> {
        self.runtime.block_on(async {
            let rows = Mongo::open(&self.mongo_uri(), Retention::default()).await;
            let reports = rows.expect("the rows").reports(100).await;
            let reports = reports.expect("reports");
            reports.iter().map(|report| json!(report)).collect()
        })
    }

    /// Deletes the row of a lead.
    pub(crate) fn delete_lead(&self, tenant: &str, id: &str) {
        self.runtime.block_on(async {
            let rows = Mongo::open(&self.mongo_uri(), Retention::default()).await;
            let rows = rows.expect("the rows");
            let keys = rows.find(Some(tenant), id).await.expect("find");
            let key = keys.into_iter().find(|key| key.table == Table::RSLead);
            let read = rows.read(&[key.expect("a lead")], Reading::Row).await;
            let row = read.expect("read").remove(0);
            let away = Write {
                key: row.key,
                expected: Some(row.trail.version),
                put: None,
            };
            let committed = rows.commit(&[away], &[], SystemClock.now()).await;
            assert_eq!(committed.expect("commit"), [Committed::Done]);
        });
    }

    /// The replay runs that are kept, the newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.runtime.block_on(async {
            let rows = Mongo::open(&self.mongo_uri(), Retention::default()).await;
            let runs = rows.expect("the rows").runs(100).await.expect("runs");
            runs.iter().map(|(_, run)| json!(run)).collect()
        })
    }

    /// The processes that run a function at the moment.
    pub(crate) fn processes(&self, function: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let own = std::fs::read_dir("/proc").expect("processes");
        for process in own.flatten() {
            let Some(id) = process
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let says = |text: String| environment.split('\0').any(|one| one == text);
            let name = self.outputs.get(function).expect(function);
            if says(format!("AWS_LAMBDA_FUNCTION_NAME={name}"))
                && environment.contains(&self.ministack.endpoint())
            {
                found.push(id);
            }
        }
        found
    }
}

/// Puts a secret into Secrets Manager and returns its ARN.
fn make_secret(ministack: &Ministack, name: &str, text: &str) -> String {
    let input = json!({ "Name": name, "SecretString": text });
    let made = aws_call(&ministack.endpoint(), "secretsmanager.CreateSecret", &input);
    let arn = made.get("ARN").and_then(Value::as_str);
    arn.expect("an ARN").to_owned()
}

/// A function's binary as Lambda takes it: a zip that holds `bootstrap`.
fn zip(directory: &Path, function: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_foldback")).with_file_name(function);
    assert!(
        binary.exists(),
        "{} is missing: cargo test --workspace builds it",
        binary.display()
    );
    let path = directory.join(format!("{function}.zip"));
    let script = "import sys, zipfile\n\
                  info = zipfile.ZipInfo('bootstrap')\n\
                  info.external_attr = 0o100755 << 16\n\
                  info.compress_type = zipfile.ZIP_DEFLATED\n\
                  with zipfile.ZipFile(sys.argv[1], 'w') as zip, open(sys.argv[2], 'rb') as code:\n\
                  \x20   zip.writestr(info, code.read(), compresslevel=1)";
    let zipped = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .arg(&binary)
        .status()
        .expect("python3");
    assert!(zipped.success());
    path
}
