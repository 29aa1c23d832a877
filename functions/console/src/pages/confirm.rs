use maud::{Markup, html};

use super::{Page, Tab};
use crate::access::Who;

/// What is to be confirmed.
pub(crate) struct Question<'a> {
    /// What will be done, in a sentence.
    pub(crate) what: &'a str,
    /// What to consider.
    pub(crate) note: &'a str,
    /// The word on the button.
    pub(crate) word: &'a str,
    /// What the form sends, besides the yes.
    pub(crate) fields: &'a [(&'a str, &'a str)],
    /// Where to go if not.
    pub(crate) back: &'a str,
    pub(crate) tab: Tab,
}

pub(crate) fn page(who: &Who, question: &Question<'_>) -> Markup {
    let body = html! {
        h1 { "Sure?" }
        div.card {
            p { strong { (question.what) } }
            p { (question.note) }
            div.row {
                form method="post" action="/act" {
                    input type="hidden" name="csrf" value=(who.csrf);
                    input type="hidden" name="sure" value="yes";
                    @for (name, value) in question.fields { input type="hidden" name=(name) value=(value); }
                    button.sure type="submit" autofocus { (question.word) }
                }
                a.button href=(question.back) { "No" }
            }
            p.quiet { "It is noted who did it, and when." }
        }
    };
    Page {
        title: "Sure?",
        tab: question.tab,
        who,
        live: false,
        body,
    }
    .markup()
}
