//! One entity: its events, its rows, what was believed when.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::model::{FieldChange, Timestamp};
use shared::ports::Error;
use shared::service::{EntityQuery, EntityView, Overtaken, Point};
use shared::settings::Settings;
use smol_str::SmolStr;

use crate::access::Who;
use crate::refused::Refused;
use crate::source::Source;

/// What is asked, as a form or an address says it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) tenant: Option<SmolStr>,
    pub(crate) id: Option<SmolStr>,
    pub(crate) as_of: Option<String>,
    pub(crate) known_at: Option<String>,
    /// Compare with how it was at another point.
    pub(crate) from_as_of: Option<String>,
    pub(crate) from_known_at: Option<String>,
}

/// What there is to show.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) at: Point,
    pub(crate) since: Option<Point>,
    pub(crate) views: Vec<EntityView>,
}

impl Asked {
    /// The points that are asked about.
    pub(crate) fn points(&self) -> Result<(Point, Option<Point>), Refused> {
        let at = point(self.as_of.as_deref(), self.known_at.as_deref())?;
        let since = point(self.from_as_of.as_deref(), self.from_known_at.as_deref())?;
        Ok((at, (!since.is_present()).then_some(since)))
    }
}

fn point(as_of: Option<&str>, known_at: Option<&str>) -> Result<Point, Refused> {
    Ok(Point {
        as_of: moment(as_of)?,
        known_at: moment(known_at)?,
    })
}

/// Reads a moment in UTC: RFC 3339, a day, or what a browser's field for date and time gives.
pub(crate) fn moment(text: Option<&str>) -> Result<Option<Timestamp>, Refused> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let spaced = text.replacen(' ', "T", 1);
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{spaced}:00Z"),
        19 | 23 if !text.ends_with('Z') => format!("{spaced}Z"),
        _other => spaced,
    };
    let parsed = Timestamp::parse(&whole);
    let wrong = |error| {
        Refused::wrong(format!(
            "{text:?} is no moment: {error}; write 2026-03-01 or 2026-03-01 09:30:00"
        ))
    };
    parsed.map(Some).map_err(wrong)
}

/// What is known of an entity, as far as `who` may see it.
pub(crate) async fn see(
    source: &impl Source,
    settings: &Settings,
    who: &Who,
    asked: &Asked,
) -> Result<Seen, Refused> {
    let (at, since) = asked.points()?;
    let Some(id) = asked.id.clone().filter(|id| !id.is_empty()) else {
        return Ok(Seen {
            at,
            since,
            views: Vec::new(),
        });
    };
    let given = asked.tenant.clone().filter(|tenant| !tenant.is_empty());
    let tenant = who.tenant.clone().or(given);
    let mut groups = source.groups_of(tenant.as_ref(), &id).await?;
    groups.retain(|group| who.sees(&group.tenant));
    let query = EntityQuery { id, at, since };
    let views: Result<_, Error> = source.entity(settings, &groups, &query).await;
    Ok(Seen {
        at,
        since,
        views: views?,
    })
}

#[derive(Serialize)]
struct Row<'a> {
    table: &'a str,
    id: &'a str,
    row: Value,
    fields: &'a [FieldChange],
    /// The events in the dead-letter queue that it waits for.
    parked: Vec<&'a SmolStr>,
}

/// What the query API says of it.
pub(crate) fn told(seen: &Seen) -> Value {
    let views = seen.views.iter().map(|view| {
        let events = view.moments.iter().map(|one| {
            let event = &one.entry.event;
            json!({
                "time": event.time, "source": event.source, "id": event.id, "type": event.kind,
                "means": one.meaning, "recorded": one.entry.recorded, "counts": one.counts,
                "revision": event.revision(), "overtaken": one.overtaken.map(Overtaken::name),
                "late": one.hierarchy.as_ref().and_then(|h| h.late.as_ref()),
                "actions": one.hierarchy.as_ref().map(|h| &h.actions),
            })
        });
        let rows = view.rows.iter().map(|row| Row {
            table: row.table.name(),
            id: &row.id,
            row: serde_json::from_str(&row.body).unwrap_or_default(),
            fields: &row.fields,
            parked: view.waits.of_row(row.table, &row.id),
        });
        let changes = view
            .changes
            .iter()
            .map(|one| json!({"table": one.table.name(), "id": one.id, "changes": one.changes}));
        let history = view.histories.iter().flat_map(|(id, versions)| {
            versions.iter().map(move |one| {
                let version = &one.version;
                json!({
                    "id": id, "n": version.n, "validFrom": version.valid_from,
                    "validTo": version.valid_to, "causedBy": version.caused_by,
                    "fields": serde_json::from_str::<Value>(&version.fields).unwrap_or_default(),
                    "recordedFrom": one.recorded_from, "recordedTo": one.recorded_to,
                })
            })
        });
        json!({
            "tenant": view.group.tenant, "group": view.group.key,
            "events": events.collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>(),
            "history": history.collect::<Vec<_>>(), "changes": changes.collect::<Vec<_>>(),
        })
    });
    json!({"found": views.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_people_write_them() {
        for (text, expect) in [
            ("2026-03-01", "2026-03-01T00:00:00.000Z"),
            ("2026-03-01T09:30", "2026-03-01T09:30:00.000Z"),
            ("2026-03-01 09:30:05", "2026-03-01T09:30:05.000Z"),
            ("2026-03-01 09:30:05.123", "2026-03-01T09:30:05.123Z"),
            ("2026-03-01T10:30:00+01:00", "2026-03-01T09:30:00.000Z"),
        ] {
            let read = moment(Some(text)).expect("a moment").expect("given");
            assert_eq!(read.to_string(), expect);
        }
        assert_eq!(moment(Some(" ")).expect("nothing"), None);
        assert!(moment(Some("<script>")).is_err());
    }
}
