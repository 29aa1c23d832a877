use maud::{Markup, html};
use shared::model::AuditRecord;

use super::{Page, Tab, count, moment};
use crate::access::Who;

pub(crate) fn page(who: &Who, records: Option<&[AuditRecord]>) -> Markup {
    let body = html! {
        h1 { "Audit" }
        p { "What was done through this console, the newest first." }
        @match records {
            None => p.note { "Here it is told in the function's log: lines with the message “done through the console”." }
            Some([]) => p.note { "Nothing yet." }
            Some(records) => div.scroll { table {
                thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "To what" } th.n scope="col" { "Came to" } } }
                tbody { @for one in records { tr {
                    td { (moment(one.at)) }
                    th scope="row" { (one.by) @if let Some(tenant) = &one.tenant { " (" (tenant) ")" } }
                    td { (one.deed) }
                    td { (one.about) }
                    td.n { (count(one.count)) }
                } } }
            } }
        }
    };
    Page {
        title: "Audit",
        tab: Tab::Audit,
        who,
        live: true,
        body,
    }
    .markup()
}
