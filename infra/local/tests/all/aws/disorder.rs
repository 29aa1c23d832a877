use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use foldback_tests::servers::Collector;
use serde_json::{Value, json};
use shared::model::cloud_event;
use shared::ports::Queue;

use super::stack::{Deployed, STRANGERS_TOKEN, TOKEN};
use crate::support::{Dataset, Disorder};

const LEADS: usize = 120;
const DAY_MS: i64 = 86_400_000;
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
    "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "time":"2026-03-01T09:30:00Z","partitionkey":"poisoned","data":{"price":"12x"}}"#;

/// The trace of the poison event.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

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
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let parameters = [
        ("OtlpEndpoint", endpoint.as_str()),
        ("ReplaySchedule", "rate(1 day)"),
        ("ReportSchedule", "rate(1 day)"),
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
    kill_in_mid_batch(&deployed);
    send(&deployed, second);
    say_something_unreadable(&deployed);
    let stood_still = deployed.until_drained();
    assert!(stood_still, "what was killed had nothing in hand");

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

    look_at_the_console(&deployed);
    heal(&deployed, &dataset);
    // All as before, and the healed lead beside it.
    dataset.check_tables(&without_the_poisoned(deployed.tables()));
    check_replay(&deployed, 0);
    lose_and_mend(&deployed, &tenant(lines.first().expect("an event")));
    dataset.check_tables(&without_the_poisoned(deployed.tables()));
    check_the_schedules(&deployed, lines.len());
    check_trace(&collector);
    let log = deployed.log_lines("process");
    let mut told = log
        .iter()
        .filter(|line| line.contains("an event is parked"));
    assert!(
        told.any(|line| line.contains(TRACE)),
        "its line carries its trace"
    );
}

/// The poison event's trace tells how it was taken in, parked with its reason, and in the end became a row.
fn check_trace(collector: &Collector) {
    let spans = collector.wait_for(TRACE, |spans| {
        spans.iter().any(|span| span.name == "write RSLead")
    });
    let named = |name: &'static str| spans.iter().filter(move |span| span.name == name);
    let taken = named("POST /events/{tenant}").next().expect("a request");
    assert_eq!(taken.parent, "b7ad6b7169203331", "its sender's");
    let created = named("create actions").next().expect("a message");
    assert_eq!(created.parent, taken.id);
    let tries: Vec<_> = named("process actions").collect();
    assert!(
        tries.iter().all(|span| span.parent == created.id),
        "{spans:#?}"
    );
    let reasons = tries.iter().filter_map(|span| span.error.as_deref());
    assert!(
        reasons.clone().any(|why| why.starts_with("amount: ")),
        "{spans:#?}"
    );
    let done = tries
        .iter()
        .find(|span| span.error.is_none())
        .expect("a try that went well");
    let action = named("apply RSLead").next().expect("an action");
    assert_eq!(action.parent, done.id);
    let write = named("write RSLead").next().expect("a write");
    assert_eq!(write.parent, action.id);
    assert_eq!(
        write.attributes.get("db.system.name").map(String::as_str),
        Some("mongodb")
    );
}

/// Kills what runs the function `process` with `kill -9` while a batch is in its hands.
fn kill_in_mid_batch(deployed: &Deployed) {
    deployed.until("a batch is worked on", |deployed| {
        let processes = deployed.processes("ProcessFunction");
        signal("-STOP", &processes);
        // A process that is stopped answers nothing: what stays in flight is its.
        let in_hand = !processes.is_empty() && deployed.depth_at_rest().in_flight > 0;
        signal(if in_hand { "-KILL" } else { "-CONT" }, &processes);
        in_hand
    });
    assert!(deployed.depth().in_flight > 0, "nobody answered for it");
}

fn signal(signal: &str, processes: &[u32]) {
    for id in processes {
        let sent = Command::new("kill")
            .args([signal, &id.to_string()])
            .status();
        assert!(sent.expect("kill").success());
    }
}

/// The tables without the rows of the lead that had a poison event.
fn without_the_poisoned(
    mut tables: BTreeMap<&'static str, String>,
) -> BTreeMap<&'static str, String> {
    for text in tables.values_mut() {
        let lines = text.lines().filter(|line| !line.contains("poisoned"));
        *text = lines.map(|line| format!("{line}\n")).collect();
    }
    tables
}

/// A row that somebody deleted is found by the fan-out, mended by a call for its id alone, and found no more.
fn lose_and_mend(deployed: &Deployed, tenant: &str) {
    let tables = deployed.tables();
    let leads = tables.get("RSLead").expect("a table").lines();
    let mut leads = leads.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lead = leads.find(|row| row.get("tenant") == Some(&json!(tenant)));
    let lead = lead.expect("a lead of the tenant");
    let id = lead.get("leadId").and_then(Value::as_str).expect("an id");
    deployed.delete_lead(tenant, id);
    let run = check_replay(deployed, 1);
    let missing = json!({ "missing": { "RSLead": 1 } });
    assert_eq!(run.get("byClass"), Some(&missing));
    let repair = json!({ "deed": "repair", "tenant": tenant, "id": id });
    let mended = act(deployed, &repair);
    assert_eq!(mended.get("count"), Some(&json!(1)), "{mended}");
    let runs = deployed.runs().len();
    let began = act(deployed, &json!({ "deed": "replay" }));
    assert_eq!(began.get("partitions"), Some(&json!(4)), "{began}");
    deployed.until("the replay is done", |deployed| {
        deployed.runs().len() > runs
    });
    let run = deployed.runs().remove(0);
    assert_eq!(run.get("findings"), Some(&json!(0)), "{run}");
}

/// A day later both schedules are due: a replay is run and a report is kept, with all that it should say.
fn check_the_schedules(deployed: &Deployed, sent: usize) {
    let runs = deployed.runs().len();
    assert_eq!(deployed.reports(), [] as [Value; 0]);
    deployed.ministack.pass(DAY_MS);
    deployed.until("the scheduled report is kept", |deployed| {
        !deployed.reports().is_empty()
    });
    deployed.until("the scheduled replay is done", |deployed| {
        deployed.runs().len() > runs
    });
    let report = deployed.invoke("ReportFunction", &json!({}));
    let queue = json!({ "visible": 0, "inFlight": 0, "dead": 1 });
    assert_eq!(report.get("queue"), Some(&queue));
    assert_eq!(report.pointer("/lastRun/findings"), Some(&json!(0)));
    let tables = deployed.tables();
    for table in ["RSLead", "RSAppointment", "RSTenantDailyConversions"] {
        let rows = tables.get(table).expect("a table").lines().count();
        let told = report.pointer(&format!("/rows/{table}"));
        assert_eq!(told, Some(&json!(rows)), "{table}");
    }
    let traffic = report.get("traffic").and_then(Value::as_array);
    let traffic = traffic.expect("traffic");
    let sum = |name: &str| -> u64 {
        traffic
            .iter()
            .filter_map(|hour| hour.get(name)?.as_u64())
            .sum()
    };
    assert!(
        sum("events") + sum("held") + sum("unmapped") >= 9 * sent as u64 / 10,
        "{traffic:?}"
    );
    assert!(
        sum("late") > 0 && sum("waitedSecondsMax") > 0,
        "{traffic:?}"
    );
    let missing = report.pointer("/indexes/missing");
    assert_eq!(missing, Some(&json!([])));
    let plans = report.pointer("/indexes/plans").and_then(Value::as_array);
    assert!(!plans.expect("plans").is_empty());
    let notes = report.get("notes").expect("notes").to_string();
    let usage = report.pointer("/indexes/usage").is_some();
    assert!(usage || notes.contains("$indexStats"), "{notes}");
    check_metrics(deployed, sent);
}

/// What the alarms go by is in the logs.
fn check_metrics(deployed: &Deployed, sent: usize) {
    let sum = |lines: &[Value], name: &str| -> f64 {
        let values = lines.iter().filter_map(|line| line.get(name)?.as_f64());
        values.sum()
    };
    let process = deployed.metrics("process");
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let least = (9 * sent / 10) as f64;
    assert!(sum(&process, "EventsProcessed") >= least);
    assert!(sum(&process, "MessagesReceived") > 0.0);
    assert!(sum(&process, "EventsParked") >= 1.0);
    assert!(sum(&process, "LateEvents") > 0.0);
    let whole = process.iter().filter(|line| {
        let names = ["MessagesReceived", "MessagesFailed", "QueueAge", "EndToEnd"];
        names.iter().all(|name| line.get(name).is_some())
    });
    assert!(whole.count() > 0, "{process:?}");
    let replay = deployed.metrics("replay");
    assert!(replay.len() >= 5, "each run of everything");
    let missing = json!("missing");
    let missing = replay
        .iter()
        .filter(|line| line.get("Class") == Some(&missing))
        .filter(|line| line.get("Findings") == Some(&json!(1.0)));
    assert_eq!(missing.count(), 1, "{replay:?}");
    let findings = sum(&replay, "Findings");
    assert!((0.5..1.5).contains(&findings), "one row, by its class");
    let report = deployed.metrics("report");
    let mut faults = report.iter().filter_map(|line| line.get("IndexFaults"));
    assert_eq!(faults.next_back(), Some(&json!(0.0)));
    assert!(
        report
            .iter()
            .any(|line| line.get("QueueMessages").is_some())
    );
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

/// Who has the token sees what failed and why; who has another sees nothing.
fn look_at_the_console(deployed: &Deployed) {
    for path in ["/", "/jobs", "/api/v1/jobs?state=failed"] {
        let (status, said) = deployed.console("not the token, but as long as it", path);
        assert!(status == 401 || status == 303, "{path}: {status} {said}");
        assert!(!said.contains("poison"), "{path}: {said}");
    }
    let (status, overview) = deployed.console(TOKEN, "/");
    assert_eq!(status, 200, "{overview}");
    assert!(overview.contains("Overview"), "{overview}");
    let (status, failed) = deployed.console(TOKEN, "/api/v1/jobs?state=failed");
    assert_eq!(status, 200, "{failed}");
    assert!(
        failed.contains("\"poison\"") && failed.contains("amount"),
        "{failed}"
    );
    let (status, entity) = deployed.console(TOKEN, "/entity?id=poisoned");
    assert_eq!(status, 200, "{entity}");
    let (status, failed) = deployed.console(STRANGERS_TOKEN, "/api/v1/jobs?state=failed");
    assert_eq!(status, 200, "{failed}");
    assert!(!failed.contains("poison"), "another tenant's: {failed}");
    let (status, entity) = deployed.console(STRANGERS_TOKEN, "/entity?id=poisoned");
    assert!(!entity.contains("X_PRICED"), "{status} {entity}");
    let redrive = json!({ "deed": "redrive", "letters": "all" });
    let (status, said) = deployed.act(STRANGERS_TOKEN, &redrive);
    assert_eq!(status, 403, "{said}");
}

/// Has something done through the console.
fn act(deployed: &Deployed, deed: &Value) -> Value {
    let (status, said) = deployed.act(TOKEN, deed);
    assert_eq!(status, 200, "{said}");
    serde_json::from_str(&said).expect("JSON")
}

/// With the rule mended, the letter goes back and its row follows.
fn heal(deployed: &Deployed, dataset: &Dataset) {
    assert!(!poisoned(deployed));
    let put = json!({ "deed": "settings", "text": settings(dataset, RIGHT), "format": "toml" });
    let put = act(deployed, &put);
    assert_eq!(put.get("count"), Some(&json!(2)), "the version: {put}");
    #[expect(
        clippy::disallowed_methods,
        reason = "functions may go on with the old ones for a second"
    )]
    std::thread::sleep(std::time::Duration::from_secs(2));
    let letters = deployed.aws.dead_letters(0, 100);
    let letters = deployed.runtime.block_on(letters).expect("letters");
    let poison = letters.iter().find(|one| !one.message.entries.is_empty());
    let number = poison.expect("the poison").id.to_string();
    let listed = deployed.command(&["dlq", "list"]);
    assert!(listed.stdout.contains("poison"), "{listed:?}");
    let sent = act(deployed, &json!({ "deed": "redrive", "letters": number }));
    assert_eq!(sent.get("count"), Some(&json!(1)), "{sent}");
    deployed.until_drained();
    deployed.until("the row is there", poisoned);
}

/// Whether the poisoned lead has a row.
fn poisoned(deployed: &Deployed) -> bool {
    let tables = deployed.tables();
    let leads = tables.get("RSLead");
    leads.is_some_and(|leads| leads.contains("poisoned"))
}
