use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use shared::adapters::SystemClock;
use shared::model::cloud_event;
use shared::ports::{Clock, Queue};

use super::stack::Deployed;
use crate::support::{Dataset, Disorder};

const LEADS: usize = 120;
/// How many events a request carries.
const REQUEST_EVENTS: usize = 100;
/// What every tenant's settings say about webhooks.
const WEBHOOK: &str =
    r#"webhook = { secrets = [{ secretsmanager = "foldback/webhook/{tenant}" }] }"#;
/// A rule whose amount no event can have.
const WRONG: &str = "
[[tenant.map]]
type = \"X_PRICED\"
to = \"lead.updated\"
set = { amount = { pointer = \"/price\" } }
";
const RIGHT: &str = "
[[tenant.map]]
type = \"X_PRICED\"
to = \"lead.updated\"
set = { stage = { const = \"priced\" } }
";
const POISON: &str = r#"{"specversion":"1.0","id":"poison","source":"//crm","type":"X_PRICED",
    "time":"2026-03-01T09:30:00Z","partitionkey":"poisoned","data":{"price":"12x"}}"#;

/// The settings of a data set, with webhooks and one more rule. All tenants share one part of them.
fn settings(dataset: &Dataset, rule: &str) -> String {
    let text = std::fs::read_to_string(dataset.settings()).expect("settings");
    assert_eq!(text.matches("\n[[tenant]]\n").count(), 1);
    text.replace("\n[[tenant]]\n", &format!("\n[[tenant]]\n{WEBHOOK}\n")) + rule
}

fn tenant(line: &str) -> String {
    let event = cloud_event::parse(line.as_bytes()).expect("an event");
    event.tenant.expect("a tenant").to_string()
}

/// Sends events in requests of one tenant each, in the order given.
fn send(deployed: &Deployed, lines: &[String]) {
    let mut tenants: Vec<String> = lines.iter().map(|line| tenant(line)).collect();
    tenants.sort();
    tenants.dedup();
    for tenant_id in tenants {
        let own: Vec<&str> = lines
            .iter()
            .filter(|line| tenant(line) == tenant_id)
            .map(String::as_str)
            .collect();
        for events in own.chunks(REQUEST_EVENTS) {
            let (status, answer) = deployed.webhook(&tenant_id, events);
            assert_eq!(status, 202, "{answer}\n{}", deployed.logs());
        }
    }
}

/// Everything at once: events in a random order and a tenth of them twice, a function killed in the middle
/// of its batches, a poison event and a message that nobody can read; all under the roles of the template.
#[test]
fn tables_end_up_right_whatever_happens_to_the_functions() {
    let dataset = Dataset::of_leads(LEADS);
    let mut disorder = Disorder::new(4);
    let again = dataset.lines.iter().filter(|_| disorder.below(10) == 0);
    let again: Vec<String> = again.cloned().collect();
    let mut lines = [dataset.lines.clone(), again].concat();
    disorder.shuffle(&mut lines);
    let parameters = [
        ("ReplaySchedule", "at(2099-01-01T00:00:00)"),
        ("GraceSeconds", "1"),
        ("SettingsSeconds", "1"),
        ("ReplayPartitions", "4"),
    ];
    let tenants: BTreeSet<String> = lines.iter().map(|line| tenant(line)).collect();
    let deployed = Deployed::new(&settings(&dataset, WRONG), &tenants, &parameters);

    let (first, second) = lines.split_at(lines.len() / 2);
    send(&deployed, first);
    let (status, answer) = deployed.webhook(&tenant(lines.first().expect("an event")), &[POISON]);
    assert_eq!(status, 202, "{answer}");
    let killed = kill_while_it_works(&deployed);
    send(&deployed, second);
    say_something_unreadable(&deployed);
    assert!(killed > 0, "nothing was killed");
    deployed.until_drained();

    let letters = deployed.aws.dead_letters(0, 100);
    let letters = deployed.runtime.block_on(letters).expect("letters");
    let mut reasons: Vec<&str> = letters.iter().map(|one| one.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 2, "{reasons:#?}");
    let begins = ["amount: ", "not a message of Foldback"];
    let as_expected = reasons
        .iter()
        .zip(begins)
        .all(|(one, begin)| one.starts_with(begin));
    assert!(as_expected, "{reasons:#?}");
    dataset.check_tables(&deployed.tables());
    check_replay(&deployed, 0);

    heal(&deployed, &dataset);
    let report = deployed.invoke("ReportFunction", &json!({}));
    assert_eq!(
        report.get("queue"),
        Some(&json!({ "visible": 0, "inFlight": 0, "dead": 1 }))
    );
    assert!(report.pointer("/lastRun/finished").is_some(), "{report}");
}

/// Kills what runs the function `process` with `kill -9` while messages are in flight; says how many.
fn kill_while_it_works(deployed: &Deployed) -> usize {
    deployed.until("a batch is worked on", |deployed| {
        deployed.depth().in_flight > 0 && !deployed.processes("ProcessFunction").is_empty()
    });
    let processes = deployed.processes("ProcessFunction");
    for id in &processes {
        let killed = Command::new("kill").args(["-9", &id.to_string()]).status();
        assert!(killed.expect("kill").success());
    }
    processes.len()
}

fn say_something_unreadable(deployed: &Deployed) {
    let input = json!({
        "QueueUrl": deployed.outputs.get("QueueUrl"),
        "MessageBody": "hello",
        "MessageGroupId": "west#nobody",
        "MessageDeduplicationId": "hello",
    });
    let endpoint = deployed.ministack.endpoint();
    let _sent = foldback_tests::servers::aws_call(&endpoint, "AmazonSQS.SendMessage", &input);
}

/// Replays everything over its partitions and waits for the sum.
fn check_replay(deployed: &Deployed, findings: u64) -> Value {
    let before = deployed.runs();
    let began = deployed.invoke("ReplayFunction", &json!({ "mode": "report" }));
    assert_eq!(began.get("partitions"), Some(&json!(4)), "{began}");
    deployed.until("the replay is done", |deployed| {
        deployed.runs().len() > before.len()
    });
    let run = deployed.runs().remove(0);
    assert_eq!(run.get("findings"), Some(&json!(findings)), "{run}");
    run
}

/// With the rule mended, the letter goes back and its row follows.
fn heal(deployed: &Deployed, dataset: &Dataset) {
    assert!(!poisoned(deployed));
    deployed.put_settings(&settings(dataset, RIGHT));
    #[expect(
        clippy::disallowed_methods,
        reason = "functions may go on with the old ones for a second"
    )]
    std::thread::sleep(std::time::Duration::from_secs(2));
    let letters = deployed.aws.dead_letters(0, 100);
    let letters = deployed.runtime.block_on(letters).expect("letters");
    let poison = letters.iter().find(|one| !one.message.entries.is_empty());
    let chosen = [poison.expect("the poison").id];
    let redriven = deployed.aws.redrive(&chosen, SystemClock.now());
    assert_eq!(deployed.runtime.block_on(redriven).expect("redrive"), 1);
    deployed.until_drained();
    deployed.until("the row is there", poisoned);
}

/// Whether the poisoned lead has a row.
fn poisoned(deployed: &Deployed) -> bool {
    let tables = deployed.tables();
    let leads = tables.get("RSLead");
    leads.is_some_and(|leads| leads.contains("poisoned"))
}
