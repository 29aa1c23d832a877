//! The router: pages, and what guards them.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use maud::{Markup, html};
use serde::Deserialize;
use shared::ports::{LIVE_RUN, RUNS_KEPT_MAX};
use shared::settings::Settings;

use crate::access::{Access, Who};
use crate::api::{self, FINDINGS_PAGE, LISTED_MAX};
use crate::pages::{self, Page, Tab, bare, link};
use crate::refused::Refused;
use crate::source::{Act, Acted, Source, World};
use crate::{act, assets, entity, job, jobs, live, overview};

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Console<W> {
    pub(crate) world: W,
    pub(crate) access: Arc<Access>,
}

/// Nothing but what this server itself sends is loaded, run, framed or posted to.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The console.
pub fn router<W: World>(world: W, access: Arc<Access>) -> Router {
    let console = Console { world, access };
    let guarded = Router::new()
        .route("/", get(overview::<W>))
        .route("/jobs", get(jobs::<W>))
        .route("/job", get(job::<W>))
        .route("/entity", get(entity::<W>))
        .route("/findings", get(findings::<W>))
        .route("/settings", get(settings::<W>))
        .route("/settings/check", post(check_settings::<W>))
        .route("/audit", get(audit::<W>))
        .route("/act", post(do_act::<W>))
        .route("/done", get(done))
        .route("/live", get(tell::<W>))
        .route("/sign-out", post(sign_out::<W>))
        .merge(api::routes::<W>())
        .fallback(nothing)
        .layer(from_fn_with_state(console.clone(), enter::<W>));
    Router::new()
        .route("/assets/{name}", get(asset))
        .route("/sign-in", get(ask_token).post(sign_in::<W>))
        .merge(guarded)
        .layer(from_fn(harden))
        .with_state(console)
}

/// Lets in who may come in, and tells the handlers who that is.
async fn enter<W: World>(
    State(console): State<Console<W>>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(who) = console.access.who(request.headers(), console.world.now()) {
        request.extensions_mut().insert(who);
        return next.run(request).await;
    }
    let uri = request.uri();
    if uri.path().starts_with("/api/") {
        let detail = "sign in, or send a token: Authorization: Bearer TOKEN";
        let mut refused = Refused::new(StatusCode::UNAUTHORIZED, detail).problem();
        refused
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    if !console.access.has_tokens() {
        let detail = "ask for this console by a name of this machine's own, such as localhost";
        return refused_page(&Refused::new(StatusCode::FORBIDDEN, detail));
    }
    let to = uri.path_and_query().map_or("/", |all| all.as_str());
    see(&link("/sign-in", &[("to", to)]))
}

/// What every answer says of how it may be used.
async fn harden(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ),
        (
            HeaderName::from_static("referrer-policy"),
            HeaderValue::from_static("same-origin"),
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
        (
            HeaderName::from_static("x-frame-options"),
            HeaderValue::from_static("DENY"),
        ),
    ];
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

fn see(address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(address) => (StatusCode::SEE_OTHER, [(LOCATION, address)]).into_response(),
        Err(_no_header) => StatusCode::BAD_REQUEST.into_response(),
    }
}

fn shown(markup: Markup) -> Html<String> {
    Html(markup.into_string())
}

fn refused_page(refused: &Refused) -> Response {
    let title = refused.status.canonical_reason().unwrap_or("Refused");
    let body = html! {
        h1 { (title) }
        p { (refused.detail) }
        p { a href="/" { "To the overview" } }
    };
    (refused.status, shown(bare(title, &body))).into_response()
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refused_page(&self)
    }
}

type Answer = Result<Html<String>, Refused>;

async fn nothing(request: Request) -> Response {
    let refused = Refused::not_found("There is no such page.");
    if request.uri().path().starts_with("/api/") {
        return refused.problem();
    }
    refused.into_response()
}

async fn asset(Path(name): Path<String>) -> Response {
    assets::asset(&name).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

async fn overview<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
) -> Answer {
    let source = console.world.source().await?;
    let overview = overview::overview(&console.world, &source, &who).await?;
    Ok(shown(pages::overview::page(&who, &overview)))
}

async fn jobs<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<jobs::Asked>,
) -> Answer {
    let source = console.world.source().await?;
    let asked = asked.within(&who);
    let page = jobs::page(&source, &who, &asked, console.world.now()).await?;
    Ok(shown(pages::jobs::page(&who, &asked, &page)))
}

async fn job<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(which): Query<job::Which>,
) -> Answer {
    let source = console.world.source().await?;
    let settings = console.world.settings().await?;
    let view = job::view(&source, &settings, &who, &which, console.world.now()).await?;
    let view = view.ok_or_else(|| Refused::not_found("No such event is known."))?;
    Ok(shown(pages::job::page(&who, &view)))
}

async fn entity<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<entity::Asked>,
) -> Answer {
    let source = console.world.source().await?;
    let settings = console.world.settings().await?;
    let seen = entity::see(&source, &settings, &who, &asked).await?;
    Ok(shown(pages::entity::page(&who, &asked, &seen)))
}

#[derive(Deserialize)]
struct OneRun {
    run: Option<u64>,
    #[serde(default)]
    from: u64,
}

async fn findings<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<OneRun>,
) -> Answer {
    let source = console.world.source().await?;
    let kept = usize::try_from(RUNS_KEPT_MAX).unwrap_or(usize::MAX);
    let runs = source.runs(kept).await?;
    let Some(number) = asked.run else {
        return Ok(shown(pages::findings::list(&who, &runs)));
    };
    let run = runs
        .iter()
        .find(|(one, _)| *one == number)
        .map(|(_, run)| run);
    if run.is_none() && number != LIVE_RUN {
        return Err(Refused::not_found(format!("No run {number} is kept.")));
    }
    let mut findings = source.findings(number, asked.from, FINDINGS_PAGE).await?;
    let full = findings.len() == FINDINGS_PAGE;
    let next = findings.last().filter(|_| full).map(|(place, _)| *place);
    findings.retain(|(_, finding)| who.sees(&finding.group.tenant));
    let run = pages::findings::Run {
        number,
        run,
        findings: &findings,
        next,
    };
    Ok(shown(pages::findings::run(&who, &run)))
}

/// Which versions of the settings.
#[derive(Debug, Deserialize)]
pub(crate) struct Versions {
    pub(crate) version: Option<u32>,
    pub(crate) against: Option<u32>,
}

fn not_of_one_tenant(who: &Who) -> Result<(), Refused> {
    match who.tenant {
        None => Ok(()),
        Some(_) => Err(Refused::not_found("This is of all tenants.")),
    }
}

async fn settings<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Query(asked): Query<Versions>,
) -> Answer {
    not_of_one_tenant(&who)?;
    let source = console.world.source().await?;
    let versions = source.settings_versions(LISTED_MAX).await?;
    let version = asked.version.or(versions.first().map(|one| one.version));
    let mut texts = Vec::new();
    for version in [version, asked.against] {
        texts.push(match version {
            None => None,
            Some(version) => Some(
                source
                    .settings_version(version)
                    .await?
                    .ok_or_else(|| Refused::not_found(format!("There is no version {version}.")))?,
            ),
        });
    }
    let against = texts.pop().flatten();
    let one = texts.pop().flatten();
    Ok(shown(pages::settings::page(
        &who,
        &pages::settings::Shown {
            versions: &versions,
            one: one.as_ref(),
            against: against.as_ref(),
        },
    )))
}

#[derive(Deserialize)]
struct Check {
    text: String,
    #[serde(default)]
    format: String,
}

/// Says what settings come to; changes nothing, so anybody's page may ask.
async fn check_settings<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    Form(asked): Form<Check>,
) -> Answer {
    not_of_one_tenant(&who)?;
    let format = act::format(&asked.format)?;
    let text = asked.text.replace("\r\n", "\n");
    let outcome = Settings::compile(&text, format, 0)
        .map(|settings| settings.summary().collect())
        .map_err(|error| error.to_string());
    let source = console.world.source().await?;
    let latest = source
        .settings_versions(1)
        .await?
        .first()
        .map(|one| one.version);
    let in_force = match latest {
        None => None,
        Some(version) => source.settings_version(version).await?,
    };
    Ok(shown(pages::settings::checked(
        &who,
        &pages::settings::Checked {
            text: &text,
            format,
            in_force: in_force.as_ref(),
            outcome,
        },
    )))
}

async fn audit<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
) -> Answer {
    not_of_one_tenant(&who)?;
    let source = console.world.source().await?;
    let records = source.audited(LISTED_MAX).await?;
    Ok(shown(pages::audit::page(&who, records.as_deref())))
}

/// Asks whether it is really to be done, then does it.
async fn do_act<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Form(asked): Form<act::Asked>,
) -> Result<Response, Refused> {
    if !who.trusts(&headers, &asked.csrf) {
        let detail = "That form does not come from a page of this console, or the page is too old: \
                      load it again.";
        return Err(Refused::new(StatusCode::FORBIDDEN, detail));
    }
    let deed = asked.deed(&who)?;
    let back = asked.back(&deed);
    if asked.sure != "yes" {
        let (fields, words) = (asked.fields(), act::words(&deed, back));
        let question = words.question(&fields, act::tab(&deed));
        return Ok(shown(pages::confirm::page(&who, &question)).into_response());
    }
    let word = deed.word();
    let act = Act {
        deed,
        tenant: who.tenant.clone(),
        by: who.name.clone(),
    };
    let acted = console.world.act(act).await?;
    let run = acted.run.map(|run| run.to_string()).unwrap_or_default();
    let count = acted.count.to_string();
    let partitions = acted.partitions.map(|count| count.to_string());
    let partitions = partitions.unwrap_or_default();
    Ok(see(&link(
        "/done",
        &[
            ("deed", word),
            ("count", &count),
            ("run", &run),
            ("partitions", &partitions),
            ("back", &back),
        ],
    )))
}

#[derive(Deserialize)]
struct Done {
    deed: String,
    count: u64,
    run: Option<u64>,
    partitions: Option<u64>,
    #[serde(default)]
    back: String,
}

/// Says what was done. It can be asked for by anybody and does nothing.
async fn done(Extension(who): Extension<Who>, Query(asked): Query<Done>) -> Answer {
    let acted = Acted {
        count: asked.count,
        run: asked.run,
        partitions: asked.partitions,
    };
    let words = act::done(&asked.deed, acted);
    let words = words.ok_or_else(|| Refused::wrong("Nothing like that is done here."))?;
    let back = act::Asked {
        back: asked.back,
        ..act::Asked::default()
    };
    let back = back.ours().unwrap_or("/");
    let body = html! {
        h1 { "Done" }
        p.done role="status" { (words) }
        div.row {
            @if let Some(run) = acted.run { a.button href=(link("/findings", &[("run", &run.to_string())])) { "See run " (run) } }
            a.button href=(back) { "Back" }
        }
    };
    let tab = match asked.deed.as_str() {
        "settings" => Tab::Settings,
        "replay" | "repair" => Tab::Findings,
        _others => Tab::Jobs,
    };
    Ok(shown(
        Page {
            title: "Done",
            tab,
            who: &who,
            live: false,
            body,
        }
        .markup(),
    ))
}

async fn tell<W: World>(State(console): State<Console<W>>) -> Response {
    live::live(console.world.changes(), console.world.stopping())
}

#[derive(Deserialize)]
struct SignIn {
    #[serde(default)]
    token: String,
    #[serde(default)]
    to: String,
}

async fn ask_token(Query(asked): Query<SignIn>) -> Html<String> {
    shown(pages::sign_in::page(&asked.to, false))
}

async fn sign_in<W: World>(
    State(console): State<Console<W>>,
    Form(asked): Form<SignIn>,
) -> Response {
    let Some(cookie) = console
        .access
        .sign_in(asked.token.trim(), console.world.now())
    else {
        let page = shown(pages::sign_in::page(&asked.to, true));
        return (StatusCode::UNAUTHORIZED, page).into_response();
    };
    let to = act::Asked {
        back: asked.to,
        ..act::Asked::default()
    };
    with_cookie(see(to.ours().unwrap_or("/")), &cookie)
}

async fn sign_out<W: World>(
    State(console): State<Console<W>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    Form(asked): Form<act::Asked>,
) -> Result<Response, Refused> {
    if !who.trusts(&headers, &asked.csrf) {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "That form does not come from here.",
        ));
    }
    Ok(with_cookie(see("/sign-in"), &console.access.sign_out()))
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    answer
}
