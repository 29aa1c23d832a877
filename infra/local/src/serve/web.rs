//! The routes.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use foldback_console::Access;
use shared::adapters::SystemClock;
use shared::ports::{Clock, Error, ErrorKind};
use shared::service::measured;
use shared::webhook::{self, BODY_BYTES_MAX, Problem, ProblemKind};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::meter::Meter;
use super::world::Local;
use super::writer::{Desk, Incoming, Order};
use crate::stopwatch::Stopwatch;

/// What requests are answered from.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) desk: Desk,
    pub(crate) meter: Arc<Meter>,
    pub(crate) access: Arc<Access>,
    pub(crate) world: Local,
}

/// Serves until told to stop; requests that have begun are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    served: Served,
    stop: &watch::Sender<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tell(listener.local_addr()?)?;
    let mut stopping = stop.subscribe();
    let stop = stop.clone();
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        // Streams, which never end by themselves, end too.
        stop.send_replace(true);
    };
    axum::serve(listener, routes(served))
        .with_graceful_shutdown(told)
        .await
}

fn tell(at: std::net::SocketAddr) -> io::Result<()> {
    use io::Write as _;
    let mut out = anstream::stdout().lock();
    writeln!(out, "http://{at}/")?;
    out.flush()
}

fn routes(served: Served) -> Router {
    let console = foldback_console::router(served.world.clone(), Arc::clone(&served.access));
    let own = Router::new()
        .route("/events/{*tenant}", any(events))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(served);
    own.merge(console)
}

async fn events(State(served): State<Served>, request: Request) -> Response {
    let response = take_in(&served, request).await;
    served.meter.record(&measured::of_answer(response.status));
    answer(response)
}

async fn take_in(served: &Served, request: Request) -> webhook::Response {
    let since = Stopwatch::start();
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        let detail = format!("at most {BODY_BYTES_MAX} bytes are taken");
        return Problem::new(ProblemKind::TooLarge, detail).response();
    };
    let incoming = Incoming {
        since,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body,
    };
    let (to, taken) = oneshot::channel();
    if served.desk.leave(Order::TakeIn(incoming, to))
        && let Ok(response) = taken.await
    {
        return response;
    }
    let busy = Error::new(ErrorKind::Retry, "take the request in", "too many wait");
    Problem::from(&busy).response()
}

fn answer(response: webhook::Response) -> Response {
    let mut answer = Response::new(Body::from(response.body));
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers;
    answer
}

/// Whether events can be taken in: the writer answers, within its own time.
async fn healthz(State(served): State<Served>) -> Response {
    let (to, healthy) = oneshot::channel();
    if served.desk.leave(Order::Answer(to)) && healthy.await.is_ok() {
        return "ok\n".into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the writer does not answer\n",
    )
        .into_response()
}

/// They speak of all tenants, so where there are tokens one that may see all is wanted.
async fn metrics(State(served): State<Served>, headers: HeaderMap) -> Response {
    let who = served.access.who(&headers, SystemClock.now());
    if served.access.has_tokens() && who.is_none_or(|who| who.tenant.is_some()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    match served.meter.text() {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.chain()).into_response(),
    }
}
