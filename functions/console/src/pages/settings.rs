use maud::{Markup, html};
use shared::settings::{Format, SettingsVersion, StoredSettings};
use similar::{ChangeTag, TextDiff};

use super::{Page, Tab, count, link, moment};
use crate::access::Who;

/// How much of a long text is compared, in lines that differ or stand beside them.
const DIFF_LINES_MAX: usize = 2_000;
/// How many lines are shown around one that differs.
const AROUND: usize = 3;

/// What is shown of the settings.
pub(crate) struct Shown<'a> {
    pub(crate) versions: &'a [SettingsVersion],
    /// The version that is looked at.
    pub(crate) one: Option<&'a StoredSettings>,
    /// The one it is compared with.
    pub(crate) against: Option<&'a StoredSettings>,
}

pub(crate) fn page(who: &Who, shown: &Shown<'_>) -> Markup {
    let body = html! {
        h1 { "Settings" }
        @match shown.one {
            None => p.note { "None are in force yet." },
            Some(one) => {
                @match shown.against {
                    Some(against) => {
                        h2 { "From version " (against.version) " to " (one.version) }
                        (diff(&against.text, &one.text))
                    }
                    None => {
                        h2 { "Version " (one.version) }
                        pre tabindex="0" { (one.text) }
                    }
                }
                (editor(who, &one.text, one.format))
            }
        }
        h2 { "Versions" }
        (versions(shown))
    };
    Page {
        title: "Settings",
        tab: Tab::Settings,
        who,
        live: false,
        body,
    }
    .markup()
}

fn versions(shown: &Shown<'_>) -> Markup {
    let of = |version: u32| version.to_string();
    html! {
        div.scroll { table {
            thead { tr { th scope="col" { "Version" } th scope="col" { "Since" } th scope="col" { "Format" } th.n scope="col" { "Bytes" } th scope="col" { "Compare" } } }
            tbody { @for (place, one) in shown.versions.iter().enumerate() { tr {
                th scope="row" {
                    a href=(link("/settings", &[("version", &of(one.version))])) { (one.version) }
                    @if place == 0 { " (in force)" }
                }
                td { @match one.at { Some(at) => (moment(at)), None => "–" } }
                td { (format_name(one.format)) }
                td.n { (count(one.bytes)) }
                td { @if one.version > 1 {
                    a href=(link("/settings", &[("version", &of(one.version)), ("against", &of(one.version - 1))])) { "with the one before" }
                } }
            } } }
        } }
    }
}

pub(crate) fn format_name(format: Format) -> &'static str {
    match format {
        Format::Toml => "toml",
        Format::Json => "json",
    }
}

fn editor(who: &Who, text: &str, format: Format) -> Markup {
    html! {
        form.card method="post" action="/settings/check" {
            input type="hidden" name="csrf" value=(who.csrf);
            input type="hidden" name="format" value=(format_name(format));
            label for="text" { "Check changed settings" }
            textarea #text name="text" rows="14" spellcheck="false" autocomplete="off" { (text) }
            button type="submit" { "Check" }
            p.quiet { "A check changes nothing." }
        }
    }
}

/// What a check came to.
pub(crate) struct Checked<'a> {
    pub(crate) text: &'a str,
    pub(crate) format: Format,
    pub(crate) in_force: Option<&'a StoredSettings>,
    /// What they come to, a line a tenant; or what is wrong with them.
    pub(crate) outcome: Result<Vec<String>, String>,
}

pub(crate) fn checked(who: &Who, checked: &Checked<'_>) -> Markup {
    let before = checked
        .in_force
        .map(|stored| stored.text.as_str())
        .unwrap_or_default();
    let body = html! {
        h1 { "Settings, checked" }
        @match &checked.outcome {
            Err(why) => p.bad role="alert" { "They cannot be put in force: " (why) },
            Ok(summary) => {
                p.good { "They can be put in force." }
                ul { @for line in summary { li { (line) } } }
                @if !who.read_only && before != checked.text {
                    form.card method="post" action="/act" {
                        input type="hidden" name="csrf" value=(who.csrf);
                        input type="hidden" name="deed" value="settings";
                        input type="hidden" name="sure" value="yes";
                        input type="hidden" name="format" value=(format_name(checked.format));
                        textarea.hidden name="text" hidden aria-label="The settings" { (checked.text) }
                        p { "Rows made under other settings are stale until an event or a repair brings them to these." }
                        button.sure type="submit" { "Put in force" }
                    }
                }
            }
        }
        h2 { "What would change" }
        @if before == checked.text { p.note { "Nothing: they are in force." } } @else { (diff(before, checked.text)) }
        (editor(who, checked.text, checked.format))
    };
    Page {
        title: "Settings, checked",
        tab: Tab::Settings,
        who,
        live: false,
        body,
    }
    .markup()
}

/// What differs between two texts, line by line.
fn diff(before: &str, after: &str) -> Markup {
    let diff = TextDiff::from_lines(before, after);
    let groups = diff.grouped_ops(AROUND);
    let changes = groups.iter().enumerate().flat_map(|(place, ops)| {
        let lines = ops.iter().flat_map(|op| diff.iter_changes(op));
        lines
            .enumerate()
            .map(move |(line, change)| (place > 0 && line == 0, change))
    });
    html! {
        @if groups.is_empty() { p.note { "Nothing differs." } }
        div.scroll { table.lines {
            thead.quiet { tr { th scope="col" { "Before" } th scope="col" { "After" } th scope="col" { "" } th scope="col" { "Line" } } }
            tbody { @for (apart, change) in changes.take(DIFF_LINES_MAX) {
                @let (class, sign) = match change.tag() {
                    ChangeTag::Equal => ("same", " "),
                    ChangeTag::Delete => ("gone", "−"),
                    ChangeTag::Insert => ("new", "+"),
                };
                tr.(class) .apart[apart] {
                    td.n { (number(change.old_index())) }
                    td.n { (number(change.new_index())) }
                    td { (sign) }
                    td { code { (change.value().trim_end_matches(['\r', '\n'])) } }
                }
            } }
        } }
    }
}

fn number(index: Option<usize>) -> String {
    index
        .map(|index| (index + 1).to_string())
        .unwrap_or_default()
}
