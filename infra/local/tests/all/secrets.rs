//! No command ever says a secret, whatever goes wrong and however loud it is asked to be.

use std::process::Command;

use foldback_tests::servers::free_port;

use crate::support::Foldback;

const PASSWORD: &str = "sw0rdfish";
const KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEXAMPLETOKEN";
const WEBHOOK: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

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
    for secret in [PASSWORD, KEY, TOKEN, WEBHOOK] {
        assert!(!said.contains(secret), "{command:?} says {secret}: {said}");
    }
    said
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
