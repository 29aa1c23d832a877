//! The query API: what the pages show, as JSON, and the `OpenAPI` document that describes it.
//!
//! Routes are made from the same list as the document, so that neither has what the other has not.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router};
use serde_json::{Map, Value, json};
use shared::flow::Stored;
use shared::model::Timestamp;
use shared::ports::{ConversionQuery, Cursor, RUNS_KEPT_MAX};
use smol_str::SmolStr;

use crate::access::{By, Who};
use crate::refused::Refused;
use crate::routes::Console;
use crate::source::{Act, Source, World};
use crate::{act, entity, job, jobs, overview};

/// What can be asked.
#[derive(Debug, Clone, Copy)]
enum Call {
    Overview,
    Jobs,
    Job,
    Entity,
    Conversions,
    Runs,
    Findings,
    Settings,
    Audit,
    Act,
}

/// A parameter: its name, whether it is required, what it means.
type Parameter = (&'static str, bool, &'static str);

struct Route {
    call: Call,
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    /// The fields of the answer that are always there, with their types.
    answer: &'static [(&'static str, &'static str)],
}

const TENANT: Parameter = ("tenant", false, "only of this tenant");

const ROUTES: [Route; 10] = [
    Route {
        call: Call::Overview,
        path: "/api/v1/overview",
        summary: "How things stand: jobs by state, the oldest message, late events, the last replay",
        parameters: &[],
        answer: &[
            ("at", "string"),
            ("counts", "object"),
            ("recent", "object"),
            ("liveFindings", "integer"),
            ("settings", "integer"),
        ],
    },
    Route {
        call: Call::Jobs,
        path: "/api/v1/jobs",
        summary: "Events on their way and what became of them",
        parameters: &[
            (
                "state",
                false,
                "waiting, active, delayed, stalled, completed or failed",
            ),
            TENANT,
            ("action", false, "only with an action on this table"),
            ("id", false, "only of this event, lead, appointment or row"),
            (
                "text",
                false,
                "only with this text in the payload; how many events were looked at is told",
            ),
            ("from", false, "where the last page stopped: its `next`"),
        ],
        answer: &[
            ("jobs", "array"),
            ("known", "boolean"),
            ("examined", "integer"),
        ],
    },
    Route {
        call: Call::Job,
        path: "/api/v1/job",
        summary: "One event: its way, its actions, its payload",
        parameters: &[
            ("tenant", true, "its tenant"),
            ("group", true, "its group's key"),
            ("source", true, "its source"),
            ("event", true, "its id"),
        ],
        answer: &[
            ("job", "object"),
            ("meaning", "string"),
            ("payload", "string"),
            ("steps", "array"),
        ],
    },
    Route {
        call: Call::Entity,
        path: "/api/v1/entity",
        summary: "A lead, an appointment or a day: events, rows, what was believed when, what changed",
        parameters: &[
            ("id", true, "its id"),
            TENANT,
            ("as_of", false, "as it was at this event time"),
            ("known_at", false, "as it was known at this recorded time"),
            (
                "from_as_of",
                false,
                "and what changed since it was so at this event time",
            ),
            (
                "from_known_at",
                false,
                "and what changed since it was known so at this recorded time",
            ),
        ],
        answer: &[("found", "array")],
    },
    Route {
        call: Call::Conversions,
        path: "/api/v1/conversions",
        summary: "A tenant's leads by a conversion, those whose last one is the newest first",
        parameters: &[
            (
                "tenant",
                false,
                "the tenant; that of the token where it has one",
            ),
            ("name", true, "the conversion's name"),
            ("since", false, "whose last one was not before this moment"),
            ("before", false, "whose last one was before this moment"),
            ("from", false, "where the last page stopped: its `next`"),
        ],
        answer: &[("conversions", "array")],
    },
    Route {
        call: Call::Runs,
        path: "/api/v1/runs",
        summary: "The runs of replay that are kept, the newest first",
        parameters: &[],
        answer: &[("runs", "array")],
    },
    Route {
        call: Call::Findings,
        path: "/api/v1/runs/{run}/findings",
        summary: "What a run found; run 0 is what was found while running",
        parameters: &[("from", false, "where the last page stopped: its `next`")],
        answer: &[("findings", "array")],
    },
    Route {
        call: Call::Settings,
        path: "/api/v1/settings",
        summary: "The versions of the settings, the newest first, and the text in force or of one version",
        parameters: &[("version", false, "the text of this version")],
        answer: &[("versions", "array")],
    },
    Route {
        call: Call::Audit,
        path: "/api/v1/audit",
        summary: "What was done through the console, the newest first",
        parameters: &[],
        answer: &[("records", "array")],
    },
    Route {
        call: Call::Act,
        path: "/api/v1/act",
        summary: "Do something: redrive, discard, retry, replay, repair, settings; it is noted who did it",
        parameters: &[],
        answer: &[("count", "integer")],
    },
];

/// What a deed may be told with.
const ACT_FIELDS: [Parameter; 7] = [
    (
        "deed",
        true,
        "redrive, discard, retry, replay, repair or settings",
    ),
    (
        "letters",
        false,
        "numbers of dead letters, apart by commas, or `all`",
    ),
    (
        "receipt",
        false,
        "the handle of a message that is to be tried again",
    ),
    (
        "tenant",
        false,
        "of which tenant rows are compared or repaired",
    ),
    ("id", false, "of which lead, appointment or day"),
    ("text", false, "the settings"),
    ("format", false, "their format: toml or json"),
];

/// How many leads a page of conversions has.
const CONVERSIONS_PAGE: usize = 100;
/// How many findings a page has.
pub(crate) const FINDINGS_PAGE: usize = 100;
/// How many versions and records are listed.
pub(crate) const LISTED_MAX: usize = 200;

/// The routes of the API.
pub(crate) fn routes<W: World>() -> Router<Console<W>> {
    let told = async |State(console): State<Console<W>>| {
        let takes_events = console.world.takes_events();
        Json(document(takes_events))
    };
    let router = Router::new().route("/api/openapi.json", get(told));
    ROUTES.iter().fold(router, |router, route| {
        router.route(route.path, method::<W>(route.call))
    })
}

fn method<W: World>(call: Call) -> MethodRouter<Console<W>> {
    match call {
        Call::Overview => get(overview::<W>),
        Call::Jobs => get(jobs::<W>),
        Call::Job => get(job::<W>),
        Call::Entity => get(entity::<W>),
        Call::Conversions => get(conversions::<W>),
        Call::Runs => get(runs::<W>),
        Call::Findings => get(findings::<W>),
        Call::Settings => get(settings::<W>),
        Call::Audit => get(audit::<W>),
        Call::Act => post(do_act::<W>),
    }
}

type Answer = Result<Json<Value>, Response>;

fn told(value: impl serde::Serialize) -> Json<Value> {
    Json(serde_json::to_value(value).unwrap_or_default())
}

fn problem(refused: impl Into<Refused>) -> Response {
    refused.into().problem()
}

async fn overview<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
) -> Answer {
    let source = console.world.source().await.map_err(problem)?;
    let overview = overview::overview(&console.world, &source, &who).await;
    overview.map(told).map_err(problem)
}

async fn jobs<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<jobs::Asked>,
) -> Answer {
    let source = console.world.source().await.map_err(problem)?;
    let page = jobs::page(&source, &who, &asked, console.world.now()).await;
    page.map(told).map_err(problem)
}

async fn job<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(which): Query<job::Which>,
) -> Answer {
    let source = console.world.source().await.map_err(problem)?;
    let settings = console.world.settings().await.map_err(problem)?;
    let view = job::view(&source, &settings, &who, &which, console.world.now()).await;
    let view = view.map_err(problem)?;
    view.map(told)
        .ok_or_else(|| problem(Refused::not_found("no such event is known")))
}

async fn entity<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<entity::Asked>,
) -> Answer {
    let source = console.world.source().await.map_err(problem)?;
    let settings = console.world.settings().await.map_err(problem)?;
    let seen = entity::see(&source, &settings, &who, &asked)
        .await
        .map_err(problem)?;
    Ok(Json(entity::told(&seen)))
}

/// Which conversions.
#[derive(serde::Deserialize)]
struct Conversions {
    tenant: Option<SmolStr>,
    name: SmolStr,
    since: Option<String>,
    before: Option<String>,
    from: Option<String>,
}

impl Conversions {
    fn query(&self, who: &Who) -> Result<ConversionQuery, Refused> {
        let given = self.tenant.clone().filter(|tenant| !tenant.is_empty());
        let Some(tenant) = given.or_else(|| who.tenant.clone()) else {
            return Err(Refused::wrong("conversions are of a tenant: name it"));
        };
        if !who.sees(&tenant) {
            return Err(Refused::not_found("no such tenant"));
        }
        let after = self.from.as_deref().filter(|from| !from.is_empty());
        let after = after.map(str::parse::<Cursor>).transpose();
        Ok(ConversionQuery {
            tenant,
            name: self.name.clone(),
            from: entity::moment(self.since.as_deref())?.unwrap_or(Timestamp::MIN),
            to: entity::moment(self.before.as_deref())?.unwrap_or(Timestamp::MAX),
            limit: CONVERSIONS_PAGE,
            after: after.map_err(|error| Refused::wrong(error.to_string()))?,
        })
    }
}

async fn conversions<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<Conversions>,
) -> Answer {
    let query = asked.query(&who).map_err(problem)?;
    let source = console.world.source().await.map_err(problem)?;
    let page = source.conversions(&query).await.map_err(problem)?;
    let row = |row: &Stored| serde_json::from_str(&row.row.body()).unwrap_or(Value::Null);
    let rows: Vec<Value> = page.rows.iter().map(row).collect();
    let next = page.next.map(|next| next.to_string());
    Ok(Json(json!({"conversions": rows, "next": next})))
}

async fn runs<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
) -> Answer {
    let source = console.world.source().await.map_err(problem)?;
    let kept = usize::try_from(RUNS_KEPT_MAX).unwrap_or(usize::MAX);
    let runs = source.runs(kept).await.map_err(problem)?;
    let line = |(number, run): &(u64, shared::model::ReplayRun)| {
        let mut line = match &who.tenant {
            None => json!(run),
            // Counts are of all tenants.
            Some(_) => json!({"started": run.started, "finished": run.finished, "mode": run.mode}),
        };
        if let Some(line) = line.as_object_mut() {
            line.insert("number".to_owned(), json!(number));
        }
        line
    };
    Ok(Json(
        json!({"runs": runs.iter().map(line).collect::<Vec<_>>()}),
    ))
}

#[derive(serde::Deserialize)]
struct From {
    #[serde(default)]
    from: u64,
}

async fn findings<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Path(run): Path<u64>,
    Query(From { from }): Query<From>,
) -> Answer {
    let source = console.world.source().await.map_err(problem)?;
    let found = source
        .findings(run, from, FINDINGS_PAGE)
        .await
        .map_err(problem)?;
    let next = (found.len() == FINDINGS_PAGE).then(|| found.last().map(|(place, _)| *place));
    let own = found.iter().filter(|(_, one)| who.sees(&one.group.tenant));
    let own: Vec<_> = own.map(|(_, finding)| finding).collect();
    Ok(Json(json!({"findings": own, "next": next.flatten()})))
}

async fn settings<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<crate::routes::Versions>,
) -> Answer {
    if who.tenant.is_some() {
        return Err(problem(Refused::not_found("settings are of all tenants")));
    }
    let source = console.world.source().await.map_err(problem)?;
    let versions = source
        .settings_versions(LISTED_MAX)
        .await
        .map_err(problem)?;
    let version = asked.version.or(versions.first().map(|one| one.version));
    let one = match version {
        None => None,
        Some(version) => source.settings_version(version).await.map_err(problem)?,
    };
    let line = |one: &shared::settings::SettingsVersion| json!({"version": one.version, "at": one.at, "format": crate::pages::settings::format_name(one.format), "bytes": one.bytes});
    Ok(Json(json!({
        "versions": versions.iter().map(line).collect::<Vec<_>>(),
        "version": one.as_ref().map(|one| one.version),
        "text": one.as_ref().map(|one| &one.text),
    })))
}

async fn audit<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
) -> Answer {
    if who.tenant.is_some() {
        return Err(problem(Refused::not_found("the audit is of all tenants")));
    }
    let source = console.world.source().await.map_err(problem)?;
    let records = source.audited(LISTED_MAX).await.map_err(problem)?;
    Ok(Json(json!({"records": records.unwrap_or_default()})))
}

/// A program that sends its token with the request is believed; a browser brings what only a page of ours
/// knows, in the header `x-csrf-token`.
async fn do_act<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Json(asked): Json<act::Asked>,
) -> Answer {
    let csrf = headers
        .get("x-csrf-token")
        .and_then(|value| value.to_str().ok());
    let is_program = who.by == By::Reach && headers.get(header::ORIGIN).is_none() && csrf.is_none();
    // Without a token whoever reaches this machine's own address is let in; JSON that comes from another
    // site's page is not sent before the browser has asked whether it may, which nothing here allows.
    if !is_program && !who.trusts(&headers, csrf.unwrap_or_default()) {
        let detail = "this request does not come from a page of this console";
        return Err(problem(Refused::new(
            axum::http::StatusCode::FORBIDDEN,
            detail,
        )));
    }
    let deed = asked.deed(&who).map_err(problem)?;
    let act = Act {
        deed,
        tenant: who.tenant.clone(),
        by: who.name.clone(),
    };
    console.world.act(act).await.map(told).map_err(problem)
}

/// An answer that says what is wrong.
fn told_problem(about: &str) -> Value {
    json!({
        "description": about,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

/// A parameter that stands in a part of a request.
fn parameter(place: &str, (name, required, about): Parameter) -> Value {
    json!({
        "name": name, "in": place, "required": required, "description": about,
        "schema": {"type": "string"},
    })
}

/// What `foldback serve` has at the same address.
fn beside() -> [(&'static str, Value); 3] {
    const SIGNATURE: [Parameter; 3] = [
        (
            "webhook-id",
            false,
            "of Standard Webhooks; needed where the tenant has a secret",
        ),
        (
            "webhook-timestamp",
            false,
            "seconds since 1970, five minutes off at most",
        ),
        (
            "webhook-signature",
            false,
            "v1,BASE64 of HMAC-SHA256; several apart by blanks",
        ),
    ];
    let problem = told_problem;
    let text = |about: &str| json!({"description": about, "content": {"text/plain": {}}});
    let mut parameters = vec![parameter("path", ("tenant", true, "whose events they are"))];
    parameters.extend(SIGNATURE.map(|one| parameter("header", one)));
    let events = json!({"post": {
        "summary": "Take events in: CloudEvents in structured, batch or binary mode, or a plain webhook",
        "operationId": "events",
        "security": [],
        "parameters": parameters,
        "requestBody": {"required": true, "content": {
            "application/cloudevents+json": {"schema": {"type": "object"}},
            "application/cloudevents-batch+json": {"schema": {"type": "array"}},
            "application/json": {},
        }},
        "responses": {
            "202": {"description": "all of them are durable", "content": {"application/json": {
                "schema": {"type": "object"},
            }}},
            "400": problem("an event is wrong; says which and where"),
            "401": problem("the signature is wrong, or there is none"),
            "404": problem("there is no such tenant"),
            "409": problem("an id is taken by another event"),
            "413": problem("too long, or too many"),
            "415": problem("not of these types"),
            "503": problem("try again"),
        },
    }});
    let health = json!({"get": {
        "summary": "Whether it works", "operationId": "healthz", "security": [],
        "responses": {"200": text("it does"), "503": text("it does not; says why")},
    }});
    let metrics = json!({"get": {
        "summary": "Metrics for Prometheus", "operationId": "metrics", "security": [],
        "responses": {"200": text("all of them")},
    }});
    [
        ("/events/{tenant}", events),
        ("/healthz", health),
        ("/metrics", metrics),
    ]
}

/// The `OpenAPI` document.
pub(crate) fn document(takes_events: bool) -> Value {
    let mut paths = Map::new();
    if takes_events {
        let beside = beside().into_iter();
        paths.extend(beside.map(|(path, described)| (path.to_owned(), described)));
    }
    for route in &ROUTES {
        let (method, body) = match route.call {
            Call::Act => ("post", Some(act_body())),
            Call::Overview
            | Call::Jobs
            | Call::Job
            | Call::Entity
            | Call::Conversions
            | Call::Runs
            | Call::Findings
            | Call::Settings
            | Call::Audit => ("get", None),
        };
        let mut operation = json!({
            "summary": route.summary,
            "operationId": format!("{:?}", route.call).to_lowercase(),
            "parameters": parameters(route),
            "responses": responses(route),
        });
        if let (Some(body), Some(operation)) = (body, operation.as_object_mut()) {
            operation.insert("requestBody".to_owned(), body);
        }
        paths.insert(route.path.to_owned(), json!({ method: operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Foldback query API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}, {"session": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "foldback"},
            },
            "schemas": {"Problem": {
                "type": "object",
                "description": "RFC 9457",
                "required": ["title", "status", "detail"],
                "properties": {
                    "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
                },
            }},
        },
    })
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route
        .path
        .contains("{run}")
        .then_some(("run", true, "its number"));
    let in_path = in_path.into_iter().map(|one| parameter("path", one));
    let in_query = route.parameters.iter().map(|one| parameter("query", *one));
    in_path.chain(in_query).collect()
}

fn act_body() -> Value {
    let properties: Map<String, Value> = ACT_FIELDS
        .into_iter()
        .map(|(name, _, about)| {
            (
                name.to_owned(),
                json!({"type": "string", "description": about}),
            )
        })
        .collect();
    let schema = json!({"type": "object", "required": ["deed"], "properties": properties});
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

fn responses(route: &Route) -> Value {
    let fields = route.answer.iter();
    let properties: Map<String, Value> = fields
        .map(|(name, kind)| ((*name).to_owned(), json!({"type": kind})))
        .collect();
    let required: Vec<&str> = route.answer.iter().map(|(name, _)| *name).collect();
    let schema = json!({"type": "object", "required": required, "properties": properties});
    let problem = told_problem;
    json!({
        "200": {"description": "as asked", "content": {"application/json": {"schema": schema}}},
        "400": {"description": "a parameter is wrong"},
        "401": problem("not signed in"),
        "403": problem("not allowed"),
        "404": problem("there is none, or not for you"),
        "503": problem("try again"),
    })
}
