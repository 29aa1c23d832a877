//! The console over HTTP: who sees what, what is changed by whom, and what never becomes markup.

mod world;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use foldback_console::Door;
use serde_json::{Value, json};
use shared::handlers::Table;
use shared::model::{Class, FieldChange, Finding, Group, ReplayRun};
use world::{ACME, ALL, Answer, Here, READER, get, send};

/// What an id or a payload must never be allowed to do.
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&";

fn event(tenant: &str, lead: &str, id: &str, minute: u32, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "source": "//crm", "id": id,
        "type": if minute == 0 { "lead.created" } else { "lead.updated" },
        "time": format!("2026-03-01T09:{minute:02}:00Z"), "tenant": tenant, "partitionkey": lead, "data": data,
    })
}

/// Two tenants with the same ids, of each one event that is done, one that failed and one that waits.
fn two_tenants() -> Here {
    let here = Here::new();
    for tenant in ["acme", "globex"] {
        let of = |lead: &str, name: &str, minute, data: &Value| {
            event(tenant, lead, &format!("{tenant}-{name}"), minute, data)
        };
        let stage = json!({"stage": format!("stage of {tenant}"), "note": "needle"});
        here.take_in(&[
            of("lead-1", "first", 0, &stage),
            of("lead-1", "third", 30, &stage),
        ]);
        here.process();
        here.take_in(&[
            of(
                "lead-1",
                "late",
                10,
                &json!({"stage": "late", "note": "needle"}),
            ),
            of(
                "lead-2",
                "poison",
                0,
                &json!({"stage": "x", "amount": "no number", "note": "needle"}),
            ),
        ]);
        here.process();
    }
    for tenant in ["acme", "globex"] {
        here.take_in(&[event(
            tenant,
            "lead-3",
            &format!("{tenant}-waits"),
            0,
            &json!({"note": "needle"}),
        )]);
    }
    let finding = |tenant: &str| Finding {
        class: Class::Foreign,
        table: Table::RSLead,
        group: Group {
            tenant: tenant.into(),
            key: "lead-1".into(),
        },
        id: "lead-1".into(),
        changes: vec![FieldChange {
            field: "stage".into(),
            before: Some(json!(format!("{tenant} {HOSTILE}"))),
            after: Some(json!("open")),
            caused_by: None,
        }],
        events: Vec::new(),
        explanation: format!("why of {tenant}"),
    };
    let mut run = ReplayRun {
        mode: "report".into(),
        scope: "all tenants".into(),
        rows: 4,
        ..ReplayRun::default()
    };
    let findings = [finding("acme"), finding("globex")];
    findings.iter().for_each(|finding| run.count(finding));
    assert_eq!(here.keep_run(&run, &findings), 1);
    here
}

const PAGES: [&str; 14] = [
    "/",
    "/jobs",
    "/jobs?state=failed",
    "/jobs?state=waiting",
    "/jobs?state=completed&id=lead-1",
    "/jobs?text=needle",
    "/entity?id=lead-1",
    "/entity?id=lead-1&as_of=2026-03-01%2009:05&from_as_of=2026-03-01%2009:01",
    "/findings",
    "/findings?run=1",
    "/findings?run=0",
    "/job?tenant=acme&group=lead-1&source=%2F%2Fcrm&event=acme-late",
    "/settings",
    "/audit",
];

const ASKED: [&str; 12] = [
    "/api/v1/overview",
    "/api/v1/jobs",
    "/api/v1/jobs?state=failed",
    "/api/v1/jobs?state=waiting",
    "/api/v1/jobs?text=needle",
    "/api/v1/jobs?id=lead-1",
    "/api/v1/job?tenant=acme&group=lead-1&source=%2F%2Fcrm&event=acme-late",
    "/api/v1/entity?id=lead-1",
    "/api/v1/conversions?tenant=acme&name=created",
    "/api/v1/runs",
    "/api/v1/runs/1/findings",
    "/api/v1/settings",
];

#[test]
fn every_page_says_what_may_be_loaded_and_loads_nothing_else() {
    let console = two_tenants().console(Door::Tokens);
    for path in PAGES
        .into_iter()
        .chain(["/sign-in", "/nothing", "/job?x=1"])
    {
        let answer = get(&console, path, ALL);
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        for inline in [
            "style=\"",
            "onclick",
            "onload",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!answer.body.contains(inline), "{path} has {inline}");
        }
    }
    for path in PAGES {
        let answer = get(&console, path, ALL);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        for part in [
            "<html lang=\"en\">",
            "<main",
            "<h1>",
            "<nav aria-label=\"Main\">",
            "name=\"viewport\"",
        ] {
            assert!(answer.body.contains(part), "{path} lacks {part}");
        }
    }
    for asset in ["console.css", "console.js", "icon.svg"] {
        let answer = get(&console, &format!("/assets/{asset}"), "");
        assert_eq!(answer.status, 200, "{asset}");
        assert_ne!(answer.header("content-type"), "");
    }
}

#[test]
fn who_has_no_token_sees_nothing() {
    let console = two_tenants().console(Door::Tokens);
    for path in PAGES {
        let answer = get(&console, path, "a wrong token, which is long");
        assert_eq!(answer.status, 303, "{path}");
        assert!(
            answer.header("location").starts_with("/sign-in?to="),
            "{path}"
        );
        assert_eq!(answer.body, "");
    }
    for path in ASKED {
        let answer = get(&console, path, "wrong");
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert!(!answer.body.contains("acme"), "{}", answer.body);
    }
    // A name that somebody else had resolved to this machine.
    let open = two_tenants().console(Door::Loopback);
    let from = |host: &str| {
        let request = Request::get("/").header("host", host).body(Body::empty());
        send(&open, request.expect("a request")).status
    };
    assert_eq!((from("localhost:8080"), from("evil.example")), (200, 403));
}

#[test]
fn signing_in_and_out() {
    let console = two_tenants().console(Door::Tokens);
    let sign_in =
        |token: &str, to: &str| form(&console, "/sign-in", &[], &[("token", token), ("to", to)]);
    assert_eq!(sign_in("wrong", "/").status, 401);
    for (to, expect) in [
        ("/jobs?state=failed", "/jobs?state=failed"),
        ("//evil.example/", "/"),
        ("https://evil.example", "/"),
        ("/\\evil", "/"),
        ("", "/"),
    ] {
        let answer = sign_in(ALL, to);
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, expect),
            "{to}"
        );
    }
    let cookie = sign_in(ALL, "/").header("set-cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let session = cookie.split(';').next().expect("a pair").to_owned();
    let page = send(&console, with_cookie("/", &session));
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Sign out"));
    let out = form(
        &console,
        "/sign-out",
        &[("cookie", &session)],
        &[("csrf", &csrf(&page.body))],
    );
    assert_eq!(out.status, 303);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
}

fn with_cookie(path: &str, session: &str) -> Request<Body> {
    let request = Request::get(path)
        .header("cookie", session)
        .body(Body::empty());
    request.expect("a request")
}

fn csrf(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    rest.split('"').next().expect("a value").to_owned()
}

fn form(console: &Router, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
    let encode = |text: &str| {
        let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
        bytes.collect::<String>()
    };
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", encode(value));
    let body = fields.iter().map(pair).collect::<Vec<_>>().join("&");
    let mut request =
        Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(console, request.body(Body::from(body)).expect("a request"))
}

#[test]
fn one_tenants_token_sees_that_tenant_alone() {
    let console = two_tenants().console(Door::Tokens);
    let others = [
        "/jobs?state=failed&tenant=globex",
        "/jobs?tenant=globex&text=needle",
        "/jobs?state=waiting&tenant=globex&from=0",
        "/jobs?state=completed&from=9999",
        "/entity?id=lead-1&tenant=globex",
        "/job?tenant=globex&group=lead-1&source=%2F%2Fcrm&event=globex-late",
        "/api/v1/jobs?state=failed&from=0",
        "/api/v1/jobs?tenant=globex",
        "/api/v1/jobs?tenant=globex&text=needle&from=99999",
        "/api/v1/entity?id=lead-1&tenant=globex",
        "/api/v1/conversions?name=created",
        "/api/v1/conversions?tenant=globex&name=created",
        "/api/v1/job?tenant=globex&group=lead-1&source=%2F%2Fcrm&event=globex-late",
        "/api/v1/runs/1/findings?from=0",
    ];
    for path in PAGES.into_iter().chain(ASKED).chain(others) {
        let seen = get(&console, path, ACME).body;
        assert!(!seen.contains("globex"), "{path}: {seen}");
    }
    for path in ["/settings", "/audit", "/api/v1/settings", "/api/v1/audit"] {
        assert_eq!(get(&console, path, ACME).status, 404, "{path}");
    }
    // What is theirs they do see, and who sees all sees the others too.
    for (path, own) in [
        ("/jobs?state=failed", "acme-poison"),
        ("/jobs?state=waiting", "acme-waits"),
        ("/jobs?text=needle", "acme-first"),
        ("/entity?id=lead-1", "stage of acme"),
        ("/findings?run=1", "why of acme"),
    ] {
        assert!(get(&console, path, ACME).body.contains(own), "{path}");
        assert!(
            get(&console, path, ALL)
                .body
                .contains(&own.replace("acme", "globex")),
            "{path}"
        );
    }
    let counts = |token| get(&console, "/api/v1/overview", token).json()["counts"].clone();
    assert_eq!(
        (&counts(ACME)["failed"], &counts(ALL)["failed"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(
        (&counts(ACME)["waiting"], &counts(ALL)["waiting"]),
        (&json!(1), &json!(2))
    );
}

#[test]
fn hostile_texts_never_become_markup() {
    let here = two_tenants();
    let data = json!({"stage": HOSTILE, HOSTILE: HOSTILE, "amount": 1});
    let poison = json!({"stage": "x", "amount": HOSTILE});
    here.take_in(&[
        event("acme", HOSTILE, HOSTILE, 0, &data),
        event("acme", HOSTILE, &format!("2 {HOSTILE}"), 9, &poison),
    ]);
    here.process();
    let console = here.console(Door::Tokens);
    let encoded: String = HOSTILE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hostile = [
        format!("/jobs?id={encoded}&tenant={encoded}&action={encoded}&text={encoded}"),
        "/jobs?text=script".to_owned(),
        "/jobs?state=failed".to_owned(),
        format!("/jobs?id={encoded}"),
        format!("/entity?id={encoded}"),
        format!("/entity?id={encoded}&tenant={encoded}"),
        format!("/entity?id=lead-1&as_of={encoded}"),
        format!("/job?tenant=acme&group={encoded}&source=%2F%2Fcrm&event={encoded}"),
        format!("/done?deed={encoded}&count=1&back={encoded}"),
        "/done?deed=redrive&count=1&back=javascript:alert(1)".to_owned(),
        format!("/sign-in?to={encoded}"),
        format!("/findings?run={encoded}"),
        format!("/{encoded}"),
    ];
    let known = PAGES.into_iter().map(str::to_owned);
    let mut shown = 0;
    for path in hostile.into_iter().chain(known) {
        let answer = get(&console, &path, ALL);
        if !answer.header("content-type").starts_with("text/html") {
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            continue;
        }
        for tag in ["<script>", "<img", "javascript:", "onerror=alert(2)>"] {
            assert!(
                !answer.body.contains(tag),
                "{path} has {tag}: {}",
                answer.body
            );
        }
        shown += usize::from(answer.body.contains("&lt;script&gt;alert(1)"));
    }
    assert!(shown >= 8, "only {shown} pages show the text at all");
    let checked = form(
        &console,
        "/settings/check",
        &[("authorization", &format!("Bearer {ALL}"))],
        &[("text", HOSTILE)],
    );
    assert!(
        checked.body.contains("cannot be put in force") && !checked.body.contains("<script>alert")
    );
}

#[test]
fn a_form_from_elsewhere_changes_nothing() {
    let here = two_tenants();
    let console = here.console(Door::Tokens);
    let cookie = form(&console, "/sign-in", &[], &[("token", ALL)])
        .header("set-cookie")
        .to_owned();
    let session = cookie.split(';').next().expect("a pair");
    let page = send(&console, with_cookie("/jobs?state=failed", session)).body;
    let token = csrf(&page);
    let deed = [("deed", "redrive"), ("letters", "1"), ("sure", "yes")];
    let check = |headers: &[(&str, &str)], csrf: &str, expect: u16| {
        let headers = [&[("cookie", session)], headers].concat();
        let fields = [&deed[..], &[("csrf", csrf)]].concat();
        let answer = form(&console, "/act", &headers, &fields);
        assert_eq!(answer.status, expect, "{headers:?} {csrf}");
    };
    check(&[], "", 403);
    check(&[], "0123", 403);
    check(&[("sec-fetch-site", "cross-site")], &token, 403);
    check(
        &[
            ("host", "console.example"),
            ("origin", "https://evil.example"),
        ],
        &token,
        403,
    );
    assert!(here.acts.lock().expect("a lock").is_empty());
    // The same asked first, without the yes, does nothing either.
    let asked = form(
        &console,
        "/act",
        &[("cookie", session)],
        &[("deed", "redrive"), ("letters", "1"), ("csrf", &token)],
    );
    assert!(
        asked.status == 200 && asked.body.contains("Sure?"),
        "{}",
        asked.body
    );
    assert!(here.acts.lock().expect("a lock").is_empty());
    check(&[("sec-fetch-site", "same-origin")], &token, 303);
    let acts = here.acts.lock().expect("a lock");
    let [act] = acts.as_slice() else {
        panic!("{acts:?}")
    };
    assert_eq!((act.by.as_str(), act.tenant.as_deref()), ("ops", None));
    drop(acts);
    let audit = get(&console, "/audit", ALL).body;
    assert!(
        audit.contains("redrive") && audit.contains("dead letters 1"),
        "{audit}"
    );
}

#[test]
fn who_may_only_read_changes_nothing() {
    let here = two_tenants();
    let console = here.console(Door::Tokens);
    for path in PAGES {
        let page = get(&console, path, READER).body;
        assert!(!page.contains("action=\"/act\""), "{path} offers a deed");
    }
    let good = "version = 1\n[[tenant]]\nids = [\"acme\"]\n";
    let deeds = [
        vec![("deed", "redrive"), ("letters", "all")],
        vec![("deed", "discard"), ("letters", "1")],
        vec![("deed", "retry"), ("receipt", "1.1")],
        vec![("deed", "settings"), ("text", good)],
        vec![("deed", "replay")],
        vec![("deed", "repair"), ("tenant", "acme"), ("id", "lead-1")],
    ];
    for deed in deeds {
        for sure in ["", "yes"] {
            let fields = [&deed[..], &[("sure", sure)]].concat();
            let bearer = format!("Bearer {READER}");
            let answer = form(&console, "/act", &[("authorization", &bearer)], &fields);
            assert_eq!(answer.status, 403, "{fields:?}");
            let body: serde_json::Map<String, Value> = fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            assert_eq!(post(&console, READER, &Value::Object(body)).status, 403);
        }
    }
    assert!(here.acts.lock().expect("a lock").is_empty());
}

fn post(console: &Router, token: &str, body: &Value) -> Answer {
    let request = Request::post("/api/v1/act")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    send(
        console,
        request
            .body(Body::from(body.to_string()))
            .expect("a request"),
    )
}

#[test]
fn a_deed_is_bound_to_the_tenant_of_the_token() {
    let here = two_tenants();
    let console = here.console(Door::Tokens);
    let check = |token: &str, body: &Value, expect: u16| {
        let answer = post(&console, token, body);
        assert_eq!(answer.status, expect, "{body} {}", answer.body);
    };
    check(
        ACME,
        &json!({"deed": "repair", "tenant": "globex", "id": "lead-1"}),
        404,
    );
    check(
        ACME,
        &json!({"deed": "settings", "text": "version = 1"}),
        404,
    );
    check(ACME, &json!({"deed": "explode"}), 400);
    check(ACME, &json!({"deed": "redrive", "letters": "x"}), 400);
    check(
        ALL,
        &json!({"deed": "settings", "text": "version = 2"}),
        400,
    );
    check(ALL, &json!({"deed": "repair", "id": "lead-1"}), 400);
    assert!(here.acts.lock().expect("a lock").is_empty());
    check(ACME, &json!({"deed": "redrive", "letters": "all"}), 200);
    check(ACME, &json!({"deed": "repair"}), 200);
    let acts = here.acts.lock().expect("a lock");
    assert!(
        acts.iter()
            .all(|act| act.tenant.as_deref() == Some("acme") && act.by == "acme"),
        "{acts:?}"
    );
    assert!(format!("{acts:?}").contains("Tenant(\"acme\")"), "{acts:?}");
}

#[test]
fn conversions_come_in_pages_within_a_time() {
    let here = Here::new();
    let events = (0..130).map(|lead| {
        let day = 1 + lead % 28;
        let mut one = event(
            if lead < 125 { "acme" } else { "globex" },
            &format!("lead-{lead}"),
            &format!("event-{lead}"),
            0,
            &json!({}),
        );
        one["time"] = json!(format!("2026-02-{day:02}T09:00:00Z"));
        one
    });
    here.take_in(&events.collect::<Vec<_>>());
    here.process();
    let console = here.console(Door::Tokens);
    let ask = |more: &str, token: &str| {
        let path = format!("/api/v1/conversions?name=created{more}");
        let answer = get(&console, &path, token);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    };
    let leads = |page: &Value| -> Vec<String> {
        let rows = page["conversions"].as_array().expect("rows");
        rows.iter().map(|row| row["leadId"].to_string()).collect()
    };
    let first = ask("", ACME);
    let next = first["next"].as_str().expect("more");
    let next = next.replace(':', "%3A").replace('#', "%23");
    let second = ask(&format!("&tenant=acme&from={next}"), ALL);
    assert_eq!((leads(&first).len(), leads(&second).len()), (100, 25));
    assert_eq!(second["next"], Value::Null);
    let mut all = [leads(&first), leads(&second)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 125, "each once, and none of another tenant");
    let within = ask("&since=2026-02-03&before=2026-02-04", ACME);
    assert_eq!(leads(&within).len(), 5, "{within}");
    for (path, status) in [
        ("/api/v1/conversions?name=created", 400),
        ("/api/v1/conversions?tenant=acme", 400),
        ("/api/v1/conversions?tenant=acme&name=created&from=x", 400),
        (
            "/api/v1/conversions?tenant=acme&name=created&since=soon",
            400,
        ),
    ] {
        assert_eq!(get(&console, path, ALL).status, status, "{path}");
    }
    let stranger = get(
        &console,
        "/api/v1/conversions?tenant=globex&name=created",
        ACME,
    );
    assert_eq!(stranger.status, 404);
}

/// The document says of every route what it takes and gives, and there is no other.
#[test]
fn the_api_is_as_its_document_says() {
    let here = two_tenants();
    let console = here.console(Door::Tokens);
    let document = get(&console, "/api/openapi.json", ALL).json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    let mut asked = 0;
    for path in ASKED.into_iter().chain(["/api/v1/audit"]) {
        let bare = path.split('?').next().expect("a path");
        let described = paths
            .iter()
            .find(|(one, _)| one.replace("{run}", "1") == bare);
        let operation = &described
            .unwrap_or_else(|| panic!("{path} is not described"))
            .1["get"];
        let answer = get(&console, path, ALL);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let body = answer.json();
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        for (name, field) in schema["properties"].as_object().expect("fields") {
            let value = &body[name];
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            assert_eq!(field["type"], kind, "{path}: {name}");
        }
        let query = path.split_once('?').map_or("", |(_, query)| query);
        for name in query
            .split('&')
            .filter_map(|pair| pair.split('=').next())
            .filter(|name| !name.is_empty())
        {
            let known = operation["parameters"]
                .as_array()
                .expect("parameters")
                .iter();
            assert!(
                known.clone().any(|one| one["name"] == name),
                "{path}: {name} is not described"
            );
        }
        asked += 1;
    }
    assert!(asked >= paths.len());
    let acted = post(&console, ALL, &json!({"deed": "redrive", "letters": "1"}));
    assert_eq!((acted.status, &acted.json()["count"]), (200, &json!(1)));
    for path in ["/api/v1/nothing", "/api/v2/jobs"] {
        let answer = get(&console, path, ALL);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, "application/problem+json"),
            "{path}"
        );
    }
}

#[test]
fn jobs_are_found_by_state_action_id_and_text() {
    let console = two_tenants().console(Door::Tokens);
    let check = |query: &str, expect: &[&str]| {
        let body = get(&console, &format!("/api/v1/jobs?{query}"), ACME).json();
        let jobs = body["jobs"].as_array().expect("jobs");
        let text = |job: &Value, name: &str| job[name].as_str().expect(name).to_owned();
        // What an event counts for in a day is a job of the day's group.
        let seen = jobs.iter().map(|job| match text(job, "group") {
            day if day.starts_with("foldback:day/") => text(job, "event") + " in its day",
            _lead => text(job, "event"),
        });
        let mut seen: Vec<String> = seen.collect();
        seen.sort_unstable();
        assert_eq!(seen, expect, "{query}");
    };
    check(
        "",
        &[
            "acme-first",
            "acme-first in its day",
            "acme-late",
            "acme-third",
        ],
    );
    check("state=failed", &["acme-poison"]);
    check("state=waiting", &["acme-waits"]);
    check("state=active", &[]);
    check("id=lead-1", &["acme-first", "acme-late", "acme-third"]);
    check("id=acme-late", &["acme-late"]);
    check("state=failed&id=lead-2", &["acme-poison"]);
    check("state=failed&text=NO%20NUMBER", &["acme-poison"]);
    check("action=RSLead", &["acme-first", "acme-late", "acme-third"]);
    check("action=RSLeadGlobalConversions", &["acme-first"]);
    check("action=RSAppointment", &[]);
    check(
        "text=needle",
        &[
            "acme-first",
            "acme-first in its day",
            "acme-late",
            "acme-poison",
            "acme-third",
            "acme-waits",
        ],
    );
    check("text=nothing%20like%20it", &[]);
    check("text=stage%20of%20globex", &[]);
    let job = get(
        &console,
        "/job?tenant=acme&group=lead-1&source=%2F%2Fcrm&event=acme-late",
        ACME,
    )
    .body;
    for part in [
        "completed",
        "Late by 20 min",
        "RSLead",
        "Happened out there",
        "Rows written",
    ] {
        assert!(job.contains(part), "{part}: {job}");
    }
    let failed = get(
        &console,
        "/job?tenant=acme&group=lead-2&source=%2F%2Fcrm&event=acme-poison",
        ACME,
    )
    .body;
    for part in ["failed", "amount", "Parked", "name=\"letters\" value=\"1\""] {
        assert!(failed.contains(part), "{part}: {failed}");
    }
}

#[test]
fn an_entity_at_any_point_and_what_changed_between() {
    let console = two_tenants().console(Door::Tokens);
    let found = |query: &str| {
        get(&console, &format!("/api/v1/entity?id=lead-1&{query}"), ACME).json()["found"][0].clone()
    };
    let stage = |view: &Value| {
        let rows = view["rows"].as_array().expect("rows").iter();
        let mut leads = rows.filter(|row| row["table"] == "RSLead");
        leads.next().map(|row| row["row"]["stage"].clone())
    };
    assert_eq!(stage(&found("")), Some(json!("stage of acme")));
    assert_eq!(
        stage(&found("as_of=2026-03-01T09:15:00Z")),
        Some(json!("late"))
    );
    assert_eq!(
        stage(&found("as_of=2026-03-01%2009:05")),
        Some(json!("stage of acme"))
    );
    assert_eq!(stage(&found("known_at=2026-03-31")), None);
    let view = found("as_of=2026-03-01%2009:15&from_as_of=2026-03-01%2009:05");
    let changes = view["changes"].as_array().expect("changes");
    let lead = changes
        .iter()
        .find(|one| one["table"] == "RSLead")
        .expect("the lead");
    let stage = lead["changes"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|one| one["field"] == "stage");
    let stage = stage.expect("the stage");
    assert_eq!(
        (&stage["before"], &stage["after"]),
        (&json!("stage of acme"), &json!("late"))
    );
    assert_eq!(stage["causedBy"]["id"], "acme-late");
    let now = found("");
    let row = &now["rows"][0];
    let set = row["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|one| one["field"] == "stage");
    assert_eq!(set.expect("the stage")["causedBy"]["id"], "acme-third");
    assert_eq!(
        get(&console, "/entity?id=lead-1&as_of=never", ACME).status,
        400
    );
}
