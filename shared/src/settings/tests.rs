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
