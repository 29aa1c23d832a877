use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use smol_str::{SmolStr, format_smolstr};

use super::ingest::{Duplicates, accept, ingest};
use crate::model::cloud_event::Refusal;
use crate::model::{Entry, RejectReason, Secret, SecretRef, Timestamp};
use crate::ports::{Appended, Error, ErrorKind, Journal, Queue, Secrets};
use crate::settings::{Settings, Signing, Webhook};
use crate::trace::TraceContext;
use crate::webhook::{
    Key, Mode, Problem, ProblemKind, Request, Response, SignatureError, Signatures, check_size,
    tenant_of_path,
};

/// What became of a request.
#[derive(Debug)]
pub struct TakenIn {
    /// The answer for the sender. A 2xx says that every event is journaled.
    pub response: Response,
    /// The tenant, as far as it is known.
    pub tenant: Option<SmolStr>,
    /// The failure on this side behind the answer: for the log, not for the sender.
    pub failure: Option<Error>,
    /// The events that were looked up in the journal, with what became of each there.
    pub events: Vec<(Arc<Entry>, Appended)>,
    /// The place in a trace that the request came with.
    pub context: Option<TraceContext>,
    /// How many events could not be taken as they are.
    pub refused: u64,
}

impl TakenIn {
    /// A request of which nothing was looked at.
    #[must_use]
    pub fn nothing(problem: &Problem) -> Self {
        Self {
            response: problem.response(),
            tenant: None,
            failure: None,
            events: Vec::new(),
            context: None,
            refused: 0,
        }
    }
}

/// Why a request is not answered with 2xx.
enum Stop {
    Problem(Problem),
    Failure(Error),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

impl From<SignatureError> for Stop {
    fn from(error: SignatureError) -> Self {
        Self::Problem(Problem::new(ProblemKind::Signature, error.to_string()))
    }
}

/// Takes in the events of an HTTP request, all of them or none.
///
/// Events that were journaled by an earlier try are sent to the queue again: that try may have died
/// before it sent them, and its sender was told to try again.
pub async fn take_in<P: Journal + Queue, S: Secrets>(
    ports: &P,
    secrets: &S,
    settings: &Settings,
    request: &Request<'_>,
    now: Timestamp,
) -> TakenIn {
    let mut tenant = None;
    let mut events = Vec::new();
    let taken = async {
        if request.method != Method::POST {
            let method = request.method;
            let detail = format!("{method} is not taken; send events by POST");
            return Err(Problem::new(ProblemKind::Method, detail).into());
        }
        let id = tenant.insert(SmolStr::from(tenant_of_path(request.path)?));
        check_size(request.body)?;
        let webhook = webhook_of(settings, id)?;
        verify(secrets, webhook.signing(), id, request, now).await?;
        let entries = entries(settings, webhook, id, request, now)?;
        let ingested = ingest(ports, &entries, Duplicates::SendAgain, now).await?;
        let answer = told(&entries, &ingested.appended);
        events = entries.into_iter().zip(ingested.appended).collect();
        answer.map_err(Stop::from)
    };
    let mut refused = 0;
    let (response, failure) = match taken.await {
        Ok(response) => (response, None),
        Err(Stop::Problem(problem)) => {
            if problem.kind == ProblemKind::Refused {
                refused = problem.errors.len() as u64;
            }
            (problem.response(), None)
        }
        Err(Stop::Failure(error)) => (Problem::from(&error).response(), Some(error)),
    };
    TakenIn {
        response,
        tenant,
        failure,
        events,
        context: TraceContext::of_headers(request.headers),
        refused,
    }
}

fn webhook_of<'s>(settings: &'s Settings, id: &str) -> Result<&'s Webhook, Problem> {
    let tenant = settings.tenant(id).ok_or_else(|| {
        let shown: String = id.chars().take(128).collect();
        let detail = format!("the settings know no tenant {shown:?}; is the path right?");
        Problem::new(ProblemKind::UnknownTenant, detail)
    })?;
    tenant.webhook().ok_or_else(|| {
        Problem::new(
            ProblemKind::NotOverHttp,
            "the tenant's settings have no [tenant.webhook]; name the secrets there that its \
             requests are signed with",
        )
    })
}

/// Tries the tenant's secrets, the newest first. One that cannot be had or used does not keep an older
/// one from being tried, but then nobody can say that the request is signed wrongly.
async fn verify<S: Secrets>(
    secrets: &S,
    signing: &Signing,
    tenant: &str,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<(), Stop> {
    let references = match signing {
        Signing::Unsigned => return Ok(()),
        Signing::Secrets(references) => references,
    };
    let signatures = Signatures::read(request.headers, now)?;
    let mut failure = None;
    for reference in references {
        let reference = reference.of_tenant(tenant);
        let secret = secrets.secret(&reference).await;
        match secret.and_then(|secret| key(&reference, &secret)) {
            Ok(key) if signatures.are_of(&key, request.body) => return Ok(()),
            Ok(_) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.map_or_else(|| SignatureError::Wrong.into(), Stop::Failure))
}

fn key(reference: &SecretRef, secret: &Secret) -> Result<Key, Error> {
    Key::new(secret)
        .map_err(|error| Error::new(ErrorKind::Reject, format!("use the {reference}"), error))
}

/// All events of the request, or why it cannot be taken.
fn entries(
    settings: &Settings,
    webhook: &Webhook,
    tenant: &SmolStr,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<Vec<Arc<Entry>>, Problem> {
    let texts = Mode::of(request.headers)?.events(request, webhook.wrap())?;
    let count = texts.len();
    let context = TraceContext::of_headers(request.headers);
    let mut entries = Vec::with_capacity(count);
    let mut refused = Vec::new();
    for (index, text) in texts.into_iter().enumerate() {
        match text.and_then(|text| accept(settings, Some(tenant), &text, now)) {
            Ok(mut entry) => {
                // An event that names its trace knows better than the request that brought it.
                if entry.event.traceparent.is_none() {
                    entry.event.traceparent = context.map(|one| format_smolstr!("{one}"));
                }
                entries.push(Arc::new(entry));
            }
            Err(refusal) => refused.push((index, refusal)),
        }
    }
    if refused.is_empty() {
        return Ok(entries);
    }
    let detail = match (refused.as_slice(), count) {
        ([(_, refusal)], 1) => refusal.detail.clone(),
        (refused, _) => format!(
            "{} of {count} events cannot be taken, so none was; mend or leave out those, and send \
             the request again",
            refused.len()
        ),
    };
    Err(Problem::new(ProblemKind::Refused, detail).with_events(refused))
}

/// What the sender is told when all is journaled that can be.
fn told(entries: &[Arc<Entry>], appended: &[Appended]) -> Result<Response, Problem> {
    let count = |kind: Appended| appended.iter().filter(|&&one| one == kind).count();
    let (accepted, duplicates) = (count(Appended::New), count(Appended::Duplicate));
    let mut conflicts = Vec::new();
    for (index, (entry, became)) in entries.iter().zip(appended).enumerate() {
        if *became == Appended::Conflict {
            let (source, id) = (&entry.event.source, &entry.event.id);
            let detail = format!(
                "source {source:?}, id {id:?} is journaled with other content, which stays; what \
                 happened anew needs an id of its own, and what amends an event a higher revision"
            );
            conflicts.push((index, Refusal::new(RejectReason::Conflict, detail)));
        }
    }
    if !conflicts.is_empty() {
        let detail = format!(
            "{} of {} events were not taken; the others are: {accepted} new, {duplicates} known \
             before. To send the request again changes nothing",
            conflicts.len(),
            entries.len(),
        );
        return Err(Problem::new(ProblemKind::Conflict, detail).with_events(conflicts));
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(Response {
        status: StatusCode::ACCEPTED,
        headers,
        body: format!(r#"{{"accepted":{accepted},"duplicates":{duplicates}}}"#),
    })
}

/// What the sender is told when a port failed: whether it helps to try again, and nothing else.
impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Retry => Self::new(
                ProblemKind::Busy,
                "the events could not all be taken just now; send the same request again: what is \
                 journaled already is not journaled twice",
            ),
            ErrorKind::Reject | ErrorKind::Corrupt => Self::new(
                ProblemKind::Failed,
                "the request was not taken, because of a fault that its sender can do nothing \
                 about; it is logged",
            ),
        }
    }
}
