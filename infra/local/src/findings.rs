use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::Value;
use shared::model::{Class, EventRef, FieldChange, Finding};

use crate::cli;

/// One JSON object each.
pub(crate) fn lines(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let line = serde_json::to_string(finding).unwrap_or_default();
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A table with the reason of each, and what their classes mean.
pub(crate) fn reasons(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let mut table = cli::table(&["class", "table", "tenant", "id", "why"]);
    for finding in findings {
        table.add_row(vec![
            finding.class.name(),
            finding.table.name(),
            finding.group.tenant.as_str(),
            finding.id.as_str(),
            finding.explanation.as_str(),
        ]);
    }
    writeln!(out, "{table}")?;
    classes(out, findings)
}

/// Each with its fields, before and after, and the events behind it; then what their classes mean.
pub(crate) fn fields(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let (class, table, id) = (finding.class.name(), finding.table.name(), &finding.id);
        let (kind, group) = (finding.group.kind(), &finding.group);
        writeln!(
            out,
            "{class}  {table} {id}, {kind} {} of tenant {}",
            group.subject(),
            group.tenant
        )?;
        writeln!(out, "  {}", finding.explanation)?;
        for event in &finding.events {
            writeln!(out, "  {} {}", role(finding.class), named(event))?;
        }
        let widest = finding
            .changes
            .iter()
            .map(|change| changed(change).chars().count());
        let widest = widest.max().unwrap_or(0).min(WIDTH_MAX);
        for change in &finding.changes {
            let by = match &change.caused_by {
                Some(event) => format!("by {}", named(event)),
                None => "by no event".to_owned(),
            };
            writeln!(out, "    {:<widest$}  {by}", changed(change))?;
        }
        writeln!(out)?;
    }
    classes(out, findings)
}

/// The widest that the values of a field are made to stand.
const WIDTH_MAX: usize = 72;

/// What the events of a finding are to its row.
fn role(class: Class) -> &'static str {
    match class {
        Class::Late => "came late:",
        Class::Extra => "not in the journal:",
        Class::Parked => "parked:",
        Class::Lost | Class::Missing => "lacks:",
        Class::Foreign | Class::Stale | Class::Orphan => "event:",
    }
}

fn named(event: &EventRef) -> String {
    let mut text = format!("event {}", event.id);
    if let Some(time) = event.time {
        text.push_str(&format!(" of {time}"));
    }
    if !event.source.is_empty() {
        text.push_str(&format!(" from {}", event.source));
    }
    text
}

fn changed(change: &FieldChange) -> String {
    let shown = |value: &Option<Value>| {
        value
            .as_ref()
            .map_or_else(|| "(none)".to_owned(), ToString::to_string)
    };
    format!(
        "{}: {} → {}",
        change.field,
        shown(&change.before),
        shown(&change.after)
    )
}

/// What the classes that were found mean, once each.
fn classes(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    let found: BTreeSet<Class> = findings.iter().map(|finding| finding.class).collect();
    for class in found {
        writeln!(out, "\n{class}: the row {}", class.explanation())?;
        writeln!(out, "  comes about: {}", class.comes_about())?;
        writeln!(out, "  to do: {}", class.to_do())?;
    }
    Ok(())
}
