use maud::{Markup, html};

use super::bare;

/// The page that asks for a token.
pub(crate) fn page(to: &str, wrong: bool) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        form.card.narrow method="post" action="/sign-in" {
            input type="hidden" name="to" value=(to);
            label for="token" { "Token" }
            input #token name="token" type="password" required autocomplete="current-password" autofocus
                aria-describedby="token-note" aria-invalid=[wrong.then_some("true")];
            @if wrong { p.bad role="alert" { "That token is not known here." } }
            p #token-note .quiet { "The one that this server was started with, or one of its token file." }
            button type="submit" { "Sign in" }
        }
    };
    bare("Sign in", &body)
}
