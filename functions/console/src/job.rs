//! One job: an event, its way and its actions.

use serde::{Deserialize, Serialize};
use shared::model::{ActionHierarchy, Entry, EventHash, Group, Payload, Timestamp};
use shared::ports::Error;
use shared::service;
use shared::settings::Settings;
use smol_str::SmolStr;

use crate::access::Who;
use crate::jobs::{Asked, Job, Standing};
use crate::source::Source;

/// How much of a payload is shown.
const PAYLOAD_CHARS_MAX: usize = 65_536;

/// Which event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Which {
    pub(crate) tenant: SmolStr,
    pub(crate) group: SmolStr,
    pub(crate) source: SmolStr,
    pub(crate) event: SmolStr,
}

/// What is known of a job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobView {
    pub(crate) job: Job,
    /// What the event means under the settings.
    pub(crate) meaning: String,
    /// The lead, appointment or day that it is an event of.
    pub(crate) subject: SmolStr,
    pub(crate) payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<SmolStr>,
    /// The moments on its way, in order.
    pub(crate) steps: Vec<Step>,
    /// What it led to, at each time it came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hierarchies: Vec<ActionHierarchy>,
    #[serde(skip)]
    pub(crate) hash: EventHash,
}

/// A moment on an event's way.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) what: &'static str,
    pub(crate) at: Timestamp,
}

/// All that is known of a job; `None` where there is no such event, or not for `who`.
pub(crate) async fn view(
    source: &impl Source,
    settings: &Settings,
    who: &Who,
    which: &Which,
    now: Timestamp,
) -> Result<Option<JobView>, Error> {
    if !who.sees(&which.tenant) {
        return Ok(None);
    }
    let group = Group {
        tenant: which.tenant.clone(),
        key: which.group.clone(),
    };
    let journal = source.entries(std::slice::from_ref(&group)).await?;
    let is_it = |entry: &Entry| entry.event.source == which.source && entry.event.id == which.event;
    // Of an event that was amended, the last telling.
    let Some(entry) = journal.into_iter().flatten().rfind(|entry| is_it(entry)) else {
        return Ok(None);
    };
    let mut hierarchies = source.hierarchies(&group).await?;
    hierarchies.retain(|one| one.source == which.source && one.event_id == which.event);
    let asked = Asked {
        tenant: Some(which.tenant.clone()),
        ..Asked::default()
    };
    let standing = Standing::look(source, &asked, now).await?;
    let mut job = standing.of(&entry, hierarchies.iter());
    job.time = Some(entry.event.time);
    let meaning = settings
        .tenant(&group.tenant)
        .map(|tenant| service::meaning(tenant, &entry));
    Ok(Some(JobView {
        meaning: meaning.unwrap_or_else(|| "(the settings know no such tenant)".to_owned()),
        subject: group.subject().into(),
        payload: payload(&entry),
        trace: entry.event.traceparent.as_deref().map(Into::into),
        steps: steps(&entry, &job, &hierarchies),
        hash: entry.hash,
        hierarchies,
        job,
    }))
}

fn steps(entry: &Entry, job: &Job, hierarchies: &[ActionHierarchy]) -> Vec<Step> {
    let step = |what, at| Step { what, at };
    let mut steps = vec![
        step("Happened out there", entry.event.time),
        step("Journaled here", entry.recorded),
    ];
    if let Some(first) = hierarchies.first() {
        steps.push(step("Rows read", first.read_start));
        steps.push(step("Rows written", first.write_start));
    }
    if job.letter.is_some() {
        steps.push(step("Parked", job.since));
    }
    steps
}

/// JSON with a line a field; other payloads as they are.
fn payload(entry: &Entry) -> String {
    let text = match &entry.event.data {
        Payload::None => "(none)".to_owned(),
        Payload::Base64(text) => format!("(bytes, in base64) {text}"),
        Payload::Json(text) => {
            let value = serde_json::from_str::<serde_json::Value>(text).ok();
            let pretty = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
            pretty.unwrap_or_else(|| text.to_string())
        }
    };
    match text.char_indices().nth(PAYLOAD_CHARS_MAX) {
        Some((end, _)) => format!("{}\n… (cut here)", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
