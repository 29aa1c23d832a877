//! No command ever says a secret, whatever goes wrong and however loud it is asked to be.

use std::fs::File;
use std::process::Command;

use foldback_tests::servers::{Secantus, User, free_port};

use crate::serve::{Answer, Serving, event};
use crate::support::Foldback;

const PASSWORD: &str = "sw0rdfish";
const KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLETOKEN";
const WEBHOOK: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const CONSOLE: &str = "console-EXAMPLE-9d41c7f02b6e";
const OF_ACME: &str = "acme-EXAMPLE-3f7a90c1d5e8b264";
const COLLECTOR: &str = "collector-EXAMPLE-b81c";

/// Everything there is to say, and nobody there to say it to.
fn loud(mut command: Command) -> Command {
    command
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env(
            "AWS_ENDPOINT_URL",
            format!("http://127.0.0.1:{}", free_port()),
        )
        .env("ACME_WEBHOOK_SECRET", format!("whsec_{WEBHOOK}"));
    command
}

fn says_no_secret(mut command: Command) -> String {
    let output = command.output().expect("it starts");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    holds_no_secret(&format!("{command:?}"), &said);
    said
}

#[track_caller]
fn holds_no_secret(what: &str, said: &str) {
    for secret in [PASSWORD, KEY, TOKEN, WEBHOOK, CONSOLE, OF_ACME, COLLECTOR] {
        assert!(!said.contains(secret), "{what} says {secret}: {said}");
    }
}

const COMMANDS: [&[&str]; 18] = [
    &["run"],
    &["replay"],
    &["replay", "--mode", "update"],
    &["runs"],
    &["report"],
    &["indexes", "--create"],
    &["check"],
    &["rejects"],
    &["dlq", "list"],
    &["dlq", "redrive"],
    &["dlq", "discard", "--all"],
    &["adopt", "RSLead"],
    &["trace", "lead-1"],
    &[
        "query",
        "changes",
        "--tenant",
        "acme",
        "--appointment",
        "m1",
    ],
    &["settings", "show"],
    &["export", "RSLead"],
    &["show", "lead-1"],
    &[
        "query",
        "conversions",
        "--tenant",
        "acme",
        "--lead",
        "lead-1",
    ],
];

#[test]
fn with_a_mongodb_that_is_not_there() {
    let uri = format!(
        "mongodb://ann:{PASSWORD}@127.0.0.1:{}/crm?serverSelectionTimeoutMS=50&connectTimeoutMS=50",
        free_port()
    );
    for args in COMMANDS {
        let foldback = Foldback::over(uri.clone());
        says_no_secret(loud(foldback.command(args)));
        let plain = Foldback::new();
        let given = [args, &["--mongodb", &uri]].concat();
        let said = says_no_secret(loud(plain.command(&given)));
        assert!(!said.is_empty(), "{args:?}");
    }
}

#[test]
fn with_a_stack_that_is_not_there() {
    for args in COMMANDS {
        let foldback = Foldback::new();
        let there = [args, &["--target", "aws", "--stack", "foldback"]].concat();
        let said = says_no_secret(loud(foldback.command(&there)));
        assert!(!said.is_empty(), "{args:?}");
    }
}

/// Settings name secrets; what a person sees of them are the names.
#[test]
fn with_settings_that_name_secrets() {
    let settings = "version = 1\n[[tenant]]\nids = [\"acme\"]\nmap = [{ type = \"*\", to = \"lead.updated\" }]\n\
                    webhook = { secrets = [{ env = \"ACME_WEBHOOK_SECRET\" }] }\n";
    let foldback = Foldback::new();
    let file = foldback.file("settings.toml", settings);
    let none = foldback.file("none.jsonl", "");
    for args in [
        &["settings", "check", &file][..],
        &["run", &none, "--settings", &file],
        &["settings", "show"],
        &["check", "--json"],
        &["report", "--json"],
    ] {
        says_no_secret(loud(if args[1] == "check" {
            bare(&foldback, args)
        } else {
            foldback.command(args)
        }));
    }
    // One that was put where its name belongs is not printed back.
    let wrong = settings.replace(
        "{ env = \"ACME_WEBHOOK_SECRET\" }",
        &format!("\"whsec_{WEBHOOK}\""),
    );
    let file = foldback.file("wrong.toml", &wrong);
    says_no_secret(loud(bare(&foldback, &["settings", "check", &file])));
}

/// A command that takes no data directory.
fn bare(foldback: &Foldback, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foldback"));
    command.args(args).current_dir(foldback.scratch.path());
    command
}

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme"]
map = [{ type = "*", to = "lead.updated" }]
set = { stage = { pointer = "/stage" } }
webhook = { secrets = [{ env = "ACME_WEBHOOK_SECRET" }] }
[[tenant]]
ids = ["globex"]
map = [{ type = "*", to = "lead.updated" }]
set = { amount = { pointer = "/amount" } }
webhook = { unsigned = true }
"#;

/// A server that knows all of the secrets, its log in a file.
fn serving(foldback: &Foldback, log: &File) -> Serving {
    let settings = foldback.file("settings.toml", SETTINGS);
    let tokens = format!("[[token]]\nname = \"ann\"\ntenant = \"acme\"\ntoken = \"{OF_ACME}\"\n");
    let tokens = foldback.file("tokens.toml", &tokens);
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--settings",
        &settings,
        "--token-file",
        &tokens,
    ];
    let mut command = loud(foldback.command(&args));
    // A collector that is not there, and would ask for a password.
    let collector = format!("http://ann:{COLLECTOR}@127.0.0.1:{}", free_port());
    command
        .env("FOLDBACK_CONSOLE_TOKEN", CONSOLE)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("authorization=Bearer%20{COLLECTOR}"),
        )
        .stderr(log.try_clone().expect("another handle"));
    Serving::start_as(command)
}

const PAGES: [&str; 25] = [
    "/",
    "/jobs",
    "/jobs?state=failed",
    "/jobs?text=twelve",
    "/job?tenant=globex&group=lead-9&source=%2F%2Fcrm&event=lead-9-0",
    "/entity?id=lead-9",
    "/findings",
    "/findings?run=1",
    "/settings",
    "/settings?version=1&against=1",
    "/audit",
    "/nothing",
    "/metrics",
    "/healthz",
    "/sign-in?to=/jobs",
    "/api/openapi.json",
    "/api/v1/overview",
    "/api/v1/jobs",
    "/api/v1/job?tenant=globex&group=lead-9&source=%2F%2Fcrm&event=lead-9-0",
    "/api/v1/entity?id=lead-9",
    "/api/v1/runs",
    "/api/v1/runs/1/findings",
    "/api/v1/settings",
    "/api/v1/audit",
    "/api/v1/act",
];

fn answered(what: &str, answer: &Answer) {
    // A session names its token by a hash, and lower-case is how headers are read here.
    let said = format!("{}\n{}", answer.headers, answer.body);
    holds_no_secret(what, &said);
    let lower = said.to_lowercase();
    for secret in [CONSOLE, OF_ACME, COLLECTOR] {
        let secret = secret.to_lowercase();
        assert!(!lower.contains(&secret), "{what} says {secret}: {said}");
    }
}

/// Asks for every page with each of the tokens, and for every deed; how many pages were shown, and how many failed.
fn ask_for_all(serving: &Serving, tokens: &[&str]) -> (usize, usize) {
    let (mut shown, mut failed) = (0, 0);
    for token in tokens {
        let bearer = format!("authorization: Bearer {token}\r\n");
        for path in PAGES {
            let answer = serving.request("GET", path, &bearer, "");
            shown += usize::from(answer.status == 200);
            failed += usize::from(answer.status >= 500);
            answered(path, &answer);
        }
        let headers = format!("content-type: application/json\r\n{bearer}");
        for deed in ["redrive", "replay", "repair", "settings", "nothing"] {
            let body =
                format!("{{\"deed\":\"{deed}\",\"letters\":\"all\",\"text\":\"version = 2\"}}");
            let answer = serving.request("POST", "/api/v1/act", &headers, &body);
            answered(deed, &answer);
        }
        // Whoever signs in, rightly or not, is not told what he typed.
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        for typed in [(*token).to_owned(), format!("{token}x")] {
            let body = format!("token={typed}");
            let answer = serving.request("POST", "/sign-in", form, &body);
            answered("sign-in", &answer);
        }
    }
    let signature = "webhook-id: 1\r\nwebhook-timestamp: 1\r\nwebhook-signature: v1,AAAA\r\n\
                     content-type: application/cloudevents+json\r\n";
    let body = event("lead-1", 0, "lead.created").to_string();
    let refused = serving.request("POST", "/events/acme", signature, &body);
    assert_eq!(refused.status, 401, "{refused:?}");
    answered("a webhook", &refused);
    (shown, failed)
}

/// What a server writes to its log, its pages and its metrics.
#[test]
fn of_a_server_and_its_console() {
    let foldback = Foldback::new();
    let path = foldback.scratch.path().join("log");
    let log = File::create(&path).expect("a log");
    let serving = serving(&foldback, &log);
    let mut poison = event("lead-9", 0, "lead.created");
    poison["data"] = serde_json::json!({"amount": "twelve"});
    assert_eq!(serving.event("globex", &poison).status, 202);
    let (shown, failed) = ask_for_all(&serving, &["", CONSOLE, OF_ACME]);
    assert!(
        shown > 35 && failed == 0,
        "{shown} pages were shown, {failed} failed"
    );
    assert_eq!(serving.end("-TERM"), 0);
    let said = std::fs::read_to_string(path).expect("a log");
    assert!(said.contains("traces are lost"), "{said}");
    holds_no_secret("the log", &said);
}

/// Of one whose rows are in a database that asks for a password, while it is there and when it is gone.
#[test]
fn of_a_server_over_mongodb() {
    let users = [User {
        name: "ann",
        password: PASSWORD,
        role: "readWrite",
    }];
    let mut server = Secantus::start_with_users("rows", &users);
    let uri = format!(
        "mongodb://ann:{PASSWORD}@127.0.0.1:{}/rows?directConnection=true&serverSelectionTimeoutMS=300",
        server.port()
    );
    let foldback = Foldback::over(uri);
    let path = foldback.scratch.path().join("log");
    let log = File::create(&path).expect("a log");
    let serving = serving(&foldback, &log);
    let lead = |minute| serving.event("globex", &event("lead-1", minute, "lead.updated"));
    assert_eq!(lead(0).status, 202);
    let row = |_look| {
        let bearer = format!("authorization: Bearer {CONSOLE}\r\n");
        let seen = serving.request("GET", "/api/v1/entity?id=lead-1", &bearer, "");
        seen.body.contains("\"events\":1")
    };
    assert!((0..3_000).any(row), "the row is never there");
    server.kill();
    answered("an event", &lead(1));
    let (_, failed) = ask_for_all(&serving, &[CONSOLE]);
    assert!(failed > 0, "nothing needs the database");
    let ended = serving.end("-TERM");
    let said = std::fs::read_to_string(path).expect("a log");
    assert!(said.contains("127.0.0.1"), "{ended}: {said}");
    holds_no_secret("the log", &said);
    // And when it is started anew, or may not come in.
    for password in [PASSWORD, "sw0rdfish-2"] {
        let wrong = foldback
            .mongodb
            .as_ref()
            .map(|uri| uri.replace(PASSWORD, password));
        let mut command = foldback.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("FOLDBACK_MONGODB", wrong.expect("a URI"));
        let said = says_no_secret(loud(command));
        assert!(said.contains("127.0.0.1"), "{said}");
    }
}
