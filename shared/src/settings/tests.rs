use super::*;
use crate::model::cloud_event;

const BPIC: &str = include_str!("../../../tests/fixtures/bpic2012.toml");

const SMALL: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "call.*"
to = "lead.updated"
set = { stage = { capture = 1, lower = true }, amount = { pointer = "/price" } }
"#;

fn compile(text: &str) -> Result<Settings, SettingsError> {
    Settings::compile(text, Format::Toml, 1)
}

fn map(settings: &str, tenant: &str, kind: &str, data: &str) -> Mapping {
    let text = format!(
        r#"{{"specversion":"1.0","id":"1","source":"//crm","type":"{kind}",
            "time":"2026-03-01T09:30:00Z","data":{data}}}"#
    );
    let event = cloud_event::parse(text.as_bytes()).expect("an event");
    compile(settings)
        .expect("settings")
        .tenant(tenant)
        .expect("a tenant")
        .map(&event)
}

#[test]
fn the_first_rule_of_the_file_decides() {
    let kind_of = |kind: &str| match map(BPIC, "east", kind, r#"{"workItem":"7/x"}"#) {
        Mapping::Mapped(Meaning::Event(mapped)) => format!(
            "{} stage={:?} kind={:?} conversions={:?}",
            mapped.kind,
            mapped.fields.stage.unwrap_or_default(),
            mapped.fields.kind.unwrap_or_default(),
            mapped
                .conversions
                .iter()
                .map(|hit| hit.name.as_str())
                .collect::<Vec<_>>(),
        ),
        other @ (Mapping::Mapped(Meaning::Baseline(_)) | Mapping::Unmapped | Mapping::Fault(_)) => {
            format!("{other:?}")
        }
    };
    let expect = expect_test::expect![[r#"
        lead.created stage="submitted" kind="" conversions=["submitted"]
        lead.updated stage="partlysubmitted" kind="" conversions=[]
        lead.closed stage="declined" kind="" conversions=[]
        lead.updated stage="" kind="" conversions=["offer"]
        appointment.completed stage="" kind="Valideren-aanvraag" conversions=["appointment"]
        Unmapped
    "#]];
    let kinds = [
        "A_SUBMITTED.COMPLETE",
        "A_PARTLYSUBMITTED.COMPLETE",
        "A_DECLINED.COMPLETE",
    ]
    .into_iter()
    .chain(["O_SENT.COMPLETE", "W_Valideren-aanvraag.COMPLETE", "X"]);
    expect.assert_eq(&kinds.map(|kind| kind_of(kind) + "\n").collect::<String>());
}

#[test]
fn a_wrong_field_is_a_fault_that_says_which() {
    let fault = |data: &str| format!("{:?}", map(SMALL, "acme", "call.Won", data));
    assert_eq!(
        fault(r#"{"price":"12x"}"#),
        r#"Fault("amount: \"12x\" is not a decimal number")"#
    );
    assert!(fault(r#"{"price":null}"#).contains(r#"stage: Some("won"), amount: None"#));
    assert_eq!(
        format!("{:?}", map(BPIC, "east", "W_a.START", "{}")),
        r#"Fault("appointmentId: the data has no text at /workItem")"#
    );
}

#[test]
fn the_group_is_the_partition_key_or_the_field_the_settings_name() {
    let settings = SMALL.replace("ids =", "partition_key = \"/lead/id\"\nids =");
    let group = |settings: &str, extra: &str, data: &str| {
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",
                "time":"2026-03-01T09:30:00Z"{extra},"data":{data}}}"#
        );
        let event = cloud_event::parse(text.as_bytes()).expect("an event");
        let settings = compile(settings).expect("settings");
        let group = settings
            .tenant("acme")
            .expect("acme")
            .group(&"acme".into(), &event);
        group.map_or_else(
            |refusal| refusal.reason.label().to_owned(),
            |group| group.to_string(),
        )
    };
    assert_eq!(group(SMALL, r#","partitionkey":"7""#, "{}"), "acme#7");
    assert_eq!(group(SMALL, "", r#"{"lead":{"id":8}}"#), "no partition key");
    assert_eq!(group(&settings, "", r#"{"lead":{"id":8}}"#), "acme#8");
    assert_eq!(group(&settings, "", "{}"), "no partition key");
}

/// A broken file is refused with the line and the reason.
#[track_caller]
fn refused(from: &str, to: &str, expect: &[&str]) {
    assert!(
        SMALL.contains(from),
        "{from:?} is not in the small settings"
    );
    let error = compile(&SMALL.replacen(from, to, 1))
        .expect_err(to)
        .to_string();
    for part in expect {
        assert!(error.contains(part), "{error}\n lacks {part:?}");
    }
}

#[test]
fn a_broken_file_is_refused_with_its_place() {
    refused(
        "version = 1",
        "version = 2",
        &["line 2", "settings format 2 is not known"],
    );
    refused("version = 1", "", &["missing field `version`"]);
    refused(
        "ids =",
        "colour = 1\nids =",
        &["line 4", "unknown field `colour`"],
    );
    refused(r#"["acme"]"#, "[]", &["line 3", "ids must name 1 to"]);
    refused(r#"["acme"]"#, r#"["a#b"]"#, &["no '#'"]);
    refused(
        r#"["acme"]"#,
        r#"["acme", "acme"]"#,
        &["tenant \"acme\" is given twice"],
    );
    refused(
        "lead.updated",
        "lead.gone",
        &["line 7", "unknown variant `lead.gone`"],
    );
    refused("/price", "price", &["line 8", "does not start with '/'"]);
    refused(
        "capture = 1",
        "capture = 2",
        &["takes capture 2", "has 1 wildcard"],
    );
    refused(
        "capture = 1,",
        "",
        &["line 8", "exactly one of pointer, capture and const"],
    );
    refused(
        "lead.updated",
        "appointment.started",
        &["sets no appointmentId"],
    );
    refused(
        "{ stage",
        "{ colour",
        &["line 8", "unknown variant `colour`"],
    );
    refused(
        "[[tenant.map]]",
        "[tenant.map]",
        &["line 5", "invalid type: map"],
    );
    refused(
        "[[tenant.map]]",
        "[tenant.tables.RSLead]\npolicy = \"atomic\"\n[[tenant.map]]",
        &["tables.RSLead: policy atomic needs a commutative handler"],
    );
    refused(
        "[[tenant.map]]",
        "[[tenant.conversion]]\nname = \"x\"\n[[tenant.map]]",
        &[
            "line 5",
            "conversion \"x\": give exactly one of on and type",
        ],
    );
    refused(
        "[[tenant.map]]",
        "[[tenant.conversion]]\nname=\"x\"\non=\"lead.created\"\nvalue=\"y\"\n[[tenant.map]]",
        &["line 8", "give \"amount\" or a JSON Pointer"],
    );
}

#[test]
fn json_has_the_same_shape_and_its_errors_their_line() {
    let json = r#"{"version": 1, "tenant": [{
        "ids": ["acme"],
        "map": [{"type": "call.*", "to": "lead.updated"}]}]}"#;
    assert!(Settings::compile(json, Format::Json, 1).is_ok());
    let broken = json.replace("lead.updated", "lead.gone");
    let error = Settings::compile(&broken, Format::Json, 1)
        .expect_err("refused")
        .to_string();
    assert!(error.contains("line 3"), "{error}");
}

#[test]
fn locks_are_by_table() {
    let locked = "[tenant.tables.RSLead]\nlock_by_id = true\n[[tenant.map]]";
    let settings = compile(&SMALL.replacen("[[tenant.map]]", locked, 1)).expect("settings");
    let tenant = settings.tenant("acme").expect("acme");
    for table in Table::ALL {
        assert_eq!(
            tenant.locks_by_id(table),
            table == Table::RSLead,
            "{table:?}"
        );
        assert_eq!(tenant.policy(table), Policy::Correct, "{table:?}");
    }
    let wrong = "[tenant.tables.RSLeads]\nlock_by_id = true\n[[tenant.map]]";
    refused(
        "[[tenant.map]]",
        wrong,
        &["RSLeads", "RSLeadGlobalConversions"],
    );
    let wrong = "[tenant.tables.RSLead]\nlock_by_id = 1\n[[tenant.map]]";
    refused("[[tenant.map]]", wrong, &["line 6", "boolean"]);
}

#[test]
fn policies_are_by_table() {
    let text = SMALL.replace(
        "[[tenant.map]]",
        "[tenant.tables.RSLead]\npolicy=\"detect\"\n[[tenant.map]]",
    );
    let settings = compile(&text).expect("settings");
    let acme = settings.tenant("acme").expect("acme");
    assert_eq!(acme.policy(Table::RSLead), Policy::Detect);
    assert_eq!(acme.policy(Table::RSAppointment), Policy::Correct);
}

/// What the settings of tenant acme say about webhooks, given the lines of `[tenant.webhook]`.
#[track_caller]
fn check_webhook(lines: &str, expect: &str) {
    let text = format!("{SMALL}[tenant.webhook]\n{lines}\n");
    let got = match compile(&text) {
        Ok(settings) => {
            let webhook = settings.tenant("acme").and_then(Tenant::webhook);
            let webhook = webhook.expect("a webhook");
            let wraps = if webhook.wrap().is_some() {
                "wraps"
            } else {
                ""
            };
            match webhook.signing() {
                Signing::Unsigned => format!("unsigned {wraps}"),
                Signing::Secrets(all) => {
                    all.iter().map(|one| format!("{one}; ")).collect::<String>() + wraps
                }
            }
        }
        Err(error) => error.to_string(),
    };
    assert!(got.contains(expect), "{lines}\n gave {got}\n not {expect}");
}

#[test]
fn a_webhook_says_who_signs() {
    check_webhook("unsigned = true", "unsigned ");
    check_webhook(
        "secrets = [{ env = \"NEW\" }, { secretsmanager = \"foldback/webhook/acme\" }]",
        "environment variable \"NEW\"; Secrets Manager secret \"foldback/webhook/acme\"; ",
    );
    check_webhook("", "or write unsigned = true to take what anybody sends");
    check_webhook(
        "unsigned = false",
        "name where the secrets are, newest first, for example",
    );
    check_webhook("secrets = []", "name where the secrets are");
    check_webhook(
        "unsigned = true\nsecrets = [{ env = \"X\" }]",
        "secrets and unsigned = true contradict each other",
    );
    let five = ["{ env = \"X\" }"; 5].join(", ");
    check_webhook(
        &format!("secrets = [{five}]"),
        "5 secrets; at most 4 at once",
    );
    for wrong in ["{}", "{ env = \"X\", secretsmanager = \"Y\" }"] {
        check_webhook(
            &format!("secrets = [{wrong}]"),
            "a secret needs exactly one of env and secretsmanager",
        );
    }
    check_webhook(
        "secrets = [{ env = \"\" }]",
        "a secret's name has 1 to 512 bytes",
    );
    check_webhook("\nsecrets = [{ file = \"x\" }]", "line 11");
    check_webhook("secrets = [\"X\"]", "invalid type: string");
    check_webhook("secret = []", "unknown field `secret`");
}

#[test]
fn settings_hold_no_secret() {
    let secret = "[[tenant.map]]\ntype = \"x\"\nto = \"lead.updated\"\n[tenant.webhook]\n\
                  secrets = [{ env = \"whsec_x\" }]\n[[tenant.map]]";
    refused(
        "[[tenant.map]]",
        secret,
        &[
            "line 9",
            "that is a secret itself, which settings never hold",
        ],
    );
}

#[test]
fn tenants_share_no_secret() {
    let shared = |name: &str| {
        let text = SMALL.replace("[\"acme\"]", "[\"acme\", \"globex\"]");
        compile(&format!(
            "{text}[tenant.webhook]\nsecrets = [{{ env = \"{name}\" }}]\n"
        ))
    };
    assert!(shared("SECRET_{tenant}").is_ok());
    let error = shared("SECRET").expect_err("refused").to_string();
    assert!(
        error.contains(
            "tenants share the secret \"SECRET\", so that whoever signs for one could write for all; \
             put {tenant} into its name, or give each a [[tenant]] of its own"
        ),
        "{error}"
    );
}

#[test]
fn a_wrap_says_where_attributes_are() {
    let wrap = |from: &str, to: &str, expect: &str| {
        let whole = "unsigned = true\n[tenant.webhook.wrap]\ntype = { pointer = \"/event\" }\n\
                     id = { pointer = \"/id\" }\nsource = { const = \"//crm\" }\n\
                     time = { pointer = \"/at\" }\ndata = \"/data\"\neach = \"\"\n";
        assert!(whole.contains(from), "{from}");
        check_webhook(&whole.replacen(from, to, 1), expect);
    };
    wrap("", "", "unsigned wraps");
    wrap("each = \"\"", "each = \"/batch\"", "unsigned wraps");
    wrap(
        "each = \"\"",
        "each = \"batch\"",
        "JSON Pointer \"batch\" does not start with '/'",
    );
    wrap("data = \"/data\"", "data = \"\"", "does not start with '/'");
    wrap("id = { pointer = \"/id\" }", "", "missing field `id`");
    wrap(
        "{ pointer = \"/id\" }",
        "{ const = \"1\" }",
        "wrap.id: with a const, all events would have",
    );
    wrap(
        "{ pointer = \"/at\" }",
        "{ const = \"1\" }",
        "wrap.time: with a const, all events would have",
    );
    wrap(
        "{ pointer = \"/event\" }",
        "{ capture = 1 }",
        "wrap.type: there is no type to capture from; give pointer or const",
    );
    wrap("data", "datum", "unknown field `datum`");
    wrap("{ pointer = \"/at\" }", "{ pointer = \"at\" }", "line 15");
}

#[test]
fn json_says_the_same_about_webhooks() {
    let json = r#"{"version": 1, "tenant": [{
        "ids": ["acme"],
        "map": [{"type": "call.*", "to": "lead.updated"}],
        "webhook": {"secrets": [{"env": "X"}], "wrap": {
            "type": {"pointer": "/e"}, "id": {"pointer": "/i"}, "source": {"const": "s"},
            "time": {"pointer": "/t"}, "each": "/all"}}}]}"#;
    let settings = Settings::compile(json, Format::Json, 1).expect("settings");
    let webhook = settings.tenant("acme").and_then(Tenant::webhook);
    assert!(webhook.is_some_and(|webhook| webhook.wrap().is_some()));
    let broken = json.replace("\"env\": \"X\"", "\"env\": \"whsec_x\"");
    let error = Settings::compile(&broken, Format::Json, 1)
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("that is a secret itself") && error.contains("line 4"),
        "{error}"
    );
}

#[test]
fn a_text_without_end_is_not_read() {
    let long = format!("{SMALL}# {}", "x".repeat(SETTINGS_BYTES_MAX));
    let why = compile(&long).expect_err("too long").to_string();
    assert!(why.contains("at most 4194304 are read"), "{why}");
}

#[test]
fn a_secret_where_its_name_belongs_is_not_told() {
    let told = |text: &str| compile(text).expect_err("refused").to_string();
    let hook = format!(
        "{SMALL}[tenant.webhook]\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n"
    );
    let why = told(&hook);
    assert!(
        why.contains("secrets = [\"whsec_…\"]") && !why.contains("MfKQ9"),
        "{why}"
    );
}
